"""m-separation, against d-separation where every confounder is a node."""

import itertools
import random
from collections import Counter

import networkx as nx
import pytest

from causal_diffusers import GraphError
from causal_diffusers.graphs import ADMG, m_separated
from helpers import canonical_dag, random_admgs, subsets


@pytest.mark.parametrize("dag_of", [canonical_dag, ADMG.to_networkx], ids=["edges", "cliques"])
def test_m_separation_is_d_separation_with_explicit_latents(dag_of):
    found = Counter()
    for G in random_admgs(60, sizes=(2, 5)):
        dag = dag_of(G)
        for x, y in itertools.combinations(G.variables, 2):
            for Z in subsets(set(G.variables) - {x, y}):
                truth = nx.is_d_separator(dag, {x}, {y}, set(Z))
                assert m_separated(G, x, y, given=Z) == truth
                found[truth] += 1
    assert min(found.values()) > 300


def test_sets_are_separated_like_their_members_jointly():
    rng, found = random.Random(0), Counter()
    for G in random_admgs(600, sizes=(4, 9)):
        names = rng.sample(G.variables, len(G.variables))
        cuts = sorted(rng.choices(range(1, len(names)), k=2))
        X, Y, Z = names[: cuts[0]], names[cuts[0] : cuts[1]], names[cuts[1] :]
        Z = Z[: rng.randint(0, len(Z))]
        truth = not Y or nx.is_d_separator(canonical_dag(G), set(X), set(Y), set(Z))
        assert m_separated(G, X, Y, Z) == m_separated(G, Y, X, Z) == truth
        found[truth] += 1
    assert min(found.values()) > 50


@pytest.mark.parametrize(
    ("text", "given", "separated"),
    [
        ("X -> M -> Y", "M", True),
        ("X <- M -> Y", "M", True),
        ("X -> M <- Y", "", True),
        ("X -> M <- Y", "M", False),
        ("X -> M <- Y; M -> N", "N", False),
        ("X <-> M <-> Y", "", True),
        ("X <-> M <-> Y", "M", False),
        ("U: X, M, Y", "M", False),
        ("X <-> A <-> B <-> Y", "A B", False),
        ("X <-> A <-> B <-> Y", "A", True),
        ("X <-> A <-> Y; A -> Z", "Z", False),
        ("X -> A <-> B <- Y", "A B", False),
    ],
)
def test_textbook_cases(text, given, separated):
    assert ADMG.parse(text).m_separated("X", "Y", given.split()) is separated


def test_nothing_is_separated_from_everything():
    G = ADMG.parse("X -> Y")
    assert G.m_separated((), "Y")
    assert G.m_separated("X", ())


@pytest.mark.parametrize(("X", "Y", "Z"), [("X", "X", ""), ("X", "Y", "X"), ("X", "XY", "")])
def test_sets_that_overlap_are_refused(X, Y, Z):
    with pytest.raises(GraphError, match="needs three disjoint sets: got X in two of them"):
        ADMG.parse("X -> Y").m_separated(list(X), list(Y), list(Z))
