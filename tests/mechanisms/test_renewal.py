"""Any mechanism of the zoo can be made anew for other parents, on the same frozen tensors."""

import pytest
import torch

from causal_diffusers import CategoricalMechanism, VisionEncoder
from causal_diffusers.mechanisms.pretrained import PretrainedMechanism
from causal_diffusers.mechanisms.renewal import renew, start_from
from causal_diffusers.variables import Categorical, Image
from mechanisms.zoo import SIGNATURES, make, sample
from tiny import make_tiny_base, make_tiny_encoder

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
            {p.data_ptr() for p in f.backbone.parameters() if not p.requires_grad}
            for f in (new, old)
        )
        assert own == theirs != set()


@pytest.mark.parametrize("name", SIGNATURES)
def test_moving_the_new_one_leaves_the_old_one_where_it_is(name, base):
    """As training moves it to a GPU: here to another precision, for which no GPU is needed."""
    old = make(name, base)
    before = {n: (t.dtype, t.data_ptr()) for n, t in old.state_dict().items()}
    torch.nn.Module.to(renew(old).bind(old.variable, OTHER, {}), torch.float64)
    assert {n: (t.dtype, t.data_ptr()) for n, t in old.state_dict().items()} == before


@pytest.mark.parametrize("name", SIGNATURES)
def test_bound_alike_and_started_from_the_old_one_it_is_the_old_one(name, base):
    old = make(name, base)
    new = renew(old).bind(old.variable, old.parents, old.confounders)
    new.eval()
    assert set(start_from(new, old)) == set(old.trainable_state())
    assert torch.equal(sample(new), sample(old))


def test_a_frozen_encoder_stays_where_it_is_too(base, tmp_path):
    encoder = VisionEncoder.from_pretrained(make_tiny_encoder(tmp_path))
    label, picture = Categorical("ab"), Image(1, 8, 8)
    old = CategoricalMechanism(image_encoder=encoder).bind(label, {"I": picture}, {})
    new = renew(old).bind(label, {"I": picture}, {})
    both = zip(encoder.parameters(), new.image_encoder.parameters(), strict=True)
    assert all(a.data_ptr() == b.data_ptr() for a, b in both)
    torch.nn.Module.to(new, torch.float64)
    assert {p.dtype for p in old.parameters()} == {torch.float32}


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
