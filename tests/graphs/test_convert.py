"""Text, edges, records and networkx, there and back."""

import json

import networkx as nx
import pytest

from causal_diffusers import GraphError
from causal_diffusers.graphs import ADMG
from helpers import random_admgs

LAWS = {
    "text": lambda G: ADMG.parse(str(G)),
    "record": lambda G: ADMG.from_dict(G.to_dict()),
    "json": lambda G: ADMG.from_dict(json.loads(json.dumps(G.to_dict()))),
    "networkx": lambda G: ADMG.from_networkx(G.to_networkx()),
    "dot": lambda G: ADMG.from_dot(G.to_dot()),
    "dagitty": lambda G: ADMG.from_dagitty(G.to_dagitty()),
}


@pytest.mark.parametrize("there_and_back", LAWS.values(), ids=LAWS)
def test_every_notation_keeps_everything(there_and_back):
    for G in random_admgs(150, sizes=(0, 8), shared=0.5):
        again = there_and_back(G)
        assert again == G
        assert again.confounders == G.confounders
        assert repr(again) == repr(G)


@pytest.mark.parametrize("there_and_back", LAWS.values(), ids=LAWS)
def test_every_notation_keeps_mutilated_graphs(there_and_back):
    for G in random_admgs(50, shared=0.9):
        cut = G.mutilate(incoming=G.variables[0], outgoing=G.variables[1])
        assert there_and_back(cut) == cut


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("A -> B <- C", "A -> B\nC -> B"),
        ("A <-> B -> C", "A <-> B; B -> C"),
        ("A->B<->C", "A -> B; B <-> C"),
        ("  A ->  B ;; \n\n C ; ", "A -> B; C"),
        ("A -> B  # why not\n# nothing\nC", "A -> B; C"),
        ("U:A,B ,C", "U: A, B, C"),
        ("", ""),
    ],
)
def test_the_text_may_be_written_in_several_ways(text, same):
    assert ADMG.parse(text) == ADMG.parse(same)


def test_variables_come_in_the_order_of_their_appearance():
    assert ADMG.parse("B <- A; Z; U: Y, A").variables == ("B", "A", "Z", "Y")


@pytest.mark.parametrize(
    "text",
    [
        "A - B",
        "A --> B",
        "A -> ",
        "-> A",
        "A -> -> B",
        "A B",
        "A, B",
        "A <- > B",
        "A => B",
        "U: ",
        "U: A,, B",
        "U: A -> B",
        ": A, B",
        "U: A: B",
        "A -> B -",
        "A ->B C",
    ],
)
def test_a_statement_that_cannot_be_read_is_shown(text):
    with pytest.raises(GraphError, match="a statement must be a chain such as") as error:
        ADMG.parse(f"X -> Y; {text}")
    assert f"got `{text.strip()}`" in str(error.value)


def test_edges_are_pairs_or_triples():
    edges = [("D", "I"), ("A", "<-", "I"), ["D", "<->", "A"]]
    assert ADMG.from_edges(edges) == ADMG.parse("D -> I; A <- I; D <-> A")


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (["AB"], "`edges` must hold .* got 'AB'"),
        ([("A",)], "`edges` must hold"),
        ([("A", "--", "B")], "must be `->`, `<-` or `<->`: got '--' between A and B"),
    ],
)
def test_edges_of_another_kind_are_refused(edges, message):
    with pytest.raises(GraphError, match=message):
        ADMG.from_edges(edges)


@pytest.mark.parametrize(
    ("record", "wrong"),
    [
        ({}, "variables"),
        ({"variables": "XY"}, "variables"),
        ({"variables": ["X"], "edges": []}, "edges"),
        ({"variables": ["X"], "confounders": []}, "confounders"),
        ({"variables": ["X"], "directed": {}}, "directed"),
    ],
)
def test_a_record_of_another_form_is_refused(record, wrong):
    with pytest.raises(GraphError, match=f"got a record where {wrong} is missing, unknown or"):
        ADMG.from_dict(record)


@pytest.mark.parametrize(
    "record",
    [
        {"variables": ["X", "X"]},
        {"variables": ["X", "Y"], "directed": [["X", "Y", "Z"]]},
        {"variables": ["X", "Y"], "directed": [["X", "Y"], ["X", "Y"]]},
        {"variables": ["X", "../Y"]},
        {"variables": ["X", 3]},
        {"variables": ["X"], "confounders": {"U": None}},
        {"variables": ["X"], "confounders": {"U": [["X"], "X"]}},
        {"variables": ["X"], "directed": [3]},
        {"variables": ["X"], "directed": [[["X"], "X"]]},
        {"variables": ["X"], "bidirected": ["XX"]},
        {"variables": [["X"]]},
    ],
)
def test_a_hostile_record_is_refused(record):
    with pytest.raises(GraphError):
        ADMG.from_dict(record)


def test_the_record_is_sorted():
    record = ADMG.parse("B <- A; W: A, B; U: B, A").to_dict()
    assert list(record) == ["variables", "directed", "confounders"]
    assert list(record["confounders"]) == ["U", "W"]


def test_networkx_edges_may_be_bidirected():
    graph = nx.MultiDiGraph([("X", "Y")])
    graph.add_edge("X", "Y", bidirected=True)
    assert ADMG.from_networkx(graph) == ADMG.parse("X -> Y; X <-> Y")


def test_an_undirected_networkx_graph_is_refused():
    with pytest.raises(GraphError, match="needs a directed graph: got a Graph"):
        ADMG.from_networkx(nx.Graph([("X", "Y")]))


def test_networkx_nodes_must_be_names():
    with pytest.raises(GraphError, match=r"a variable's name must be .* got 0"):
        ADMG.from_networkx(nx.DiGraph([(0, 1)]))
