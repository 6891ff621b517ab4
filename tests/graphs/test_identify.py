import time
from itertools import pairwise

import numpy as np
import pytest
import torch

from causal_diffusers.errors import GraphError, NotIdentifiableError
from causal_diffusers.graphs import ADMG, identify
from causal_diffusers.systems import DiscreteSCM
from queries import check_hedge, error_of

NAPKIN = "W -> Z -> X -> Y; W <-> X; W <-> Y"


def answer(text, outcomes, do=(), given=()):
    """Identify, check against enumeration, and return the estimand as text."""
    G = ADMG.parse(text)
    query = tuple(outcomes), tuple(do), tuple(given)
    system = DiscreteSCM.random(G, {"X": 3}, generator=torch.Generator().manual_seed(0))
    assert error_of(G, query, system) < 1e-12
    return str(identify(G, *query))


def hedge(text, outcomes, do, given=()):
    """Ask what cannot be answered, check the hedge, and return it as text."""
    G = ADMG.parse(text)
    with pytest.raises(NotIdentifiableError) as caught:
        identify(G, list(outcomes), list(do), list(given))
    check_hedge(G, [*outcomes, *given], do, caught.value.hedge)
    return str(caught.value.hedge)


def test_line_1():
    """No intervention is left: marginalise."""
    assert answer("Y -> X; X <-> Y", "Y", "X") == "P(Y)"
    assert answer("X -> Y; X <-> Y", "XY") == "P(X, Y)"


def test_line_2():
    """What is no ancestor of the outcomes is dropped, with the hedge it would make."""
    assert answer("X -> Y -> C; X <-> C; Y <-> C", "Y", "X") == "P(Y | X)"
    assert answer("X -> Y; X <-> A; A <-> Y; Y -> A", "Y", "X") == "P(Y | X)"


def test_line_3():
    """Intervening where it changes nothing breaks the tie between W and X."""
    assert answer("W -> X -> Y; W <-> X", "Y", "X") == "P(Y | X)"
    text = "sum_{A, W} P(Y | A, W, X) P(A, W)"
    assert answer("A -> W -> X -> Y; A -> Y; A <-> W; W <-> Y", "Y", "X") == text


def test_line_4():
    """The districts of what is not intervened on are answered one by one."""
    assert answer("Z -> X -> Y <- Z", "Y", "X") == "sum_{Z} P(Y | Z, X) P(Z)"
    text = "sum_{M} P(M | X) sum_{X'} P(Y | X', M) P(X')"
    assert answer("X -> M -> Y; X <-> Y", "Y", "X") == text


def test_line_5():
    """One district all over: there is no answer."""
    assert hedge("X -> Y; X <-> Y", "Y", "X") == "{X, Y} over {Y}"
    assert hedge("Z -> X -> Y; X <-> Y", "Y", "X") == "{X, Y} over {Y}"
    assert hedge("W -> X -> Y; W <-> X; W <-> Y; X <-> Y", "Y", "X") == "{X, Y} over {Y}"
    assert hedge("X -> Z -> Y; X <-> Y; Z <-> Y; X <-> Z", "Y", "X") == "{X, Z} over {Z}"


def test_line_6():
    """The district is one of the whole graph: a product of conditionals."""
    assert answer("X -> Y", "Y", "X") == "P(Y | X)"
    assert answer("X -> A -> Y; A <-> Y", "AY", "X") == "P(A, Y | X)"
    assert answer("X -> A -> Y; A <-> Y", "Y", "X") == "P(Y | X)"


def test_line_7():
    """The district lies inside a larger one: go on within that."""
    text = "sum_{Z} P(Z) [sum_{W} P(X, Y | W, Z) P(W)] / [sum_{W} P(X | W, Z) P(W)]"
    assert answer(NAPKIN, "Y", "X") == text
    text = "sum_{A, B} P(D | A, B, C) P(A, B)"
    assert answer("A -> B -> C -> D; B <-> D; A -> C", "D", "C") == text


def test_idc_line_1():
    """Rule 2 turns a condition into an intervention."""
    text = "D -> I -> A; D <-> A"
    assert answer(text, "A", "D", "I") == "sum_{D'} P(A | D', I) P(D')"
    assert answer("X -> Y <- Z; X <-> Z", "Y", "X", "Z") == "P(Y | X, Z)"
    assert answer("X -> Z -> Y; X <-> Z", "Y", "X", "Z") == "P(Y | Z)"
    hedge("X -> Z -> Y; X <-> Z", "YZ", "X")


def test_idc_line_2():
    """A condition that stays divides the joint."""
    above, below = (f"P({I} | D) sum_{{D'}} P(A | D', {I}) P(D')" for I in ("I", "I'"))
    text = f"[{above}] / [sum_{{I'}} {below}]"
    assert answer("D -> I -> A; D <-> A", "I", "D", "A") == text
    assert answer("D -> I -> A; D <-> A", "A", "I", "D") == "P(A | D, I)"
    assert hedge(NAPKIN, "Y", "X", "W") == "{W, X, Y} over {W, Y}"


def test_a_query_without_intervention_is_a_conditional():
    assert answer("X -> Y <- Z; X <-> Y", "Y", (), "XZ") == "P(Y | X, Z)"


def test_the_napkin():
    """y0 0.2.11 answers P(Y | X)."""
    assert answer(NAPKIN, "Y", "X") != "P(Y | X)"
    assert answer(NAPKIN, "Y", "Z") == "sum_{W} P(Y | W, Z) P(W)"
    assert hedge(NAPKIN, "Y", "X", "Z") == hedge(NAPKIN, "Y", "X", "WZ")


def test_isolated_variables_change_nothing():
    """y0 0.2.11 fails on them."""
    alone, among = "X -> M -> Y; X <-> Y", "Q; X -> M -> Y; X <-> Y; R <-> S; T"
    assert answer(alone, "Y", "X") == answer(among, "Y", "X")
    assert answer(among, "Y", "Q") == "P(Y)"
    assert answer(among, "Q", "Y") == "P(Q)"
    assert answer(among, "Q", "X", "Y") == "P(Q)"


def test_a_shared_confounder_is_its_clique():
    assert hedge("X -> Y; A -> X; U: X, Y, A", "Y", "X") == "{X, Y} over {Y}"
    assert answer("X -> M -> Y; U: X, Y, A", "Y", "X").startswith("sum_{M} P(M | X)")


def test_the_declared_order_does_not_matter():
    """Variables declared effects first."""
    assert answer("Y <- M <- X; X <-> Y", "Y", "X") == answer("X -> M -> Y; X <-> Y", "Y", "X")


def test_a_single_name_may_come_bare():
    G = ADMG.parse("sex -> image <- age; sex <-> age")
    assert identify(G, "image", "sex", "age") == identify(G, ["image"], ["sex"], ["age"])


def test_a_refusal_names_the_hedge_and_the_ways_out():
    with pytest.raises(NotIdentifiableError) as caught:
        identify(ADMG.parse("X -> Y; X <-> Y"), "Y", "X")
    assert caught.value.query == "P(Y | do(X))"
    assert str(caught.value) == (
        "`P(Y | do(X))` is not identifiable from this graph: unobserved confounders join X to Y "
        "with no observed variable that breaks the tie (hedge {X, Y} over {Y}). Add "
        "interventional data on X, observe the confounder behind X <-> Y, or ask for `P(Y | X)`."
    )
    assert caught.value.__cause__ is None


def test_a_refusal_of_a_joint_names_the_outcomes_that_have_an_answer():
    G = ADMG.parse("X -> A; X -> M -> B; X <-> A; X <-> B; Z")
    with pytest.raises(NotIdentifiableError, match=r"one at a time: B, Z\.$"):
        identify(G, ["A", "B", "Z"], "X")


@pytest.mark.parametrize(
    ("outcomes", "do", "given", "error", "message"),
    [
        ([], ["X"], [], ValueError, "`outcomes` must name at least one variable: got none"),
        (["Y"], ["Y"], [], ValueError, "each variable once: got Y twice"),
        (["Y"], ["X"], ["X"], ValueError, "each variable once: got X twice"),
        (["Y", "Y"], ["X"], [], ValueError, "each variable once: got Y twice"),
        (["Q"], ["X"], [], GraphError, '`outcomes` must name variables of the graph: got "Q"'),
        (["Y"], ["Q"], [], GraphError, '`do` must name variables of the graph: got "Q"'),
        (["Y"], ["X"], ["y"], GraphError, 'Did you mean "Y"'),
    ],
)
def test_malformed_queries_are_refused(outcomes, do, given, error, message):
    with pytest.raises(error, match=message):
        identify(ADMG.parse("X -> Y"), outcomes, do, given)


def test_a_long_chain_of_front_doors_is_quick():
    names = [f"V{i}" for i in range(40)]
    G = ADMG(names, pairwise(names), zip(names, names[2:], strict=False))
    start = time.perf_counter()
    estimand = identify(G, "V39", "V0")
    assert time.perf_counter() - start < 10
    assert estimand.expression.free == {"V0", "V39"}


def test_an_answer_is_a_distribution():
    G = ADMG.parse(NAPKIN)
    P = DiscreteSCM.random(G, 3, generator=torch.Generator().manual_seed(1)).joint()
    assert np.allclose(identify(G, ["Y"], ["X"]).evaluate(P).values.sum(axis=0), 1)
