"""What is possible beforehand, beside all acyclic graphs over four variables."""

import itertools
import random

import pytest

from causal_diffusers import GraphError
from causal_diffusers.discovery import Knowledge
from discovery.dags import all_dags

NAMES = ("A", "B", "C", "D")
EDGES = list(itertools.permutations(NAMES, 2))


@pytest.fixture(scope="module")
def graphs():
    return [
        frozenset((NAMES[i], NAMES[j]) for i, j in graph.nonzero().tolist())
        for graph in all_dags(4)
    ]


def random_knowledge(seed):
    rng = random.Random(seed)
    required = rng.sample(EDGES, rng.choice([0, 0, 1, 2, 3]))
    forbidden = rng.sample(EDGES, rng.choice([0, 1, 3, 5]))
    names = rng.sample(NAMES, rng.choice([0, 2, 3, 4]))
    cut = rng.randint(0, len(names))
    return required, forbidden, [names[:cut], names[cut:]]


def allowed(graph, required, forbidden, tiers):
    """Say whether a graph has what is required, and no edge that is forbidden or goes back."""
    early, late = tiers
    back = set(itertools.product(late, early))
    return graph >= set(required) and not graph & (set(forbidden) | back)


def test_possible_edges_are_those_of_the_graphs_that_remain(graphs):
    """A tier and a forbidden edge speak of edges, a required one of everything it implies."""
    refused = 0
    for seed in range(150):
        known = random_knowledge(seed)
        remaining = [graph for graph in graphs if allowed(graph, *known)]
        if remaining:
            assert Knowledge(NAMES, *known).possible_edges() == frozenset.union(*remaining)
        else:
            refused += 1
            with pytest.raises(GraphError):
                Knowledge(NAMES, *known)
    assert 10 < refused < 100


def test_masks_say_the_same_as_edges():
    for seed in range(30):
        try:
            known = Knowledge(NAMES, *random_knowledge(seed))
        except GraphError:
            continue
        for mask, edges in zip(
            known.masks(), (known.possible_edges(), known.required), strict=True
        ):
            assert {(NAMES[i], NAMES[j]) for i, j in mask.nonzero().tolist()} == set(edges)


def test_a_required_path_rules_out_its_reversal():
    known = Knowledge(NAMES, required=[("A", "B"), ("B", "C"), ("C", "D")])
    assert known.possible_edges() == {(a, b) for a, b in EDGES if a < b}


def test_nothing_known_rules_out_nothing():
    assert Knowledge(NAMES).possible_edges() == frozenset(EDGES)


def test_a_name_alone_is_a_tier():
    assert Knowledge(("age", "drug"), tiers=["age", "drug"]).possible_edges() == {("age", "drug")}


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"required": [("A", "E")]}, r"`required` names \['E'\]: the variables are \['A', 'B'"),
        ({"forbidden": [("F", "E")]}, r"`forbidden` names \['F', 'E'\]: the variables are"),
        ({"tiers": [["A"], ["Z"]]}, r"`tiers` names \['Z'\]: the variables are"),
        ({"tiers": [["A", "B"], ["B"]]}, r"`tiers` has \['B'\] twice. Leave each in one tier"),
        ({"required": ["AB"]}, r"`required` takes edges \(cause, effect\): got 'AB'"),
        ({"forbidden": [("A", "A")]}, r"`forbidden` takes edges .*: got \('A', 'A'\)"),
        ({"required": [("A", "B", "C")]}, r"takes edges .*: got \('A', 'B', 'C'\)"),
        (
            {"required": [("A", "B"), ("B", "A")]},
            r"`required` edges make a cycle through \['A', 'B'\]. Leave one out",
        ),
        (
            {"required": [("A", "B"), ("B", "C"), ("C", "A")]},
            r"make a cycle through \['A', 'B', 'C'\]",
        ),
        (
            {"required": [("A", "B")], "forbidden": [("A", "B")]},
            "`required` has A -> B, which `forbidden` or `tiers` rule out. Change one",
        ),
        ({"required": [("A", "B")], "tiers": [["B"], ["A"]]}, "`required` has A -> B, which"),
    ],
)
def test_contradictions_are_refused(known, message):
    with pytest.raises(GraphError, match=message):
        Knowledge(NAMES, **known)
