"""A finite confounder has learned probabilities and draws by them."""

import pytest
import torch

from causal_diffusers.mechanisms import ConfounderPrior


def prior_of(weights):
    prior = ConfounderPrior(states=len(weights))
    with torch.no_grad():
        prior.logits.copy_(torch.tensor(weights).log() + 3)  # unnormalised on purpose
    return prior


def test_it_starts_uniform():
    assert ConfounderPrior(states=5).log_weights().exp().tolist() == pytest.approx([0.2] * 5)


def test_the_weights_are_normalised():
    assert prior_of([0.1, 0.2, 0.7]).log_weights().exp().tolist() == pytest.approx([0.1, 0.2, 0.7])


def test_states_are_drawn_by_their_weights(generator):
    drawn = prior_of([0.1, 0.2, 0.7]).sample(20_000, generator=generator)
    share = torch.bincount(drawn, minlength=3) / 20_000
    assert share.tolist() == pytest.approx([0.1, 0.2, 0.7], abs=0.015)


def test_half_precision_draws_the_same_states():
    prior = prior_of([0.25, 0.25, 0.5])
    draws = [
        each.sample(100, generator=torch.Generator().manual_seed(0))
        for each in (prior, torch.nn.Module.to(prior, torch.bfloat16))
    ]
    assert (draws[0] == draws[1]).float().mean() > 0.95


def test_the_weights_can_be_learned():
    prior = ConfounderPrior(states=3)
    prior.log_weights()[1].backward()
    assert prior.logits.grad.argmax() == 1


@pytest.mark.parametrize("states", [1, 0, -4])
def test_it_has_two_states_at_least(states):
    with pytest.raises(ValueError, match="at least two states: got"):
        ConfounderPrior(states=states)
