"""A mechanism that is invertible gives its noise, and takes it back."""

import pytest
import torch

from causal_diffusers.mechanisms import InvertibleMechanism
from mechanisms.zoo import SIGNATURES, draw_inputs, draw_values, make, sample
from tiny import make_tiny_base


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(params=[name for name in SIGNATURES if name.startswith("flow")])
def mechanism(request, base):
    made = make(request.param, base)
    assert isinstance(made, InvertibleMechanism)
    return made


@pytest.mark.parametrize("seed", range(3))
def test_a_value_comes_back_from_its_noise(mechanism, seed):
    inputs, generator = draw_inputs(mechanism, 200, seed), torch.Generator().manual_seed(seed)
    drawn = sample(mechanism, 200, inputs=inputs)
    for values in (drawn, draw_values(mechanism.variable, 200, generator)):
        noise = mechanism.abduct(values, *inputs)
        assert noise.shape == values.shape
        again = mechanism.assign(noise, *inputs)
        torch.testing.assert_close(again, values, atol=1e-4, rtol=1e-4)


def test_a_sample_is_what_is_assigned_to_its_noise(mechanism):
    inputs = draw_inputs(mechanism, 50)
    shape = (50, *mechanism.variable.shape)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mechanism.assign(noise, *inputs), sample(mechanism, 50, inputs=inputs))


def test_noise_is_standard_normal_where_the_value_is_drawn(mechanism):
    inputs = draw_inputs(mechanism, 4000)
    noise = mechanism.abduct(sample(mechanism, 4000, inputs=inputs), *inputs)
    assert noise.mean(dim=0).abs().max() < 0.08
    assert (noise.std(dim=0) - 1).abs().max() < 0.06
