import random
from itertools import pairwise

import pytest

from causal_diffusers.graphs import ADMG
from causal_diffusers.graphs.hedge import cut_hedge
from queries import check_c_forest


def test_the_bow_is_its_own_hedge():
    G = ADMG.parse("X -> Y; X <-> Y")
    hedge = cut_hedge(G, frozenset("XY"), frozenset("Y"), do=frozenset("X"))
    assert hedge.forest == G
    assert hedge.subforest == ADMG(["Y"])
    assert hedge.roots == {"Y"}


def test_edges_are_cut_until_forests_are_left():
    G = ADMG.parse("A -> B -> C; A -> D; B -> D; A <-> D; D <-> C; C <-> B; B <-> D")
    hedge = cut_hedge(G, frozenset("ABCD"), frozenset("BCD"), do=frozenset("A"))
    assert str(hedge) == "{A, D} over {D}"
    G = ADMG.parse("A -> B -> C; A <-> C; B <-> C")
    hedge = cut_hedge(G, frozenset("ABC"), frozenset("BC"), do=frozenset("A"))
    assert str(hedge) == "{A, B, C} over {B, C}"
    assert (hedge.forest, hedge.roots) == (G, {"C"})


def test_variables_go_before_the_last_treatment_does():
    G = ADMG.parse("Z -> X -> Y; U: X, Y, Z")
    V, S = frozenset("XYZ"), frozenset("Y")
    assert str(cut_hedge(G, V, S, do=frozenset("X"))) == "{X, Y} over {Y}"
    assert str(cut_hedge(G, V, S, do=frozenset("Z"))) == "{Z, X, Y} over {Y}"
    assert cut_hedge(G, V, S, do=frozenset("Z")).forest.directed == {("Z", "X"), ("X", "Y")}


def test_the_inner_part_stays_a_district():
    """Without C the outer part would still be one."""
    G = ADMG.parse("A -> E -> B -> D; B <-> C <-> D; B <-> E <-> D <-> A")
    hedge = cut_hedge(G, frozenset("ABCDE"), frozenset("BCD"), do=frozenset("A"))
    check_c_forest(G, hedge.subforest, hedge.roots)
    assert hedge.roots == {"C", "D"}


@pytest.mark.parametrize("seed", range(50))
def test_both_parts_are_c_forests_with_the_same_roots(seed):
    """Random graphs of one district, all of whose variables lead into a district S."""
    rng = random.Random(seed)
    names = list("ABCDEFGH"[: rng.randint(2, 8)])
    S = names[rng.randint(1, len(names) - 1) :]
    towards = [(a, rng.choice(names[i + 1 :])) for i, a in enumerate(names[:-1])]
    arcs = {frozenset(pair) for pair in pairwise(S)}
    arcs |= {frozenset((a, rng.choice(names[i + 1 :]))) for i, a in enumerate(names[:-1])}
    more = [(a, b) for a in names for b in names if a < b and rng.random() < 0.2]
    G = ADMG(names, {*towards, *more}, arcs | {frozenset(pair) for pair in more[::2]})
    hedge = cut_hedge(G, frozenset(names), frozenset(S), do=frozenset(names) - {*S})
    check_c_forest(G, hedge.forest, hedge.roots)
    check_c_forest(G, hedge.subforest, hedge.roots)
    assert hedge.subforest.directed <= hedge.forest.directed
    assert hedge.subforest.bidirected <= hedge.forest.bidirected
    assert set(hedge.subforest.variables) <= set(S)
    assert set(hedge.forest.variables) - set(S)
