"""Any mechanism of the zoo can be made anew for other parents, on the same frozen tensors."""

import pytest
import torch

from causal_diffusers.mechanisms.pretrained import PretrainedMechanism
from causal_diffusers.mechanisms.renewal import renew, start_from
from causal_diffusers.variables import Categorical
from mechanisms.zoo import SIGNATURES, make, sample
from tiny import make_tiny_base

OTHER = {"Q": Categorical("pqr")}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("name", SIGNATURES)
def test_it_is_of_the_same_kind_and_size(name, base):
    old = make(name, base)
    before = {n: t.clone() for n, t in old.state_dict().items()}
    sampled = sample(old)
    new = renew(old)
    assert type(new) is type(old)
    assert not new.is_bound
    new.bind(old.variable, OTHER, {})
    made = sample(new, inputs=({"Q": torch.arange(6) % 3}, {}))
    assert made.shape == sampled.shape
    assert torch.equal(sample(old), sampled)
    assert all(torch.equal(t, before[n]) for n, t in old.state_dict().items())
    if isinstance(old, PretrainedMechanism):
        own, theirs = (
            {id(p) for p in f.backbone.parameters() if not p.requires_grad} for f in (new, old)
        )
        assert own == theirs != set()


@pytest.mark.parametrize("name", SIGNATURES)
def test_bound_alike_and_started_from_the_old_one_it_is_the_old_one(name, base):
    old = make(name, base)
    new = renew(old).bind(old.variable, old.parents, old.confounders)
    new.eval()
    assert set(start_from(new, old)) == set(old.trainable_state())
    assert torch.equal(sample(new), sample(old))


def test_what_fits_is_taken_over(base):
    """Of other parents the updates of the frozen network, but not the first layer of the gates."""
    old = make("diffusion, of labels", base)
    new = renew(old).bind(old.variable, OTHER, {})
    copied = start_from(new, old)
    assert any(".lora_B." in name for name in copied)
    assert "gates.trunk.0.weight" not in copied
    assert "gates.head.weight" in copied
    state = old.trainable_state()
    assert all(torch.equal(new.trainable_state()[name], state[name]) for name in copied)


def test_the_sampler_is_taken_over(base):
    from diffusers import DDIMScheduler

    old = make("diffusion, of labels", base)
    old.scheduler = DDIMScheduler.from_config(old.scheduler.config)
    new = renew(old)
    assert isinstance(new.scheduler, DDIMScheduler)
    assert new.scheduler is not old.scheduler
