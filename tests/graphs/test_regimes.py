"""Several regimes: the figures of the papers, what is printed, what is refused and why."""

import re

import numpy as np
import pytest
import torch

from causal_diffusers.errors import GraphError, NotIdentifiableError
from causal_diffusers.graphs import ADMG, identify
from causal_diffusers.graphs.notation import LATEX
from causal_diffusers.graphs.regimes import read_experiments, write_experiment
from causal_diffusers.systems import DiscreteSCM
from queries import error_in_regimes

BOW = "X -> Y; X <-> Y"
CRAB = "A -> C; B -> D; A <-> D <-> C <-> B"
TWO_DRUGS = "X1 -> W -> Y <- X2; W <-> X1 <-> X2 <-> Y"
FOUR = "X1 -> Y1; X2 -> Y2; X1 <-> Y1 <-> X2 <-> Y2 <-> X1 <-> X2; Y1 <-> Y2"

# Lee, Correa & Bareinboim (2019), by figure: graph, outcomes, do, experiments, the verdict.
FIGURES = {
    "1a": (TWO_DRUGS, "Y", "X1 X2", ["X1", "X2"], True),
    "1b": (f"{TWO_DRUGS}; W <-> X2", "Y", "X1 X2", ["X1", "X2"], True),
    "1c": (f"{TWO_DRUGS}; W <-> Y", "Y", "X1 X2", ["X1", "X2"], False),
    "1d": (f"{TWO_DRUGS}; X1 <-> Y", "Y", "X1 X2", ["X1", "X2"], False),
    "2a, first": (FOUR, "Y1", "X1", ["X1 X2"], True),
    "2a, second": (FOUR, "Y2", "X2", ["X1 X2"], True),
    "2b, first": (f"{FOUR}; Y1 -> Y2", "Y1", "X1", ["X1 X2"], True),
    "2b, second": (f"{FOUR}; Y1 -> Y2", "Y2", "X2", ["X1 X2"], False),
    "2c, first": (f"{FOUR}; X1 -> Y2", "Y1", "X1", ["X1 X2"], True),
    "2c, second": (f"{FOUR}; X1 -> Y2", "Y2", "X2", ["X1 X2"], False),
    "3a": ("X1 -> R <- X2; X1 <-> R <-> X2", "R", "X1 X2", ["X1", "X2"], False),
    "3b": ("X1 -> R1; X2 -> R2; X1 <-> R2 <-> R1 <-> X2", "R1 R2", "X1 X2", ["X1", "X2"], False),
    "3c": ("W -> X1 -> R <- X2 <- W; R <-> W <-> X2; X1 <-> W", "R", "X1 X2", ["X1", "X2"], False),
    "crab, observed": (CRAB, "C D", "A B", [""], False),
    "crab, one at a time": (CRAB, "C D", "A B", ["", "A", "B"], False),
    "crab, together": (CRAB, "C D", "A B", ["", "A", "B", "A B"], True),
    # Bareinboim & Pearl (2012), Fig. 3: P(y | do(x)) from P and experiments on Z
    "z a": ("W -> Z -> X -> Y; W -> Y; X <-> Z <-> Y <-> W", "Y", "X", ["", "Z"], True),
    "z b": ("W -> Z -> X -> Y; W -> Y; W <-> X <-> Z <-> Y", "Y", "X", ["", "Z"], True),
    "z c": ("Z -> X -> W -> Y; W <-> Z <-> X <-> Y <-> Z", "Y", "X", ["", "Z"], True),
    "z e": ("W -> Z -> X -> Y; W -> Y; Z <-> X <-> W <-> Y <-> Z", "Y", "X", ["", "Z"], False),
    "z f": ("Z -> W -> Y; Z -> X -> Y; W <-> X <-> Z <-> Y", "Y", "X", ["", "Z"], False),
    "z h": ("X -> W -> Z -> Y; Z <-> X <-> Y <-> W", "Y", "X", ["", "Z"], False),
}  # fmt: skip


def asked(figure):
    text, outcomes, do, experiments, verdict = FIGURES[figure]
    regimes = [tuple(names.split()) for names in experiments]
    return ADMG.parse(text), (tuple(outcomes.split()), tuple(do.split()), ()), regimes, verdict


@pytest.mark.parametrize("figure", FIGURES)
def test_the_verdicts_of_the_papers_are_ours(figure):
    G, query, regimes, is_identifiable = asked(figure)
    if is_identifiable:
        system = DiscreteSCM.random(G, {"X1": 3}, generator=torch.Generator().manual_seed(0))
        assert error_in_regimes(G, query, regimes, system) < 1e-12
        return
    with pytest.raises(NotIdentifiableError, match=r"xperiment|interventional data"):
        identify(G, *query, experiments=regimes)


def test_line_1():
    """An experiment that sets x is the answer itself."""
    bow = identify(ADMG.parse(BOW), "Y", "X", experiments=[(), "X"])
    assert str(bow) == "P_{X}(Y)"
    assert bow.experiments == (("X",),)


def test_line_5():
    """Each district asks its own experiment."""
    text = "sum_{W} P_{X2}(Y | W) P_{X1}(W)"
    assert str(identify(ADMG.parse(TWO_DRUGS), "Y", ["X1", "X2"], (), ["X1", "X2"])) == text


def test_conditions_are_turned_and_divided():
    """Lines 1 and 2 of IDC."""
    G = ADMG.parse("Z -> Y; X -> Y; X <-> Y; Z <-> X")
    assert str(identify(G, "Y", "X", "Z", experiments=[("X",)])) == "P_{X}(Y | Z)"
    assert str(identify(ADMG.parse("Z -> Y"), "Y", given="Z", experiments=["Z"])) == "P_{Z}(Y)"


def test_the_subscript_names_the_experiment():
    estimand = identify(ADMG.parse(BOW), "Y", "X", experiments=["X"])
    assert estimand.expression.write(LATEX, {}) == "P_{X}(Y)"
    assert estimand.to_latex() == "P_{X}(Y)"
    assert repr(estimand) == "<Estimand P(Y | do(X)) = P_{X}(Y)>"


def test_what_an_experiment_sets_beside_may_not_matter():
    """Z has no effect on Y: experiments that set it too answer as well."""
    G = ADMG.parse(f"{BOW}; Y -> Z")
    estimand = identify(G, "Y", "X", experiments=[("X", "Z")])
    assert str(estimand) == "P_{X, Z}(Y)"
    joint = np.arange(1.0, 9).reshape(2, 2, 2)
    table = estimand.evaluate({("Z", "X"): joint})
    pooled = joint.sum(axis=2)
    assert np.allclose(table.values, (pooled / pooled.sum(axis=1, keepdims=True)).T)


def test_without_experiments_nothing_changes():
    G = ADMG.parse("D -> I -> A; D <-> A")
    assert identify(G, "A", "D") == identify(G, "A", "D", experiments=[()])


def test_what_nobody_watched_cannot_be_told():
    """Rows under do(X) do not tell P(X), which a query without `do` may need."""
    G = ADMG.parse("X -> Y")
    with pytest.raises(
        NotIdentifiableError, match=r"how \{X\} is made, and do\(X\) sets X by"
    ) as e:
        identify(G, "Y", experiments=["X"])
    assert e.value.hedge is None
    assert e.value.thicket == {}
    assert str(identify(G, "Y", given="X", experiments=["X"])) == "P_{X}(Y)"


def test_a_refusal_names_the_thicket_and_what_would_settle_it():
    with pytest.raises(NotIdentifiableError) as caught:
        identify(ADMG.parse(FIGURES["1c"][0]), "Y", ["X1", "X2"], experiments=["X1", "X2", "W"])
    assert str(caught.value) == (
        "`P(Y | do(X1, X2))` is not identifiable from this graph and these regimes (do(X1), "
        "do(X2), do(W)): the answer needs how {W, Y} is made, and do(X1) leaves the hedge "
        "{Y, X2} over {Y}; do(X2) leaves the hedge {X1, W} over {W}; do(W) sets W by hand. An "
        "experiment on {X1, X2} would settle it."
    )
    assert {*caught.value.thicket} == {frozenset({"X1"}), frozenset({"X2"})}


def test_one_experiment_that_settles_it_is_named():
    with pytest.raises(NotIdentifiableError, match=r"on \{X\} would settle it\.$"):
        identify(ADMG.parse(f"{BOW}; Z"), "Y", "X", experiments=[(), "Z"])


@pytest.mark.parametrize(
    ("experiments", "error", "message"),
    [
        ([], ValueError, r"at least one regime: got none. `\[\(\)\]` is to watch"),
        (["Q"], GraphError, '`experiments` must name variables of the graph: got "Q"'),
        ([("X", "Q")], GraphError, '`experiments` must name variables of the graph: got "Q"'),
    ],
)
def test_what_is_no_regime_is_refused(experiments, error, message):
    with pytest.raises(error, match=message):
        identify(ADMG.parse(BOW), "Y", "X", experiments=experiments)


@pytest.mark.parametrize(
    ("joint", "message"),
    [
        (np.ones((2, 2)), r"answers `P\(Y \| do\(X\)\)`: got none for do\(X\)"),
        ({(): np.ones((2, 2))}, r"got none for do\(X\)"),
        ({"X": np.ones((2, 2)), (): np.ones((3, 2))}, r"one shape .* \(2, 2\), \(3, 2\)"),
        ({"X": -np.ones((2, 2))}, "negative"),
    ],
)
def test_joints_that_are_missing_or_do_not_fit_are_refused(joint, message):
    estimand = identify(ADMG.parse(BOW), "Y", "X", experiments=["X"])
    with pytest.raises(ValueError, match=message):
        estimand.evaluate(joint)


def test_regimes_are_read_once_each_and_in_order():
    V = ["X", "Y", "Z"]
    assert read_experiments(["X", ("Y", "X"), ["X"], ["X", "Y"]], V) == ({"X"}, {"X", "Y"})
    assert read_experiments("", V) == (frozenset(),)
    assert read_experiments(["X", ""], V) == ({"X"}, frozenset())
    assert re.fullmatch(r"do\(A, B\)", write_experiment("BA"))
