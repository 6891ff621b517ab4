"""Graphs that differ by one edge: all of them, once, and by that edge only."""

import itertools

import networkx as nx
import pytest

from causal_diffusers.graphs import ADMG
from causal_diffusers.graphs.changes import changed_graphs
from helpers import random_admgs


def expected(G):
    """List the changed edge sets with nothing but sets and a search for cycles."""
    found, both = [], (set(G.directed), set(G.bidirected))
    for a, b in itertools.combinations(G.variables, 2):
        present = {(a, b), (b, a)} & both[0]
        rest = both[0] - present
        options = [
            rest,
            *([rest | {e[::-1]} for e in present] or [rest | {(a, b)}, rest | {(b, a)}]),
        ]
        for directed in options if present else options[1:]:
            if nx.is_directed_acyclic_graph(nx.DiGraph(list(directed))):
                found.append((frozenset(directed), frozenset(both[1])))
        found.append((frozenset(both[0]), frozenset(both[1] ^ {frozenset((a, b))})))
    return found


@pytest.mark.parametrize("G", list(random_admgs(15, sizes=(3, 5), shared=0.5)), ids=str)
def test_every_change_occurs_once(G):
    changed = [(frozenset(H.directed), frozenset(H.bidirected)) for _, _, H in changed_graphs(G)]
    assert sorted(map(repr, map(canonical, changed))) == sorted(
        map(repr, map(canonical, expected(G)))
    )


def canonical(edges):
    directed, bidirected = edges
    return sorted(directed), sorted(map(sorted, bidirected))


def test_a_shared_confounder_is_split():
    G = ADMG(list("ABC"), (), (), {"U": list("ABC")})
    changed = {change: H for change, _, H in changed_graphs(G)}["remove A <-> B"]
    assert {frozenset(c) for c in changed.confounders.values()} == {
        frozenset("AC"),
        frozenset("BC"),
    }


def test_other_confounders_keep_their_names():
    G = ADMG(list("ABCD"), [("A", "B")], (), {"U": list("ABC")})
    for _, pair, H in changed_graphs(G):
        if not pair <= set("ABC"):
            assert H.confounders["U"] == G.confounders["U"]
