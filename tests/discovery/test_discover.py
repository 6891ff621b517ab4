"""Data in, a graph out: known graphs are found, what is known is kept, doubts are said."""

import itertools

import networkx as nx
import numpy as np
import pytest
import torch

from causal_diffusers import (
    ADMG,
    CausalPipeline,
    Continuous,
    GraphError,
    ModularTrainer,
    TrainingConfig,
    falsify,
)
from causal_diffusers.discovery import ADAG, discover, varsortability
from causal_diffusers.metrics import calibration, structural_hamming_distance
from causal_diffusers.systems import LinearFamily
from discovery.dags import random_dag


@pytest.fixture(scope="module")
def model():
    return ADAG.from_pretrained()


def draw(edges, n=1000, seed=0):
    """Draw X, Y and Z of a linear model with noise of deviation 1."""
    generator = torch.Generator().manual_seed(seed)
    A = torch.zeros(3, 3).double()
    for (a, b), weight in edges.items():
        A["XYZ".index(a), "XYZ".index(b)] = weight
    errors = torch.randn(n, 3, generator=generator).double()
    return dict(zip("XYZ", (errors @ torch.linalg.inv(torch.eye(3) - A)).T, strict=True))


GRAPHS = {
    "X -> Y -> Z": {"XY": 1.5, "YZ": -1.5},
    "X -> Y <- Z": {"XY": 1.5, "ZY": 1.2},
    "X <- Y -> Z": {"YX": -1.4, "YZ": 1.6},
    "X; Y; Z": {},
}


@pytest.mark.parametrize("graph", GRAPHS)
def test_strong_signals_are_found(model, graph):
    found = discover(draw(GRAPHS[graph]), model)
    assert found.to_admg() == ADMG.parse(graph)
    for (a, b), weight in GRAPHS[graph].items():
        i, j = "XYZ".index(a), "XYZ".index(b)
        assert found.probabilities[i, j] > 0.9
        assert found.weights[i, j].sign() == np.sign(weight)


def test_random_graphs_are_found(model):
    tasks = LinearFamily(5, 5).sample(30, 2000, generator=torch.Generator().manual_seed(0))
    distances = []
    for data, graph in zip(tasks.data, tasks.graphs, strict=True):
        found = discover(data, model)
        estimate = [
            [(a, b) in found.to_admg().directed for b in found.variables] for a in found.variables
        ]
        distances.append(float(structural_hamming_distance(estimate, graph)))
    assert np.mean(distances) < 1


def test_the_model_may_be_named(model):
    data = draw(GRAPHS["X -> Y -> Z"])
    by_name = discover(data, "causal-diffusers/adag")
    assert torch.equal(by_name.probabilities, discover(data, model).probabilities)


def test_the_columns_may_come_in_any_order(model):
    data = draw(GRAPHS["X -> Y <- Z"])
    found, turned = discover(data, model), discover({name: data[name] for name in "ZXY"}, model)
    assert turned.variables == ("Z", "X", "Y")
    order = ["XYZ".index(name) for name in "ZXY"]
    torch.testing.assert_close(
        turned.probabilities, found.probabilities[order][:, order], atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("seed", range(6))
def test_what_is_known_is_kept_exactly(model, seed):
    generator = torch.Generator().manual_seed(seed)
    data = LinearFamily(5, 5).sample(1, 30, generator=generator).data[0]
    order = [f"X{k}" for k in torch.randperm(5, generator=generator).tolist()]
    required, forbidden = [(order[0], order[1]), (order[1], order[4])], [(order[2], order[3])]
    tiers = [order[:2], order[3:]]
    found = discover(data, model, required=required, forbidden=forbidden, tiers=tiers)
    P = {(a, b): p for a, b, p, _ in found.edges()}
    assert all(P[edge] == 1 for edge in required)
    back = {(a, b) for a in tiers[1] for b in tiers[0]}
    assert not {*forbidden, *back, (order[1], order[0])} & P.keys()
    assert all(p < 1 for edge, p in P.items() if edge not in required)
    for graph in [
        found.to_admg(),
        found.to_admg(0.01),
        *found.sample_graphs(10, generator=generator),
    ]:
        assert graph.directed >= set(required)
        assert not graph.directed & {*forbidden, *back}
    matrix = found.probabilities
    assert bool((matrix + matrix.T <= 1 + 1e-6).all())


def test_required_edges_survive_sure_ones_that_would_close_a_cycle(model):
    """A cycle needs two edges that the data are sure of; neither pushes out a required one."""
    data = draw({"XY": 3.0, "YZ": 3.0}, n=5000)
    found = discover(data, model, required=[("Z", "X")])
    assert ("Z", "X") in found.to_admg(0.001).directed
    for graph in found.sample_graphs(5, generator=torch.Generator().manual_seed(0)):
        assert ("Z", "X") in graph.directed


def test_contradictions_are_refused(model):
    data = draw({})
    with pytest.raises(GraphError, match="`required` edges make a cycle"):
        discover(data, model, required=[("X", "Y"), ("Y", "X")])
    with pytest.raises(GraphError, match=r"`forbidden` names \['W'\]: the variables are"):
        discover(data, model, forbidden=[("X", "W")])


def test_what_a_family_rules_out_cannot_be_required(model):
    chances = [[0.0, 0.5], [0.0, 0.0]]
    family = {"setting": "heterogeneous", "chances": chances, "deviation": 1.0}
    tied = ADAG(width=4, layers=1, family={**family, "samples": [9, 9], "variables": ["X", "Y"]})
    data = {name: column for name, column in draw({}).items() if name != "Z"}
    assert discover(data, tied, required=[("X", "Y")]).edges()[0][:3] == ("X", "Y", 1.0)
    with pytest.raises(GraphError, match="`required` has Y -> X, which the heterogeneous family"):
        discover(data, tied, required=[("Y", "X")])


def test_standardised_data_are_a_caution(model):
    data = draw(GRAPHS["X -> Y -> Z"])
    standard = {name: (x - x.mean()) / x.std() for name, x in data.items()}
    assert "as if standardised" in str(discover(standard, model))
    assert "as if standardised" not in str(discover(data, model))


def test_variances_that_sort_the_graph_are_a_caution(model):
    found = discover(draw(GRAPHS["X -> Y -> Z"]), model)
    assert "variances rise along 100% of the paths found" in str(found)
    falling = discover(draw({"XY": 0.9, "ZY": 0.5}) | {"W": draw({}, seed=1)["X"]}, model)
    assert "variances rise" in str(falling) or not falling.to_admg().directed
    none = discover(draw({}), model)
    assert "variances rise" not in str(none)


@pytest.mark.parametrize("d", [2, 4, 6])
def test_varsortability_is_that_of_all_paths(d, generator):
    """Of every length, a pair is counted once if some path of that length joins it."""
    for _ in range(30):
        graph, variances = random_dag(d, generator), torch.rand(d, generator=generator)
        D = nx.DiGraph(graph.numpy().astype(np.int8))
        joined = {
            (path[0], path[-1], len(path))
            for i, j in itertools.permutations(range(d), 2)
            for path in nx.all_simple_paths(D, i, j)
        }
        rising = sum(bool(variances[i] < variances[j]) for i, j, _ in joined)
        expected = rising / len(joined) if joined else 0.5
        assert varsortability(variances, graph) == pytest.approx(expected)


def test_an_image_is_a_variable(model, generator):
    """A number makes the brightness of an image; what is unlinked stays so."""
    x, other = (torch.randn(400, generator=generator) for _ in "xy")
    images = 0.3 * x[:, None, None, None] + 0.02 * torch.randn(400, 1, 12, 12, generator=generator)
    found = discover({"X": x, "scan": images, "other": other}, model, forbidden=[("scan", "X")])
    P = {(a, b): p for a, b, p, _ in found.edges()}
    assert P["X", "scan"] > 0.5
    assert ("scan", "X") not in P
    assert max(P.get(("other", "scan"), 0), P.get(("scan", "other"), 0)) < 0.5
    assert "images and vectors have no unit" in str(found)
    assert found.probabilities.shape == (3, 3)


@pytest.mark.slow
def test_a_graph_found_becomes_a_pipeline_that_answers(model):
    """X -> Y -> Z: E[Z | do(X = x)] is the product of the two weights times x."""
    data = draw({"XY": 1.5, "YZ": -1.2}, n=3000)
    graph = discover(data, model).to_admg()
    assert graph == ADMG.parse("X -> Y -> Z")
    variables = {name: Continuous.of(column) for name, column in data.items()}
    assert not falsify(graph, data, variables).is_falsified
    assert falsify("X; Y -> Z", data, variables).is_falsified
    pipe = CausalPipeline.from_graph(graph, variables)
    config = TrainingConfig(steps=300, learning_rate=1e-2, ema_decay=0.95, batch_size=256)
    ModularTrainer(pipe, data, config=config).train()
    for x in (-1.0, 1.0):
        drawn = pipe(4000, do={"X": x}, generator=torch.Generator().manual_seed(0))
        assert np.mean(drawn.values["Y"]) == pytest.approx(1.5 * x, abs=0.2)
        assert np.mean(drawn.values["Z"]) == pytest.approx(-1.8 * x, abs=0.25)


@pytest.mark.slow
def test_an_effect_is_averaged_over_the_graphs(model):
    """The slope of Y on X adjusted for the parents of X, in every graph that is drawn."""
    data = draw({"XY": 0.8, "ZX": 0.9, "ZY": 0.7}, n=300)
    found = discover(data, model)

    def slope(graph):
        if ("X", "Y") not in graph.directed:
            return 0.0
        causes = ["X", *sorted(graph.parents({"X"}))]
        X = torch.stack([data[name] - data[name].mean() for name in causes], dim=1)
        return float(torch.linalg.lstsq(X, data["Y"] - data["Y"].mean()).solution[0])

    average = found.average(slope, 100, generator=torch.Generator().manual_seed(0))
    assert sum(average.counts.values()) == 100
    assert float(average.mean) == pytest.approx(0.8, abs=0.35)


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 30, 300])
def test_probabilities_mean_what_they_say(n):
    tasks = LinearFamily(10, 13.5).sample(300, n, generator=torch.Generator().manual_seed(5))
    P = ADAG.from_pretrained().edges(tasks.data).probabilities
    assert calibration(P, tasks.graphs).error < 0.03
    shuffled = P[torch.randperm(300, generator=torch.Generator().manual_seed(6))]
    assert calibration(shuffled, tasks.graphs).error > 0.05
