"""Draws beside exact enumeration; the likeliest graph without a cycle."""

import itertools
from collections import Counter

import pytest
import torch

from causal_diffusers.discovery.acyclic import acyclic_graph, draw_acyclic
from causal_diffusers.metrics import sampling_floor, total_variation
from discovery.dags import all_dags, has_cycle, random_dag


def random_probabilities(d, generator):
    logits = 2 * torch.randn(3, d, d, generator=generator)
    forth, back, _ = logits.softmax(dim=0)
    return forth.triu(diagonal=1) + back.triu(diagonal=1).T


def probability_of(graph, P):
    """Multiply the probabilities of the states of the pairs."""
    total = 1.0
    for i, j in itertools.combinations(range(len(P)), 2):
        states = {(1, 0): P[i, j], (0, 1): P[j, i], (0, 0): 1 - P[i, j] - P[j, i]}
        total *= float(states[int(graph[i, j]), int(graph[j, i])])
    return total


@pytest.mark.parametrize("seed", range(4))
def test_graphs_are_drawn_as_often_as_they_are_likely(seed):
    generator = torch.Generator().manual_seed(seed)
    P, count = random_probabilities(3, generator), 2000
    graphs = all_dags(3)
    exact = torch.tensor([probability_of(graph, P) for graph in graphs]).double()
    exact = exact / exact.sum()
    drawn = Counter(
        tuple(graph.flatten().tolist()) for graph in draw_acyclic(P, count, generator=generator)
    )
    shares = [drawn[tuple(graph.flatten().tolist())] / count for graph in graphs]
    floor = sampling_floor(exact, count, generator=generator)
    assert sum(shares) == pytest.approx(1)
    assert total_variation(torch.tensor(shares).double(), exact) < 1.3 * floor.upper


def test_every_draw_is_acyclic_and_the_number_is_that_asked_for(generator):
    graphs = list(draw_acyclic(random_probabilities(6, generator), 30, generator=generator))
    assert len(graphs) == 30
    assert not any(has_cycle(graph) for graph in graphs)
    assert len({tuple(graph.flatten().tolist()) for graph in graphs}) > 10


def test_certain_edges_are_in_every_draw_and_impossible_ones_in_none(generator):
    P = random_probabilities(5, generator)
    P[1, 2], P[2, 1] = 1, 0
    P[3, 0], P[0, 3] = 1, 0
    P[4, 0] = P[0, 4] = 0
    for graph in draw_acyclic(P, 50, generator=generator):
        assert graph[1, 2]
        assert graph[3, 0]
        assert not graph[4, 0]
        assert not graph[0, 4]


def test_a_cycle_of_certain_edges_loses_one():
    P = torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    for graph in draw_acyclic(P, 5, generator=torch.Generator().manual_seed(0)):
        assert int(graph.sum()) == 2


def test_the_same_generator_draws_the_same(generator):
    P = random_probabilities(4, generator)
    first, second = (
        list(draw_acyclic(P, 5, generator=torch.Generator().manual_seed(3))) for _ in "ab"
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("d", [2, 4, 8])
def test_the_graph_is_acyclic_and_no_edge_could_be_added(d, generator):
    for _ in range(40):
        P = torch.rand(d, d, generator=generator)
        graph = acyclic_graph(P, 0.5)
        assert not has_cycle(graph)
        assert bool((P[graph] >= 0.5).all())
        for i, j in ((P >= 0.5) & ~graph).nonzero().tolist():
            likelier = graph & P.ge(P[i, j])
            likelier[i, j] = True
            assert has_cycle(likelier)  # it was left out for a cycle with likelier edges


@pytest.mark.parametrize("d", [2, 5, 9])
def test_everything_likely_is_kept_where_that_is_acyclic(d, generator):
    for _ in range(30):
        truth = random_dag(d, generator)
        u = torch.rand(d, d, generator=generator)
        P = torch.where(truth, 0.5 + u / 2, 0.499 * u)
        assert torch.equal(acyclic_graph(P, 0.5), truth)


def test_by_default_edges_are_likelier_than_anything_else_of_their_pair(generator):
    for _ in range(40):
        P = random_probabilities(5, generator)
        graph = acyclic_graph(P)
        best = torch.stack([1 - P - P.T, P, P.T]).argmax(dim=0) == 1
        assert bool((best | ~graph).all())
        if not has_cycle(best):
            assert torch.equal(graph, best)


def test_a_threshold_is_reached_from_above():
    P = torch.tensor([[0.0, 0.5], [0.0, 0.0]])
    assert acyclic_graph(P, 0.5).any()
    assert not acyclic_graph(P, 0.500001).any()
    assert not acyclic_graph(torch.zeros(3, 3), 0.0).any()
