"""What is refused, and in which words."""

import itertools
import random

import networkx as nx
import pytest

from causal_diffusers import GraphError
from causal_diffusers.graphs import ADMG
from helpers import random_admg

MALFORMED = {
    "cycle": (
        "A -> B -> C -> A; X -> A; C -> Y",
        "`directed` must be acyclic: got the cycle A -> B -> C -> A. Remove or reverse one of "
        "these edges; if two of the variables only share a latent cause, write `A <-> B`.",
    ),
    "two-cycle": ("A -> B; B -> A", "got the cycle A -> B -> A."),
    "self-loop": (
        "A -> B; A -> A",
        "`directed` must join two different variables: got the self-loop A -> A. Remove it.",
    ),
    "bidirected self-loop": (
        "A <-> A",
        "`bidirected` must join two different variables: got the self-loop A <-> A.",
    ),
    "edge twice": (
        "A -> B; C -> B; B <- A",
        "`directed` must list each edge once: got A -> B twice. Remove the repetition.",
    ),
    "bidirected edge twice": (
        "A <-> B; B <-> A",
        "`bidirected` must list each edge once: got A <-> B twice.",
    ),
    "confounder with one child": (
        "U: A; A -> B",
        '`confounders` must have two or more different children: got A for "U". A latent with '
        "one child is private noise",
    ),
    "confounder with one child twice": ("U: A, A", 'got A, A for "U".'),
    "confounder and variable": (
        "A -> U; U: A, B",
        '`confounders` must have names of their own: got "U", which is a variable. Rename the '
        'confounder, for instance to "U_U".',
    ),
    "confounder twice": ("U: A, B; U: B, C", 'a confounder must be named once: got "U" again'),
    "reserved variable": ("to -> B", 'a variable may not have the reserved name "to"'),
    "reserved confounder": ("graph: A, B", 'a confounder may not have the reserved name "graph"'),
    "path": ("../A -> B", "a variable's name must be a letter followed by"),
}


@pytest.mark.parametrize(("text", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_graph_is_refused_with_a_reason(text, message):
    with pytest.raises(GraphError) as error:
        ADMG.parse(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variables": "XY"}, "must be a sequence of names: got the string 'XY'"),
        ({"variables": ["X", "X"]}, '`variables` must list each variable once: got "X" twice'),
        ({"variables": ["X"], "directed": [("X", "Y")]}, '`directed` must name .* got "Y"'),
        ({"variables": ["X"], "bidirected": [("X", "Y")]}, '`bidirected` must name .* got "Y"'),
        ({"variables": ["X"], "confounders": {"U": "XY"}}, "`confounders.'U'.` must name .*XY"),
        ({"variables": ["X", "Y"], "directed": ["XY"]}, "must hold pairs of variables: got 'XY'"),
        ({"variables": ["X", "Y", "Z"], "bidirected": [set("XYZ")]}, "goes in `confounders`"),
        ({"variables": ["X"], "bidirected": [{"X"}]}, "got the self-loop X <-> X"),
    ],
)
def test_malformed_arguments_are_refused_with_a_reason(arguments, message):
    with pytest.raises(GraphError, match=message):
        ADMG(**arguments)


def test_the_cycle_in_the_message_is_one_of_the_graph():
    rng, cyclic = random.Random(0), 0
    for _ in range(300):
        size = rng.randint(2, 9)
        graph = nx.gnp_random_graph(size, rng.uniform(0.1, 0.5), rng.randrange(2**31), True)
        edges = [(f"X{a}", f"X{b}") for a, b in graph.edges]
        if nx.is_directed_acyclic_graph(graph):
            ADMG([f"X{i}" for i in range(size)], edges)
            continue
        with pytest.raises(GraphError, match="must be acyclic") as error:
            ADMG([f"X{i}" for i in range(size)], edges)
        walk = str(error.value).split("cycle ")[1].split(". ")[0].split(" -> ")
        cyclic += 1
        assert walk[0] == walk[-1]
        assert len(set(walk)) == len(walk) - 1
        assert set(itertools.pairwise(walk)) <= set(edges)
    assert 50 < cyclic < 250


def test_the_order_is_topological_and_moves_as_little_as_it_must():
    rng = random.Random(1)
    for _ in range(200):
        G = random_admg(rng, rng.randint(1, 9), rng.random())
        graph = nx.DiGraph(G.directed)
        graph.add_nodes_from(G.variables)
        smallest = nx.lexicographical_topological_sort(graph, key=G.variables.index)
        assert G.topological_order() == tuple(smallest)
