"""Where noises have one variance, the order is a causal one."""

import pytest
import torch

from causal_diffusers.discovery.ordering import least_variance_order
from discovery.dags import covariance_of, is_causal, random_dag, random_weights, sample


@pytest.mark.parametrize("d", [2, 5, 12])
@pytest.mark.parametrize("deviation", [1.0, 0.03])
def test_the_order_of_exact_covariances_is_causal(d, deviation, generator):
    graphs = [random_dag(d, generator) for _ in range(40)]
    weights = [random_weights(graph, generator) for graph in graphs]
    S = torch.stack([covariance_of(A, deviation) for A in weights])
    place, left = least_variance_order(S, torch.full((40,), 1e9).double())
    for graph, where in zip(graphs, place, strict=True):
        assert sorted(where.tolist()) == list(range(d))
        assert is_causal(where.argsort(), graph)
    torch.testing.assert_close(left, torch.full_like(left, deviation**2), rtol=1e-4, atol=0)


def test_unequal_noise_may_mislead(generator):
    """The effect has less variance than its cause, so it comes first: a hint, not a law."""
    S = torch.tensor([[[1.0, 0.1], [0.1, 0.02]]])
    assert least_variance_order(S, torch.tensor([1e6]))[0].tolist() == [[1, 0]]


def test_samples_give_the_order_too(generator):
    right = 0
    for _ in range(20):
        graph = random_dag(6, generator)
        X = sample(random_weights(graph, generator), 2000, generator)
        place, _ = least_variance_order(torch.cov(X.T)[None], torch.tensor([1999.0]).double())
        right += is_causal(place[0].argsort(), graph)
    assert right >= 19


@pytest.mark.parametrize("n", [2, 3, 5])
def test_fewer_samples_than_variables_give_some_order(n, generator):
    X = torch.randn(7, n, 9, generator=generator)
    X = X - X.mean(dim=1, keepdim=True)
    S = X.mT @ X / (n - 1)
    place, left = least_variance_order(S, torch.full((7,), n - 1.0))
    assert place.sort(dim=1).values.tolist() == [list(range(9))] * 7
    assert bool((left > 0).all())
    assert bool(left.isfinite().all())


def test_the_covariance_is_left_alone(generator):
    S = covariance_of(random_weights(random_dag(4, generator), generator))[None]
    before = S.clone()
    least_variance_order(S, torch.tensor([10.0]).double())
    assert torch.equal(S, before)
