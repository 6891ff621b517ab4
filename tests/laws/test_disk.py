"""What holds for every pipeline that is written to disk and read again."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from causal_diffusers import Categorical, CausalPipeline, Confounder
from tiny import make_tiny_base, make_tiny_pipeline, shake

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def image_pipe(base):
    return make_tiny_pipeline(base)


@pytest.fixture(scope="module")
def discrete_pipe():
    pipe = CausalPipeline.from_graph(
        "B -> A; U: A, B, C; V: A, C",
        {"A": Categorical("xyz"), "B": Categorical([3, 5]), "C": Categorical([True, False])},
        confounders={"U": Confounder(states=3), "V": Confounder(dim=3)},
    )
    shake(pipe.components.values())
    return pipe


@pytest.fixture(params=["image_pipe", "discrete_pipe"])
def pipe(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def saved(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "saved", include_backbones=True)
    return tmp_path / "saved"


def draw(pipe):
    pipe.set_progress_bar_config(disable=True)
    out = pipe(
        5, num_inference_steps=2, output_type="pt", generator=torch.Generator().manual_seed(0)
    )
    return {**out.values, **{name: images.tolist() for name, images in out.images.items()}}


def files(folder):
    return {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}


def test_what_is_loaded_samples_the_same(pipe, saved):
    again = CausalPipeline.from_pretrained(saved)
    assert draw(again) == draw(pipe)
    assert again.graph == pipe.graph
    assert again.variables == pipe.variables
    assert again.confounders == pipe.confounders


def test_saving_again_writes_the_same(saved, tmp_path):
    CausalPipeline.from_pretrained(saved).save_pretrained(
        tmp_path / "again", include_backbones=True
    )
    one, two = files(saved), files(tmp_path / "again")
    assert set(one) == set(two)
    different = {path for path in one if one[path].read_bytes() != two[path].read_bytes()}
    assert different <= {"README.md"}  # which is titled with the name of the folder


def test_no_pickle_is_written(saved):
    assert {path.suffix for path in files(saved).values()} == {".json", ".safetensors", ".md"}


def test_no_backbone_weight_is_written(image_pipe, tmp_path):
    image_pipe.save_pretrained(tmp_path, backbone_ids={"I": f"me/base@{'0' * 40}"})
    for path in tmp_path.rglob("*.safetensors"):
        with safe_open(path, "pt") as stored:
            assert not [name for name in stored.keys() if "base_layer" in name]  # noqa: SIM118
    assert not (tmp_path / "I" / "backbone").exists()
    trainable = sum(t.numel() for t in image_pipe.I.trainable_state().values())
    size = (tmp_path / "I" / "diffusion_pytorch_model.safetensors").stat().st_size
    assert size < 4 * trainable + 50_000


def test_no_local_path_is_written(pipe, saved, tmp_path):
    again = CausalPipeline.from_pretrained(saved)
    again.save_pretrained(tmp_path / "again", include_backbones=True)
    for path in files(tmp_path / "again").values():
        assert str(tmp_path).encode() not in path.read_bytes()


def test_a_folder_of_the_first_format_still_loads():
    """Made by `make_format_1.py` beside it, with the answers of that release."""
    folder = DATA / "format_1"
    expected = json.loads((folder / "answers.json").read_text())
    pipe = CausalPipeline.from_pretrained(folder)
    parents = {"X": torch.arange(2).repeat_interleave(3)}
    confounders = {"U_X_Y": torch.arange(3).repeat(2)}
    found = pipe.Y.probabilities(parents, confounders)
    assert torch.allclose(found, torch.tensor(expected["Y"]), atol=1e-6)
    assert torch.allclose(pipe.U_X_Y.log_weights().exp(), torch.tensor(expected["U"]), atol=1e-6)
