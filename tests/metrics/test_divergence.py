"""KL against scipy, with its rule for zeros, and its floor by the formula."""

import math

import pytest
import torch
from scipy.special import rel_entr

from causal_diffusers.metrics import kl_divergence, sampling_floor


@pytest.mark.parametrize("k", [2, 5, 40])
def test_it_is_that_of_scipy(k, generator):
    p, q = torch.rand(2, 7, k, generator=generator, dtype=torch.float64)
    p, q = p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)
    expected = torch.from_numpy(rel_entr(p.numpy(), q.numpy()).sum(1))
    assert torch.allclose(kl_divergence(p, q), expected, atol=1e-12)
    assert torch.allclose(kl_divergence(p[0], q), torch.stack([kl_divergence(p[0], r) for r in q]))


@pytest.mark.parametrize(
    ("p", "q", "expected"),
    [
        ([0.0, 1.0], [0.5, 0.5], math.log(2)),
        ([0.0, 1.0], [0.0, 1.0], 0.0),
        ([0.5, 0.5], [0.0, 1.0], math.inf),
    ],
)
def test_zero_cells(p, q, expected):
    assert kl_divergence(p, q).item() == pytest.approx(expected)


def test_it_is_never_negative(generator):
    p = torch.rand(1000, 3, generator=generator)
    p = p / p.sum(1, keepdim=True)
    assert kl_divergence(p, p + 0).min() >= 0


def test_other_values_are_refused():
    with pytest.raises(ValueError, match="over the same values: got 2 and 3"):
        kl_divergence([0.5, 0.5], [0.2, 0.3, 0.5])


@pytest.mark.parametrize(("k", "n"), [(2, 500), (10, 2000)])
def test_its_floor_is_close_to_the_formula(k, n, generator):
    floor = sampling_floor([1 / k] * k, n, generator=generator, measure=kl_divergence)
    assert floor.mean == pytest.approx((k - 1) / (2 * n), rel=0.1)
