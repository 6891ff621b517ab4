"""One confounder per maximal bidirected clique, unless named."""

import itertools
import random

import pytest

from causal_diffusers import GraphError
from causal_diffusers.graphs import ADMG
from causal_diffusers.graphs.confounders import as_written, pairs, restrict
from helpers import random_admg, subsets


def children(G):
    return {name: tuple(listed) for name, listed in G.confounders.items()}


def test_a_three_way_common_cause_given_as_three_edges_is_one_confounder():
    G = ADMG.parse("A <-> B; B <-> C; A <-> C")
    assert children(G) == {"U_A_B_C": ("A", "B", "C")}


def test_a_named_confounder_covers_its_edges():
    assert children(ADMG.parse("A <-> B; U: A, B, C")) == {"U": ("A", "B", "C")}
    assert ADMG.parse("U: A, B").bidirected == {frozenset("AB")}


def test_naming_the_confounder_of_one_edge_takes_it_out_of_the_clique():
    G = ADMG.parse("A <-> B; B <-> C; A <-> C; W: A, B")
    assert children(G) == {"W": ("A", "B"), "U_A_C": ("A", "C"), "U_B_C": ("B", "C")}


def test_a_chain_is_two_confounders():
    assert children(ADMG.parse("A <-> B <-> C")) == {"U_A_B": ("A", "B"), "U_B_C": ("B", "C")}


def test_children_come_in_the_order_of_the_variables():
    assert children(ADMG.parse("C -> B -> A; U: A, B, C")) == {"U": ("C", "B", "A")}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("A <-> B; U_A_B", {"U_A_B_2"}),
        ("A <-> B; U_A_B: B, C", {"U_A_B", "U_A_B_2"}),
        ("A <-> B_C; A_B <-> C", {"U_A_B_C", "U_A_B_C_2"}),
    ],
)
def test_names_do_not_clash(text, names):
    assert set(ADMG.parse(text).confounders) == names


def test_the_name_of_a_large_clique_is_short():
    names = [f"variable_{i}" for i in range(12)]
    G = ADMG(names, bidirected=itertools.combinations(names, 2))
    assert children(G) == {"U_variable_0_and_11_others": tuple(names)}


def test_confounders_are_the_maximal_cliques():
    rng = random.Random(0)
    for _ in range(100):
        G = random_admg(rng, rng.randint(1, 7), 0, rng.random())
        cliques = [
            frozenset(S)
            for S in subsets(G.variables, 2)
            if all(frozenset(pair) in G.bidirected for pair in itertools.combinations(S, 2))
        ]
        maximal = {S for S in cliques if not any(other > S for other in cliques)}
        assert {frozenset(listed) for listed in G.confounders.values()} == maximal


def test_the_written_form_makes_the_same_confounders():
    rng = random.Random(1)
    for _ in range(300):
        G = random_admg(rng, rng.randint(2, 8), 0.2, rng.uniform(0, 0.6), shared=0.5)
        G = G.mutilate(incoming=rng.sample(G.variables, rng.randint(0, 2)))
        arcs, named = as_written(G.confounders, G.variables)
        assert ADMG(G.variables, G.directed, arcs, named) == G


def test_bare_edges_are_written_as_edges():
    G = ADMG.parse("A <-> B; B <-> C; A <-> C; W: C, D")
    assert as_written(G.confounders, G.variables)[1] == {"W": ("C", "D")}


def test_restrict_drops_what_is_left_with_one_child():
    listening = {"U": ("A", "B", "C"), "W": ("A", "B")}
    assert restrict(listening, lambda name: name != "B") == {"U": ("A", "C")}
    assert pairs(restrict(listening, lambda name: name == "A")) == set()


def test_too_many_cliques_are_refused_when_confounders_are_asked_for():
    names = [f"X{i}" for i in range(36)]  # twelve triples without an edge inside: 3^12 cliques
    arcs = [
        (names[i], names[j]) for i, j in itertools.combinations(range(36), 2) if i // 3 != j // 3
    ]
    G = ADMG(names, bidirected=arcs)
    assert len(G.districts()) == 1
    with pytest.raises(GraphError, match=r"at most 100,000 maximal cliques.*Name the confounders"):
        _ = G.confounders
