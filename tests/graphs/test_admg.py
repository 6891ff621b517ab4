"""The graph as an object: equal by value, immutable, and right about its kin."""

import copy
import itertools
import pickle
import random
from collections import Counter
from dataclasses import FrozenInstanceError

import networkx as nx
import pytest

from causal_diffusers import GraphError
from causal_diffusers.graphs import ADMG
from helpers import random_admg, random_admgs

FRONT_DOOR = ADMG.parse("D -> I -> A; D <-> A")


def test_the_three_constructors_agree():
    G = ADMG(("D", "I", "A"), {("D", "I"), ("I", "A")}, {frozenset({"D", "A"})})
    named = ADMG(("D", "I", "A"), {("D", "I"), ("I", "A")}, confounders={"U_D_A": ("A", "D")})
    assert G == FRONT_DOOR == named
    assert hash(G) == hash(FRONT_DOOR) == hash(named)


@pytest.mark.parametrize(
    "other",
    [
        "D -> I -> A",
        "D -> I -> A; D <-> I",
        "D -> I -> A; U: D, A",
        "D -> I -> A; D <-> A; Z",
        "A <- I <- D; D <-> A",
    ],
)
def test_graphs_that_differ_are_not_equal(other):
    assert ADMG.parse(other) != FRONT_DOOR


def test_a_graph_is_not_equal_to_its_text():
    assert str(FRONT_DOOR) != FRONT_DOOR


def test_a_graph_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        FRONT_DOOR.variables = ()
    with pytest.raises(FrozenInstanceError):
        del FRONT_DOOR.directed
    with pytest.raises(TypeError):
        FRONT_DOOR.confounders["U"] = ("D", "I")


@pytest.mark.parametrize(
    "clone", [copy.copy, copy.deepcopy, lambda G: pickle.loads(pickle.dumps(G))]
)
def test_a_graph_survives_copying(clone):
    G = ADMG.parse("D -> I -> A; U: D, I, A")
    _ = G.confounders, G.districts(), G.topological_order()  # what is computed travels too
    assert clone(G) == G
    assert clone(G).confounders == G.confounders


def test_the_repr_is_an_expression():
    for G in random_admgs(200, sizes=(0, 9)):
        assert eval(repr(G)) == G


def test_kin_agree_with_networkx():
    for G in random_admgs(150):
        directed, bidirected = nx.DiGraph(G.directed), nx.Graph(map(tuple, G.bidirected))
        directed.add_nodes_from(G.variables)
        bidirected.add_nodes_from(G.variables)
        for name in G.variables:
            assert G.parents(name) == set(directed.predecessors(name))
            assert G.children(name) == set(directed.successors(name))
            assert G.siblings(name) == set(bidirected[name])
            assert G.ancestors(name) == nx.ancestors(directed, name) | {name}
            assert G.descendants(name) == nx.descendants(directed, name) | {name}
            assert G.district(name) == nx.node_connected_component(bidirected, name)
        components = {frozenset(S) for S in nx.connected_components(bidirected)}
        assert set(G.districts()) == components
        assert len(G.districts()) == len(components)


def test_kin_of_a_set_are_those_of_its_members():
    rng = random.Random(2)
    for G in random_admgs(50):
        S = rng.sample(G.variables, rng.randint(0, 3))
        for kin in (G.parents, G.children, G.siblings, G.ancestors, G.descendants):
            assert kin(S) == set().union(*map(kin, S))
            assert isinstance(kin(S), frozenset)


def test_districts_are_ordered_by_their_first_variable():
    G = ADMG.parse("C; A <-> D; B <-> C")
    assert [sorted(D) for D in G.districts()] == [["B", "C"], ["A", "D"]]


def test_a_district_within_some_variables_is_that_of_the_subgraph():
    rng = random.Random(3)
    for G in random_admgs(100):
        S = rng.sample(G.variables, rng.randint(1, len(G.variables)))
        assert G.district(S[0], within=S) == G.subgraph(S).district(S[0])
        assert G.districts(within=S) == G.subgraph(S).districts()


def test_the_markov_pillow_is_that_of_the_papers():
    """mp(V) in the verma graph: D sees A only through its district {B, D}."""
    G = ADMG.parse("A -> B -> C -> D; B <-> D")
    pillows = {name: sorted(G.markov_pillow(name)) for name in G.variables}
    assert pillows == {"A": [], "B": ["A"], "C": ["B"], "D": ["A", "B", "C"]}


def test_the_markov_pillow_screens_off_the_other_predecessors():
    found = Counter()
    for G in random_admgs(150):
        order = G.topological_order()
        for i, name in enumerate(order):
            pillow = G.markov_pillow(name)
            others = set(order[:i]) - pillow
            assert pillow <= set(order[:i])
            assert G.m_separated(name, others, given=pillow)
            smaller = [pillow - {other} for other in pillow]
            found.update(G.m_separated(name, pillow - S, given=S) for S in smaller)
    assert found[True] == 0  # none of its members can be left out
    assert found[False] > 100


def test_mutilate_follows_the_definition():
    rng = random.Random(4)
    for G in random_admgs(200):
        X, Z = (set(rng.sample(G.variables, rng.randint(0, 3))) for _ in range(2))
        cut = G.mutilate(incoming=X, outgoing=Z)
        assert cut.variables == G.variables
        assert cut.directed == {(a, b) for a, b in G.directed if b not in X and a not in Z}
        assert cut.bidirected == {edge for edge in G.bidirected if not edge & X}


def test_mutilate_keeps_the_confounder_of_those_that_still_listen():
    G = ADMG.parse("U: A, B, C; A -> B")
    assert dict(G.mutilate(incoming="A").confounders) == {"U": ("B", "C")}
    assert dict(G.mutilate(incoming=["A", "B"]).confounders) == {}
    assert dict(G.mutilate(outgoing="A").confounders) == {"U": ("A", "B", "C")}


def test_subgraph_follows_the_definition():
    rng = random.Random(5)
    for G in random_admgs(200):
        S = set(rng.sample(G.variables, rng.randint(0, len(G.variables))))
        inner = G.subgraph(S)
        assert inner.variables == tuple(name for name in G.variables if name in S)
        assert inner.directed == {(a, b) for a, b in G.directed if {a, b} <= S}
        assert inner.bidirected == {edge for edge in G.bidirected if edge <= S}


def test_confounders_of_lists_what_a_variable_listens_to():
    for G in random_admgs(50):
        for name in G.variables:
            listed = [u for u, children in G.confounders.items() if name in children]
            assert G.confounders_of(name) == tuple(listed)


@pytest.mark.parametrize(
    "call",
    [
        lambda G: G.parents("E"),
        lambda G: G.ancestors(["A", "E"]),
        lambda G: G.district("E"),
        lambda G: G.district("A", within=["E"]),
        lambda G: G.markov_pillow("E"),
        lambda G: G.confounders_of("E"),
        lambda G: G.mutilate(incoming="E"),
        lambda G: G.mutilate(outgoing=["E"]),
        lambda G: G.subgraph("E"),
        lambda G: G.m_separated("A", "D", given="E"),
    ],
)
def test_an_unknown_variable_is_refused(call):
    with pytest.raises(GraphError, match='must name variables of the graph: got "E"'):
        call(FRONT_DOOR)


def test_ten_thousand_variables_are_no_burden():
    names = [f"X{i}" for i in range(10_000)]
    arcs = list(zip(names[::7], names[3::7], strict=False))
    G = ADMG(names, list(itertools.pairwise(names)), arcs)
    assert len(G.confounders) == len(arcs)
    assert G.topological_order() == tuple(names)
    assert len(G.ancestors(names[-1])) == 10_000
    assert sum(map(len, map(G.confounders_of, names))) == 2 * len(arcs)
    assert not G.mutilate(incoming=names[5]).m_separated(names[5], names[-1])


def test_random_graphs_have_all_kinds():
    """The cases that the other tests run over are not all alike."""
    graphs = [random_admg(random.Random(seed), 6, 0.4, 0.3, 0.3) for seed in range(200)]
    assert {len(G.districts()) for G in graphs} == {1, 2, 3, 4, 5, 6}
    assert any(len(children) > 2 for G in graphs for children in G.confounders.values())
