"""A folder holds plain JSON and safetensors, and says nothing of this machine."""

import json

import pytest
import torch
from safetensors.torch import load_file

from causal_diffusers.errors import CheckpointError
from causal_diffusers.mechanisms import CategoricalMechanism, Component, ConfounderPrior
from causal_diffusers.variables import Categorical

WEIGHTS = "diffusion_pytorch_model.safetensors"


def test_a_component_has_no_network_of_its_own():
    assert list(Component().parameters()) == []


def test_the_folder_holds_two_files(tmp_path):
    ConfounderPrior(states=3).save_pretrained(tmp_path / "deep" / "folder")
    names = {path.name for path in (tmp_path / "deep" / "folder").iterdir()}
    assert names == {"config.json", WEIGHTS}


def test_the_config_does_not_name_the_folder_it_came_from(tmp_path):
    ConfounderPrior(states=3).save_pretrained(tmp_path)
    again = ConfounderPrior.from_pretrained(tmp_path)
    again.register_to_config(_name_or_path=str(tmp_path))
    again.save_pretrained(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert config.keys() == {"_class_name", "_diffusers_version", "states"}


def test_a_mechanism_may_be_saved_before_it_is_bound(tmp_path):
    CategoricalMechanism(width=7).save_pretrained(tmp_path)
    again = CategoricalMechanism.from_pretrained(tmp_path)
    assert not again.is_bound
    assert again.bind(Categorical("ab"), {}, {}).config["width"] == 7


@pytest.mark.parametrize("extra", [{"device_map": None}, {"low_cpu_mem_usage": True}])
def test_what_diffusers_passes_to_everybody_is_ignored(tmp_path, extra):
    ConfounderPrior(states=3).save_pretrained(tmp_path)
    assert ConfounderPrior.from_pretrained(tmp_path, **extra).config["states"] == 3


@pytest.mark.parametrize("content", ["", "{", "[]", "5", '"x"', "\x00", "[" * 100_000])
def test_a_config_that_is_no_object_is_refused(tmp_path, content):
    ConfounderPrior(states=3).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        ConfounderPrior.from_pretrained(tmp_path)


def test_another_class_is_refused_by_name(tmp_path):
    ConfounderPrior(states=3).save_pretrained(tmp_path)
    with pytest.raises(
        CheckpointError, match="a 'ConfounderPrior': expected 'CategoricalMechanism'"
    ):
        CategoricalMechanism.from_pretrained(tmp_path)


def test_weights_in_half_precision_are_loaded_into_single(tmp_path):
    prior = torch.nn.Module.to(ConfounderPrior(states=3), torch.bfloat16)
    prior.save_pretrained(tmp_path)
    assert load_file(tmp_path / WEIGHTS)["logits"].dtype == torch.bfloat16
    assert ConfounderPrior.from_pretrained(tmp_path).logits.dtype == torch.float32


def test_nothing_is_copied_if_anything_is_wrong(tmp_path):
    f = CategoricalMechanism().bind(Categorical("ab"), {}, {})
    state = {name: t.detach().clone() for name, t in f.trainable_state().items()}
    damaged = {name: t + 1 for name, t in state.items()}
    damaged[max(damaged)] = damaged[max(damaged)] * float("nan")
    with pytest.raises(CheckpointError, match="finite real numbers"):
        f.load_trainable(damaged, where=tmp_path)
    assert all(torch.equal(t, state[name]) for name, t in f.trainable_state().items())
