"""A graph that made the data is not contradicted, and one that lacks an edge is, by name."""

import itertools
import random

import pytest
import torch

from causal_diffusers import ADMG, Categorical, Continuous, GraphError, Image, falsify
from causal_diffusers.graphs.implications import Independence
from causal_diffusers.inference.falsify import TestedIndependence, _corrected
from causal_diffusers.metrics.dependence import DependenceTest
from causal_diffusers.systems import DiscreteSCM
from quadrants import draw

TWO = Categorical([0, 1])
VERMA = "A -> B -> C -> D; B <-> D"


def system(graph, seed, rows=4000):
    graph = ADMG.parse(graph) if isinstance(graph, str) else graph
    scm = DiscreteSCM.random(graph, generator=torch.Generator().manual_seed(seed))
    columns = scm.sample(rows, generator=torch.Generator().manual_seed(seed + 1))
    return columns, dict.fromkeys(graph.variables, TWO)


def random_graph(seed, size=5):
    rng = random.Random(seed)
    names = [f"V{i}" for i in range(size)]
    pairs = list(itertools.combinations(names, 2))
    directed = [pair for pair in pairs if rng.random() < 0.4]
    return ADMG(names, directed, [frozenset(p) for p in pairs if rng.random() < 0.2])


@pytest.mark.slow
def test_true_graphs_are_seldom_contradicted():
    """At level .05, 30 graphs: 5 alarms or more would happen once in 60 times."""
    alarms = 0
    for seed in range(30):
        columns, variables = system(random_graph(seed), seed)
        alarms += falsify(random_graph(seed), columns, variables).is_falsified
    assert alarms < 5


def test_what_a_missing_edge_breaks_is_named():
    found = 0
    for seed in range(10):
        columns, variables = system("X -> M -> Y; X -> Y", seed)
        report = falsify("X -> M -> Y", columns, variables)
        found += report.pairs == (("X", "Y"),)
        if report.is_falsified:
            assert "THE DATA CONTRADICT THE GRAPH" in str(report)
            assert "X and Y: add an edge or a confounder" in str(report)
    assert found >= 8


@pytest.mark.slow
def test_a_verma_constraint_is_kept_and_broken():
    """No independence of the observed distribution tells these two graphs apart."""
    kept, broken = [], []
    for seed in range(12):
        columns, variables = system(VERMA, seed, rows=10_000)
        kept.append(("A", "D") in falsify(VERMA, columns, variables).pairs)
        columns, variables = system(f"{VERMA}; A -> D", seed, rows=10_000)
        broken.append(("A", "D") in falsify(VERMA, columns, variables).pairs)
    assert sum(kept) <= 2
    assert sum(broken) >= 6


def test_numbers_that_depend_by_curves():
    generator = torch.Generator().manual_seed(0)
    x, e, f = (torch.randn(4000, generator=generator) for _ in range(3))
    m = x.square() + 0.5 * e
    variables = dict.fromkeys("XMY", Continuous())
    good = {"X": x.tolist(), "M": m.tolist(), "Y": (m.sin() + 0.5 * f).tolist()}
    assert not falsify("X -> M -> Y", good, variables).is_falsified
    bad = {**good, "Y": (m.sin() + (2 * x).cos() + 0.5 * f).tolist()}
    assert falsify("X -> M -> Y", bad, variables).pairs == (("X", "Y"),)


def test_a_verma_constraint_of_one_system():
    columns, variables = system(VERMA, 0)
    assert not falsify(VERMA, columns, variables).is_falsified


def test_many_tests_leave_room_for_a_clear_no():
    """Holm's correction for 66 pairs would swallow the least p-value that 500 draws can give."""
    names = [f"V{i}" for i in range(12)]
    columns = torch.randint(2, (12, 3000), generator=torch.Generator().manual_seed(0))
    columns[1] = columns[0]
    rows = dict(zip(names, columns, strict=True))
    report = falsify("; ".join(names), rows, dict.fromkeys(names, TWO))
    assert len(report.tests) == 66
    assert report.pairs == (("V0", "V1"),)


def test_images_stand_between():
    generator = torch.Generator().manual_seed(0)
    d = torch.randint(2, (3000,), generator=generator)
    c = 2 * d + torch.randint(2, (3000,), generator=generator)
    c = torch.where(torch.rand(3000, generator=generator) < 0.3, 3 - c, c)
    a = torch.bernoulli(torch.tensor([0.1, 0.8, 0.3, 0.9])[c], generator=generator).long()
    variables = {"D": TWO, "I": Image(1, 8, 8), "A": TWO}
    rows = {"D": d, "I": draw(c, generator), "A": a}
    assert not falsify("D -> I -> A", rows, variables).is_falsified
    told = torch.bernoulli(0.2 + 0.6 * d.float(), generator=generator).long()
    report = falsify("D -> I -> A", {**rows, "A": told}, variables)
    assert report.pairs == (("D", "A"),)
    assert falsify("D; I; A", rows, variables).is_falsified


def test_what_cannot_be_tested_says_so():
    generator = torch.Generator().manual_seed(0)
    variables = dict.fromkeys("ABCD", TWO) | {"B": Continuous()}
    columns = {n: torch.randint(2, (200,), generator=generator) for n in "ACD"}
    columns["B"] = torch.randn(200, generator=generator).tolist()
    report = falsify(VERMA, columns, variables)
    assert "A _||_ D after dividing by P(C | B): not tested, B cannot be counted" in str(report)
    nothing = falsify("X -> Y", {"X": [0, 1], "Y": [0, 1]}, dict.fromkeys("XY", TWO))
    assert "the graph forbids nothing that could be seen" in str(nothing)
    few = falsify("X; Y", {"X": [0, 1], "Y": [0, 1]}, dict.fromkeys("XY", TWO))
    assert "not tested, too few rows" in str(few)
    assert not few.is_falsified


def test_rows_of_experiments_are_left_out():
    columns, variables = system("X -> Y", 3)
    tags = ["" if i % 2 else "Y" for i in range(4000)]
    assert falsify("X; Y", {**columns, "intervened": tags}, variables).num_rows == 2000


def test_the_correction_is_that_of_holm():
    entries = [
        TestedIndependence(Independence(name, "Y"), DependenceTest(p, 0.1, 1))
        for name, p in (("A", 0.03), ("B", 0.01), ("C", 0.04))
    ]
    adjusted = [round(t.adjusted, 10) for t in _corrected(entries)]
    assert adjusted == [0.06, 0.03, 0.06]


def test_bad_input_is_refused():
    columns, variables = system("X -> Y", 0, rows=50)
    with pytest.raises(ValueError, match=r"false alarm, in \(0, 1\): got 2"):
        falsify("X -> Y", columns, variables, level=2)
    with pytest.raises(KeyError, match=r"describe every variable of the graph: lacks \['Z'\]"):
        falsify("X -> Y; Z", columns, variables)
    with pytest.raises(GraphError):
        falsify("X -> Y; Y -> X", columns, variables)
    with pytest.raises(KeyError, match="Y"):
        falsify("X -> Y", {"X": [0, 1]}, variables)
