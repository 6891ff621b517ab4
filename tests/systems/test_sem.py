"""Linear families: moments of the data, what the tasks share, laws of the draws."""

import math

import pytest
import torch

from causal_diffusers.systems import LinearFamily
from causal_diffusers.systems.sem import GRAPHS, NOISES, SETTINGS, draw_noise

KINDS = [(setting, graph) for setting in SETTINGS for graph in GRAPHS]


def is_acyclic(graphs):
    """Say of each graph whether its adjacency matrix is nilpotent."""
    power = graphs.double()
    for _ in range(graphs.shape[-1]):
        power = (power @ graphs.double()).clamp(max=1)
    return ~power.flatten(1).any(dim=1)


@pytest.mark.parametrize(("setting", "graph"), KINDS)
def test_weights_are_in_range_on_acyclic_graphs(setting, graph, generator):
    family = LinearFamily(7, 9, setting, graph, least=0.3, most=1.1)
    tasks = family.sample(200, 3, generator=generator)
    assert tasks.data.shape == (200, 3, 7)
    assert tasks.weights.shape == (200, 7, 7)
    assert bool(is_acyclic(tasks.graphs).all())
    sizes = tasks.weights[tasks.graphs].abs()
    assert sizes.min() >= 0.3
    assert sizes.max() <= 1.1


def test_weights_are_uniform_of_either_sign(generator):
    tasks = LinearFamily(8, 14).sample(500, 1, generator=generator)
    weights = tasks.weights[tasks.graphs].double()
    quantiles = weights.abs().quantile(torch.tensor([0.25, 0.5, 0.75]).double())
    assert quantiles.tolist() == pytest.approx([0.875, 1.25, 1.625], abs=0.05)
    assert weights.sign().mean().item() == pytest.approx(0, abs=4 / math.sqrt(len(weights)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise", NOISES)
def test_data_have_the_covariance_of_the_weights(noise, seed):
    family = LinearFamily(4, 3, noise=noise, deviations=(0.7, 0.7))
    n = 100_000
    tasks = family.sample(2, n, generator=torch.Generator().manual_seed(seed))
    for x, A in zip(tasks.data.double(), tasks.weights.double(), strict=True):
        inverse = torch.linalg.inv(torch.eye(4) - A)
        expected = inverse.T @ (0.49 * torch.eye(4).double()) @ inverse
        scale = expected.diagonal().sqrt()
        error = (x.T @ x / n - expected) / scale[:, None] / scale
        assert error.abs().max() < 0.05  # five deviations of the most kurtotic noise
        assert (x.mean(dim=0) / scale).abs().max() < 0.02


def test_each_variable_is_its_parents_plus_noise(generator):
    family = LinearFamily(5, 6, deviations=(0.5, 2.0))
    tasks = family.sample(300, 200, generator=generator)
    residuals = tasks.data - tasks.data @ tasks.weights
    deviations = residuals.std(dim=1)
    assert deviations.min() > 0.5 * 0.75
    assert deviations.max() < 2.0 * 1.25
    assert deviations.mean().item() == pytest.approx(1.25, abs=0.05)
    assert deviations.std().item() == pytest.approx(1.5 / math.sqrt(12), abs=0.05)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("seed", range(3))
def test_order_consistent_tasks_share_their_order_only(graph, seed, generator):
    family = LinearFamily(8, 14, "order-consistent", graph, seed=seed)
    graphs = family.sample(100, 1, generator=generator).graphs
    place = family.order.argsort()
    _, i, j = graphs.nonzero(as_tuple=True)
    assert bool((place[i] < place[j]).all())
    assert len(graphs.unique(dim=0)) > 90
    assert sorted(family.order.tolist()) == list(range(8))


def test_every_edge_of_the_order_occurs(generator):
    family = LinearFamily(6, 5, "order-consistent")
    graphs = family.sample(300, 1, generator=generator).graphs
    assert int(graphs.any(dim=0).sum()) == family.pairs


@pytest.mark.parametrize("graph", GRAPHS)
def test_heterogeneous_tasks_share_their_graph_only(graph, generator):
    family = LinearFamily(8, 14, "heterogeneous", graph, seed=3)
    tasks = family.sample(50, 1, generator=generator)
    assert len(tasks.graphs.unique(dim=0)) == 1
    assert len(tasks.weights.unique(dim=0)) == 50
    place = family.order.argsort()
    i, j = tasks.graphs[0].nonzero(as_tuple=True)
    assert bool((place[i] < place[j]).all())
    later = family.sample(2, 1, generator=generator)
    assert torch.equal(later.graphs[0], tasks.graphs[0])


@pytest.mark.parametrize("setting", SETTINGS[:2])
def test_the_seed_draws_what_is_shared(setting):
    def graph(seed):
        generator = torch.Generator().manual_seed(0)
        return LinearFamily(8, 14, setting, seed=seed).sample(1, 1, generator=generator).graphs

    assert torch.equal(graph(1), graph(1))
    assert not torch.equal(graph(1), graph(2))


@pytest.mark.parametrize("graph", GRAPHS)
def test_general_tasks_share_nothing(graph, generator):
    graphs = LinearFamily(8, 14, "general", graph).sample(100, 1, generator=generator).graphs
    assert len(graphs.unique(dim=0)) > 90
    assert bool((graphs.any(dim=0) | torch.eye(8, dtype=torch.bool)).all())  # no order is kept


@pytest.mark.parametrize(("d", "edges"), [(5, 0), (5, 4), (10, 13.5), (20, None)])
@pytest.mark.parametrize("setting", ["order-consistent", "general"])
def test_graphs_have_the_edges_asked_for(setting, d, edges, generator):
    family = LinearFamily(d, edges, setting)
    count = family.sample(1000, 1, generator=generator).graphs.sum(dim=(1, 2)).double()
    expected = 2 * d if edges is None else edges
    deviation = math.sqrt(family.pairs * family.density * (1 - family.density))
    assert family.density == expected / family.pairs
    assert abs(count.mean().item() - expected) <= 4 * deviation / math.sqrt(1000)
    assert count.std().item() == pytest.approx(deviation, rel=0.15)


def test_few_variables_are_half_joined_by_default():
    assert LinearFamily(3).density == 0.5


def test_full_graphs_have_every_pair(generator):
    graphs = LinearFamily(4, 6).sample(10, 1, generator=generator).graphs
    assert bool((graphs.sum(dim=(1, 2)) == 6).all())


def test_scale_free_graphs_have_hubs(generator):
    tall = {}
    for graph in GRAPHS:
        graphs = LinearFamily(20, 30, graph=graph).sample(300, 1, generator=generator).graphs
        tall[graph] = graphs.sum(dim=2).amax(dim=1).double().mean()
    assert tall["scale-free"] > tall["erdos-renyi"] + 1


KURTOSIS = {"gaussian": 3, "laplace": 6, "exponential": 9, "uniform": 1.8, "gumbel": 5.4}
SKEWNESS = {"gaussian": 0, "laplace": 0, "exponential": 2, "uniform": 0, "gumbel": 1.13955}


@pytest.mark.parametrize("law", NOISES)
def test_noise_has_its_moments(law, generator):
    noise = draw_noise(law, (1_000_000,), generator).double()
    moments = [noise.pow(k).mean().item() for k in (1, 2, 3, 4)]
    assert moments[0] == pytest.approx(0, abs=0.005)
    assert moments[1] == pytest.approx(1, abs=0.015)
    assert moments[2] == pytest.approx(SKEWNESS[law], abs=0.12)
    assert moments[3] == pytest.approx(KURTOSIS[law], rel=0.1)


def test_the_same_generator_gives_the_same_tasks():
    first, second = (
        LinearFamily(5).sample(3, 4, generator=torch.Generator().manual_seed(7)) for _ in "ab"
    )
    assert torch.equal(first.data, second.data)
    assert torch.equal(first.weights, second.weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"setting": "shared"}, r"`setting` is one of .*'general'.*: got 'shared'"),
        ({"graph": "tree"}, r"`graph` is one of .*'scale-free'.*: got 'tree'"),
        ({"noise": "cauchy"}, r"`noise` is one of .*'gumbel'.*: got 'cauchy'"),
        ({"variables": 1}, "at least 2 variables .*: got 1 variables"),
        ({"edges": 11}, "at most every pair of them joined: got 5 variables and 11 edges"),
        ({"edges": -1}, "got 5 variables and -1 edges"),
        ({"least": 0}, r"ranges of positive numbers: got \(0, 2.0\)"),
        ({"least": 3}, r"ranges of positive numbers: got \(3, 2.0\)"),
        ({"deviations": (0.0, 1.0)}, r"ranges of positive numbers: .* and \(0.0, 1.0\)"),
        ({"deviations": (2.0, 1.0)}, r"ranges of positive numbers: .* and \(2.0, 1.0\)"),
    ],
)
def test_what_makes_no_family_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LinearFamily(**{"variables": 5, **options})
