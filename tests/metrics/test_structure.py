"""Every measure of graphs by a second implementation, SID also by listing all paths."""

import itertools
import math

import gadjid
import networkx as nx
import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score

from causal_diffusers.metrics import (
    EdgeRates,
    average_precision,
    calibration,
    edge_rates,
    structural_hamming_distance,
    structural_intervention_distance,
)

CHAIN = [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
CYCLE = [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


def random_dag(d, generator):
    density = torch.rand((), generator=generator)
    graph = (torch.rand(d, d, generator=generator) < density).triu(diagonal=1)
    order = torch.randperm(d, generator=generator)
    return graph[order][:, order]


def random_pairs(count, sizes, generator):
    """Pairs of acyclic graphs, some alike and some nested."""
    for k in range(count):
        d = int(torch.randint(*sizes, (), generator=generator))
        H = random_dag(d, generator)
        G = random_dag(d, generator)
        if k % 3 == 0:
            G = H & (torch.rand(d, d, generator=generator) < 0.8)
        yield (G, H) if k % 2 else (H, G)


def int8(graph):
    return graph.numpy().astype(np.int8)


def test_hamming_is_that_of_gadjid(generator):
    for G, H in random_pairs(300, (2, 12), generator):
        assert structural_hamming_distance(G, H).item() == gadjid.shd(int8(G), int8(H))[1]


def test_intervention_is_that_of_gadjid(generator):
    for G, H in random_pairs(300, (2, 12), generator):
        _, other = gadjid.sid(int8(H), int8(G), edge_direction="from row to column")
        assert structural_intervention_distance(G, H) == other


def blocked(path, Z, D, descendants):
    """Say whether Z blocks a path, by its definition."""
    for before, v, after in zip(path, path[1:], path[2:], strict=False):
        collider = D.has_edge(before, v) and D.has_edge(after, v)
        if collider and not (descendants[v] | {v}) & Z:
            return True
        if not collider and v in Z:
            return True
    return False


def is_valid(Z, i, j, D):
    """Say whether Z is valid for the effect of i on j, from the list of all paths."""
    descendants = {v: nx.descendants(D, v) for v in D}
    if j in Z:
        return j not in descendants[i]
    directed = list(nx.all_simple_paths(D, i, j))
    on_paths = {v for path in directed for v in path} - {i}
    if any((descendants[w] | {w}) & Z for w in on_paths):
        return False
    paths = nx.all_simple_paths(D.to_undirected(), i, j)
    return all(path in directed or blocked(path, Z, D, descendants) for path in paths)


def test_intervention_is_that_of_all_paths(generator):
    for G, H in random_pairs(150, (2, 6), generator):
        D = nx.DiGraph(int8(H))
        wrong = 0
        for i, j in itertools.permutations(range(len(G)), 2):
            wrong += not is_valid(set(G[:, i].nonzero().flatten().tolist()), i, j, D)
        assert structural_intervention_distance(G, H) == wrong


def test_intervention_is_zero_for_supergraphs_only(generator):
    for G, H in random_pairs(200, (2, 8), generator):
        contained = bool((G | ~H).all())
        assert (structural_intervention_distance(G, H) == 0) == contained


def test_intervention_is_a_plain_number_and_asymmetric():
    empty = [[0] * 3] * 3
    assert type(structural_intervention_distance(CHAIN, empty)) is int
    assert structural_intervention_distance(CHAIN, empty) == 0
    assert structural_intervention_distance(empty, CHAIN) == 3


def test_hamming_counts_a_pair_once():
    both, forward, backward = [[0, 1], [1, 0]], [[0, 1], [0, 0]], [[0, 0], [1, 0]]
    none = [[0, 0], [0, 0]]
    graphs = torch.tensor([both, forward, backward, none])
    distances = structural_hamming_distance(graphs[:, None], graphs)
    assert torch.equal(distances, 1 - torch.eye(4).long())


def test_hamming_reads_weights_and_skips_the_diagonal():
    weights = torch.tensor(CHAIN) * -0.3 + torch.eye(3)
    assert structural_hamming_distance(weights, CHAIN) == 0
    assert structural_hamming_distance(weights.expand(5, 3, 3), CHAIN).tolist() == [0] * 5


def count_accuracy(truth, estimate):
    """The rates as the authors of NOTEARS compute them, from sets of positions."""
    found = np.flatnonzero(estimate == 1)
    cond = np.flatnonzero(truth)
    cond_reversed = np.flatnonzero(truth.T)
    true_pos = np.intersect1d(found, cond, assume_unique=True)
    false_pos = np.setdiff1d(found, np.concatenate([cond, cond_reversed]), assume_unique=False)
    extra = np.setdiff1d(found, cond, assume_unique=True)
    reverse = np.intersect1d(extra, cond_reversed, assume_unique=True)
    return len(true_pos) / len(cond), (len(reverse) + len(false_pos)) / max(len(found), 1)


def test_rates_are_those_of_notears(generator):
    for G, H in random_pairs(200, (3, 10), generator):
        if H.any():
            rates = edge_rates(G, H)
            expected = count_accuracy(int8(H), int8(G))
            assert (rates.true_positive_rate, rates.false_discovery_rate) == expected


def test_rates_of_a_stack_pool_the_edges():
    empty = [[0] * 3] * 3
    assert edge_rates([CHAIN, empty], [CHAIN, CHAIN]) == EdgeRates(0.5, 0.0)
    nothing_to_find = edge_rates(CHAIN, empty)
    assert math.isnan(nothing_to_find.true_positive_rate)
    assert nothing_to_find.false_discovery_rate == 1


def off_diagonal(values):
    return values[..., ~torch.eye(values.shape[-1], dtype=torch.bool)].flatten().numpy()


@pytest.mark.parametrize("steps", [2, 10, 10**6])
def test_average_precision_is_that_of_sklearn(steps, generator):
    for _ in range(50):
        scores = torch.rand(3, 6, 6, generator=generator).mul(steps).floor()  # with ties
        truth = torch.rand(3, 6, 6, generator=generator) < 0.2
        expected = average_precision_score(off_diagonal(truth), off_diagonal(scores))
        assert average_precision(scores, truth) == pytest.approx(expected, abs=1e-12)


def test_average_precision_at_its_ends():
    chain = torch.tensor(CHAIN)
    assert average_precision(chain, chain) == 1
    assert average_precision(torch.zeros(3, 3), chain) == pytest.approx(2 / 6)


@pytest.mark.parametrize("bins", [1, 5, 10])
def test_calibration_is_that_of_sklearn(bins, generator):
    for _ in range(30):
        p = torch.rand(4, 5, 5, generator=generator, dtype=torch.float64).square()
        p = p.mul(20).round() / 20  # some at the ends of bins
        truth = torch.rand(4, 5, 5, generator=generator) < p
        frequency, probability = calibration_curve(
            off_diagonal(truth), off_diagonal(p), n_bins=bins
        )
        found = calibration(p, truth, bins)
        filled = found.count > 0
        assert found.frequency[filled].numpy() == pytest.approx(frequency, abs=1e-12)
        assert found.probability[filled].numpy() == pytest.approx(probability, abs=1e-12)
        weight = found.count[filled].numpy() / 80
        error = (weight * abs(frequency - probability)).sum()
        assert found.error == pytest.approx(error, abs=1e-12)
        assert found.frequency[~filled].isnan().all()


def test_true_probabilities_are_calibrated(generator):
    p = torch.rand(2000, 5, 5, generator=generator)
    truth = torch.rand(2000, 5, 5, generator=generator) < p
    assert calibration(p, truth).error < 0.01
    assert calibration(p.sqrt(), truth).error > 0.1


MEASURES = [structural_hamming_distance, structural_intervention_distance, edge_rates]
ALL = [*MEASURES, average_precision, calibration]


@pytest.mark.parametrize("measure", ALL)
def test_what_is_not_square_is_refused(measure):
    with pytest.raises(ValueError, match=r"must be square, .* got shape \(2, 3\)"):
        measure(torch.zeros(2, 3), torch.zeros(3, 3))
    with pytest.raises(ValueError, match=r"`truth` must be square, .* got shape \(3,\)"):
        measure(torch.zeros(3, 3), torch.zeros(3))


@pytest.mark.parametrize("measure", ALL)
@pytest.mark.parametrize("shape", [(2, 2), (1, 1), (4, 3, 3)])
def test_other_variables_are_refused(measure, shape):
    truth = torch.ones(5, 3, 3) if len(shape) == 3 else torch.ones(3, 3)
    with pytest.raises(ValueError, match="over the same variables: got shapes"):
        measure(torch.zeros(shape), truth)


@pytest.mark.parametrize("measure", ALL)
def test_nan_is_refused(measure):
    weights = torch.tensor(CHAIN).float()
    weights[0, 1] = math.nan
    with pytest.raises(ValueError, match="must be without NaN: got 1 of them"):
        measure(weights, CHAIN)


def test_cycles_and_stacks_have_no_intervention_distance():
    with pytest.raises(ValueError, match=r"`estimate` must be acyclic: .* \[0, 1, 2\]"):
        structural_intervention_distance(CYCLE, CHAIN)
    with pytest.raises(ValueError, match="`truth` must be acyclic"):
        structural_intervention_distance(CHAIN, CYCLE)
    with pytest.raises(ValueError, match=r"one graph with one: got shape \(2, 3, 3\)"):
        structural_intervention_distance([CHAIN, CHAIN], CHAIN)


def test_no_edge_to_find_is_refused():
    with pytest.raises(ValueError, match="needs an edge to find"):
        average_precision(CHAIN, torch.zeros(3, 3))


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_what_is_no_probability_is_refused(value):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        calibration(torch.full((3, 3), value), CHAIN)
    with pytest.raises(ValueError, match="`bins` is at least 1: got 0"):
        calibration(CHAIN, CHAIN, bins=0)
