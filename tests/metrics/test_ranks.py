"""Ranks among draws are uniform if both come from one law; Kolmogorov's law is right."""

import pytest
import torch

from causal_diffusers.metrics.ranks import kolmogorov_distance, kolmogorov_tail, uniform_ranks


def test_the_tail_is_that_of_simulation(generator):
    number = 50
    found = torch.tensor(
        [
            kolmogorov_distance(torch.rand(number, generator=generator, dtype=torch.float64))
            for _ in range(2000)
        ]
    )
    for distance in (0.1, 0.15, 0.2):
        share = (found >= distance).double().mean().item()
        assert kolmogorov_tail(distance, number) == pytest.approx(share, abs=0.03)
    assert kolmogorov_tail(0.0, number) == 1.0


def test_ranks_of_a_true_model_are_uniform(generator):
    scale = 1 + torch.arange(3000) % 5  # another law in each row
    real = scale * torch.randn(3000, generator=generator)
    drawn = scale * torch.randn(9, 3000, generator=generator)
    u = uniform_ranks(real, drawn, generator=generator)
    assert kolmogorov_tail(kolmogorov_distance(u), 3000) > 0.01
    assert 0 <= u.min() < u.max() <= 1


@pytest.mark.parametrize("wrong", [lambda x: x + 0.3, lambda x: 1.5 * x])
def test_ranks_of_a_wrong_model_are_not(wrong, generator):
    real, drawn = (
        torch.randn(3000, generator=generator),
        torch.randn(19, 3000, generator=generator),
    )
    u = uniform_ranks(real, wrong(drawn), generator=generator)
    assert kolmogorov_tail(kolmogorov_distance(u), 3000) < 1e-4


def test_ties_are_broken_evenly(generator):
    """Labels in the place of numbers: ranks are uniform all the same."""
    real = torch.randint(2, (3000,), generator=generator)
    drawn = torch.randint(2, (19, 3000), generator=generator)
    u = uniform_ranks(real, drawn, generator=generator)
    assert kolmogorov_tail(kolmogorov_distance(u), 3000) > 0.01
