"""The evidence beside a normal density, cycles beside a search, shared orders and graphs."""

import pytest
import torch

from causal_diffusers.discovery.pooling import (
    cyclicity,
    evidence,
    pooled_order,
    shared_variances,
)
from causal_diffusers.systems import LinearFamily
from discovery.dags import has_cycle, is_causal, random_dag


def log_density(X, v, noise):
    """Give log p(X) with the weights integrated out, column by column."""
    total = 0.0
    for j in range(X.shape[1]):
        covariance = noise * torch.eye(len(X)).double() + (X * v[:, j]) @ X.T
        law = torch.distributions.MultivariateNormal(torch.zeros(len(X)).double(), covariance)
        total += float(law.log_prob(X[:, j]))
    return total


@pytest.mark.parametrize("n", [3, 8])
def test_the_evidence_is_a_normal_density_up_to_a_constant(n, generator):
    d, T = 4, 6
    X = torch.randn(T, n, d, generator=generator).double()
    S = X.mT @ X / n
    differences = []
    for _ in range(8):
        v = 2 * torch.rand(d, d, generator=generator).double() * random_dag(d, generator)
        noise = 0.2 + torch.rand((), generator=generator).double()
        exact = sum(log_density(x, v, noise) for x in X) / T
        differences.append(float(evidence(S, n, v, noise)) - exact)
    assert max(differences) - min(differences) < 1e-6


@pytest.mark.parametrize("d", [2, 3, 4, 6])
def test_cyclicity_is_zero_for_acyclic_graphs_only(d, generator):
    seen = set()
    for k in range(100):
        density = (0.15, 0.4)[k % 2]
        graph = torch.rand(d, d, generator=generator) < density
        graph = random_dag(d, generator) if k % 4 == 0 else graph
        size = (0.5 + torch.rand(d, d, generator=generator)).double()
        h = float(cyclicity(graph * size))
        cyclic = has_cycle(graph)
        assert h > 1e-9 if cyclic else abs(h) < 1e-12
        seen.add(cyclic)
    assert seen == {False, True}


def test_cyclicity_points_the_way_out_of_a_cycle():
    v = torch.tensor([[0.0, 0.9], [0.4, 0.0]]).double().requires_grad_(True)
    cyclicity(v).backward()
    assert v.grad[1, 0] > v.grad[0, 1] > 0  # the lighter edge is pushed harder


def covariances(family, tasks, n, generator):
    drawn = family.sample(tasks, n, generator=generator)
    return torch.stack([torch.cov(x.T) for x in drawn.data]), drawn.graphs


@pytest.mark.parametrize("seed", range(2))
def test_pooled_tasks_tell_their_order(seed, generator):
    """Ten samples of twelve variables say little, two thousand times they say everything."""
    family = LinearFamily(12, 20, "order-consistent", seed=seed)
    S, graphs = covariances(family, 2000, 10, generator)
    assert torch.equal(pooled_order(S, 9, 1.0), family.order)
    assert is_causal(pooled_order(S, 9, 1.0), graphs.any(dim=0))


def test_an_order_is_found_and_the_noise(generator):
    family = LinearFamily(5, 4, "order-consistent", deviations=(0.8, 0.8), seed=1)
    S, graphs = covariances(family, 300, 20, generator)
    v, noise = shared_variances(S, 19, generator=generator)
    place = family.order.argsort()
    assert torch.equal(v > 0, place[:, None] < place[None, :])
    assert noise == pytest.approx(0.64, rel=0.1)
    frequency = graphs.double().mean(dim=0)[v > 0]
    assert (v[v > 0] / 1.75 - frequency).abs().max() < 0.3


def test_a_graph_is_found(generator):
    family = LinearFamily(5, 5, "heterogeneous", seed=2)
    S, graphs = covariances(family, 300, 20, generator)
    v, noise = shared_variances(S, 19, generator=generator)
    assert torch.equal(v > 0.3, graphs[0])
    assert not has_cycle(v)
    assert noise == pytest.approx(1, rel=0.1)
