import itertools
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from causal_diffusers.errors import GraphError, ShapeError
from causal_diffusers.graphs import ADMG
from causal_diffusers.systems import DiscreteSCM
from queries import random_admg

G = ADMG.parse("W -> Z -> X -> Y; W <-> X; U: W, Y, Z")


def system(graph=G, seed=0, **options):
    return DiscreteSCM.random(graph, generator=torch.Generator().manual_seed(seed), **options)


def by_hand(scm, do):
    """Sum over every value of every confounder, one configuration at a time."""
    sizes = {name: table.shape[-1] for name, table in scm.tables.items()}
    table = np.zeros([sizes[name] for name in scm.graph.variables])
    for values in itertools.product(*(range(size) for size in table.shape)):
        v = dict(zip(scm.graph.variables, values, strict=True))
        if any(v[name] != value for name, value in do.items()):
            continue
        for hidden in itertools.product(*(range(len(prior)) for prior in scm.priors.values())):
            row = v | dict(zip(scm.priors, hidden, strict=True))
            weights = [prior[row[name]] for name, prior in scm.priors.items()]
            for name in set(scm.graph.variables) - set(do):
                weights.append(scm.tables[name][(*(row[i] for i in scm.inputs(name)), row[name])])
            table[values] += np.prod(weights)
    return table


@pytest.mark.parametrize("seed", range(5))
def test_the_joint_is_the_sum_over_the_confounders(seed):
    scm = system(seed=seed, cardinalities={"X": 3}, states=3)
    assert np.allclose(scm.joint(), by_hand(scm, {}), atol=1e-14)
    assert np.isclose(scm.joint().sum(), 1)


@pytest.mark.parametrize("do", [{"X": 1}, {"W": 0}, {"Z": 1, "X": 2}])
def test_an_intervention_drops_the_tables_of_its_variables(do):
    scm = system(cardinalities={"X": 3})
    rest = tuple(name for name in G.variables if name not in do)
    truth = scm.interventional(rest, list(do)).at(do)
    assert np.allclose(truth.values, by_hand(scm, do).sum(axis=tuple(map(G.variables.index, do))))


def test_conditions_after_an_intervention():
    scm = system(cardinalities={"X": 3})
    joint = scm.interventional(["Y", "W"], ["X"]).values
    truth = scm.interventional(["Y"], ["X"], ["W"])
    assert truth.variables == ("Y", "X", "W")
    assert np.allclose(truth.values, joint.transpose(0, 2, 1) / joint.sum(axis=0).T)


def test_a_shared_confounder_can_make_three_variables_equal():
    """No three pairwise confounders can (Evans, 2016)."""
    copy = np.eye(2)
    scm = DiscreteSCM(
        ADMG.parse("U: A, B, C"), {"U": np.full(2, 0.5)}, {"A": copy, "B": copy, "C": copy}
    )
    assert scm.joint()[0, 0, 0] == scm.joint()[1, 1, 1] == 0.5


def test_tables_stay_away_from_zero():
    graph = ADMG.parse("X -> Y; X <-> Y")
    values = [system(graph, seed, states=8).tables["Y"] for seed in range(50)]
    assert 0.1 <= np.min(values) < 0.105
    assert 0.895 < np.max(values) <= 0.9
    assert np.min([system(graph, seed, cardinalities=5).tables["Y"] for seed in range(20)]) >= 0.04


def test_the_same_generator_draws_the_same_system():
    assert np.array_equal(system(seed=3).joint(), system(seed=3).joint())
    assert not np.array_equal(system(seed=3).joint(), system(seed=4).joint())


@pytest.mark.parametrize("do", [{}, {"X": 2}])
def test_samples_follow_the_truth(do, generator):
    scm = system(cardinalities={"X": 3})
    rows = scm.sample(40_000, do=do, generator=generator)
    assert list(rows) == list(G.variables)
    assert all(column.dtype == torch.int64 for column in rows.values())
    counts = np.zeros(scm.joint().shape)
    np.add.at(counts, tuple(column.numpy() for column in rows.values()), 1)
    assert np.abs(counts / 40_000 - by_hand(scm, do)).sum() / 2 < 0.02


def test_samples_of_non_descendants_do_not_move():
    scm = system()
    before = scm.sample(1000, generator=torch.Generator().manual_seed(0))
    after = scm.sample(1000, do={"X": 1}, generator=torch.Generator().manual_seed(0))
    assert (after["X"] == 1).all()
    assert all(torch.equal(before[name], after[name]) for name in ("W", "Z"))
    assert not torch.equal(before["Y"], after["Y"])


@pytest.mark.parametrize("seed", range(10))
def test_the_joint_respects_m_separation(seed):
    rng = random.Random(seed)
    graph = random_admg(rng, 5)
    table = system(graph, seed).interventional(graph.variables)
    for X, Y in itertools.combinations(graph.variables, 2):
        others = [name for name in graph.variables if name not in (X, Y)]
        Z = rng.sample(others, rng.randint(0, 3))
        summed = tuple(i for i, name in enumerate(graph.variables) if name in {*others} - {*Z})
        P = table.values.sum(axis=summed, keepdims=True)
        x, y = graph.variables.index(X), graph.variables.index(Y)
        gap = P * P.sum(axis=(x, y), keepdims=True)
        gap = gap - P.sum(axis=x, keepdims=True) * P.sum(axis=y, keepdims=True)
        assert (np.abs(gap).max() < 1e-12) == graph.m_separated(X, Y, Z)


def test_malformed_systems_are_refused():
    scm = system()
    with pytest.raises(ValueError, match="one entry for each of W, X, Y, Z: got W"):
        DiscreteSCM(G, scm.priors, {"W": scm.tables["W"]})
    with pytest.raises(ShapeError, match=r'"Y" should have shape \(2, 2, 2\)') as caught:
        DiscreteSCM(G, scm.priors, {**scm.tables, "Y": scm.tables["Y"][0]})
    assert caught.value.variable == "Y"
    with pytest.raises(ValueError, match="distributions along its last axis"):
        DiscreteSCM(G, scm.priors, {**scm.tables, "Y": scm.tables["Y"] * 2})


def test_malformed_questions_are_refused(generator):
    scm = system()
    with pytest.raises(GraphError, match='got "Q"'):
        scm.interventional("Q")
    with pytest.raises(ValueError, match="each variable once"):
        scm.interventional("Y", "Y")
    with pytest.raises(GraphError, match='`do` must name variables of the graph: got "Q"'):
        scm.sample(1, do={"Q": 0}, generator=generator)
    with pytest.raises(ValueError, match="`uniform_share` must be in"):
        system(uniform_share=2)


def test_systems_are_imported_on_first_use():
    code = "import sys, causal_diffusers.systems; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
