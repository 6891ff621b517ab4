"""Forgetting latent variables keeps what can be seen of them."""

import itertools
import random
from collections import Counter

import networkx as nx
import pytest

from causal_diffusers import GraphError
from causal_diffusers.graphs import ADMG
from helpers import subsets


def project(edges, latents):
    dag = nx.DiGraph(edges)
    nx.set_node_attributes(dag, dict.fromkeys(latents, True), "latent")
    return ADMG.from_networkx(dag)


@pytest.mark.parametrize(
    ("edges", "latents", "expected"),
    [
        ("UX UY", "U", "U: X, Y"),
        ("UX UY UZ", "U", "U: X, Y, Z"),
        ("UX", "U", "X"),  # a latent with one child is private noise
        ("XL LY", "L", "X -> Y"),  # a latent mediator
        ("XL LY LZ", "L", "X -> Y; X -> Z; L: Y, Z"),
        ("UL LX UY", "UL", "U: X, Y"),  # a chain of latents
        ("UL LM MX UY", "ULM", "U: X, Y"),
        ("UL LX LY", "UL", "U: X, Y"),  # L adds nothing to what U can do
        ("UL UX WL WZ LY", "ULW", "U: X, Y; W: Z, Y"),
        ("XU UY", "", "X -> U; U -> Y"),
        ("UX UY XL LZ UL", "UL", "X -> Z; U: X, Y, Z"),
        ("XL YL", "L", "X; Y"),  # a latent without children
    ],
)
def test_textbook_cases(edges, latents, expected):
    G, truth = project([tuple(edge) for edge in edges.split()], latents), ADMG.parse(expected)
    assert G.directed == truth.directed
    assert {u: set(c) for u, c in G.confounders.items()} == {
        u: set(c) for u, c in truth.confounders.items()
    }
    assert set(G.variables) == set(truth.variables)


def random_latent_dag(rng):
    size = rng.randint(3, 8)
    names = rng.sample("ABCDEFGH"[:size], size)
    pairs = itertools.combinations(names, 2)
    edges = [pair for pair in pairs if rng.random() < rng.uniform(0.2, 0.7)]
    return names, edges, rng.sample(names, rng.randint(1, size - 2))


def through(dag, start, latents):
    """Collect what directed paths through latent variables reach."""
    inner = dag.subgraph({start, *latents})
    return {b for a in nx.descendants(inner, start) | {start} for b in dag[a]} - set(latents)


def test_the_edges_are_those_of_the_latent_projection():
    """A -> B and A <-> B for paths without colliders whose inner variables are latent."""
    rng = random.Random(0)
    for _ in range(300):
        names, edges, latents = random_latent_dag(rng)
        dag = nx.DiGraph(edges)
        dag.add_nodes_from(names)
        nx.set_node_attributes(dag, dict.fromkeys(latents, True), "latent")
        G = ADMG.from_networkx(dag)
        seen = [name for name in names if name not in latents]
        assert set(G.variables) == set(seen)
        assert G.directed == {(a, b) for a in seen for b in through(dag, a, latents)}
        assert G.bidirected == {
            frozenset(pair)
            for u in latents
            for pair in itertools.combinations(through(dag, u, latents), 2)
        }


def test_the_independences_are_those_of_the_whole():
    rng, found = random.Random(1), Counter()
    for _ in range(60):
        names, edges, latents = random_latent_dag(rng)
        dag = nx.DiGraph(edges)
        dag.add_nodes_from(names)
        G = project_all(dag, latents)
        for x, y in itertools.combinations(G.variables, 2):
            for Z in subsets(set(G.variables) - {x, y}):
                truth = nx.is_d_separator(dag, {x}, {y}, set(Z))
                assert G.m_separated(x, y, Z) == truth
                found[truth] += 1
    assert min(found.values()) > 50


def project_all(dag, latents):
    nx.set_node_attributes(dag, dict.fromkeys(latents, True), "latent")
    return ADMG.from_networkx(dag)


def test_a_bidirected_edge_into_a_latent_variable_is_a_latent_variable():
    G = ADMG.from_dagitty("dag { L [latent] X <-> L  L -> Y  L -> Z }")
    assert {frozenset(children) for children in G.confounders.values()} == {frozenset("XYZ")}


def test_a_cycle_through_a_latent_variable_is_spelled_out():
    with pytest.raises(GraphError, match=r"got the cycle (L -> X -> L|X -> L -> X)"):
        project([("X", "L"), ("L", "X")], "L")
