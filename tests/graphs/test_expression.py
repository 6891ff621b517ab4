import numpy as np
import pytest

from causal_diffusers.graphs.expression import Probability, Product, Quotient, Sum
from causal_diffusers.graphs.notation import LATEX

NONE = frozenset()
AXES = {"A": 0, "B": 1}
JOINT = np.array([[0.1, 0.2, 0.0], [0.3, 0.4, 0.0]])  # B = 2 never occurs


def prob(outcomes, given=""):
    return Probability(frozenset(outcomes), frozenset(given))


def test_probabilities():
    assert np.allclose(prob("A").evaluate({NONE: JOINT}, AXES), [[0.3], [0.7]])
    assert np.allclose(prob("AB").evaluate({NONE: JOINT}, AXES), JOINT)
    conditional = prob("A", "B").evaluate({NONE: JOINT}, AXES)
    assert np.allclose(conditional[:, :2], JOINT[:, :2] / [[0.4, 0.6]])
    assert np.isnan(conditional[:, 2]).all()


def test_a_weight_of_zero_wins_over_an_undefined_factor():
    total = Product((prob("A", "B"), prob("B")))
    assert np.allclose(total.evaluate({NONE: JOINT}, AXES), JOINT)
    assert np.allclose(Sum(frozenset("B"), total).evaluate({NONE: JOINT}, AXES), [[0.3], [0.7]])


def test_an_undefined_summand_makes_the_sum_undefined():
    assert np.isnan(Sum(frozenset("B"), prob("A", "B")).evaluate({NONE: JOINT}, AXES)).all()


def test_zero_by_zero_is_undefined():
    value = Quotient(prob("AB"), prob("B")).evaluate({NONE: JOINT}, AXES)
    assert np.isnan(value).tolist() == [[False, False, True]] * 2


def test_counts_serve_as_well_as_probabilities():
    for expression in (prob("A"), prob("A", "B"), Product((prob("A"), prob("B")))):
        value, same = (expression.evaluate({NONE: P_}, AXES) for P_ in (JOINT, 50 * JOINT))
        assert np.allclose(value, same, equal_nan=True)


def test_free_and_mentioned_variables():
    inner = Sum(frozenset("B"), Product((prob("A", "BC"), prob("B"))))
    outer = Quotient(inner, prob("D"))
    assert inner.free == {"A", "C"}
    assert (outer.free, outer.mentioned) == ({"A", "C", "D"}, {"A", "B", "C", "D"})


def test_a_probability_reads_the_joint_of_its_regime():
    """The values that are set are conditions, and stand in the subscript alone."""
    effect = Probability(frozenset("A"), frozenset("B"), regime=frozenset("B"))
    both = Product((effect, prob("B")))
    assert both.regimes == {NONE, frozenset("B")}
    done = np.array([[2.0, 1.0, 3.0], [2.0, 3.0, 1.0]])
    value = both.evaluate({NONE: JOINT, frozenset("B"): done}, AXES)
    assert np.allclose(value, done / 4 * JOINT.sum(axis=0))
    assert str(Sum(frozenset("B"), both)) == "sum_{B} P(B) P_{B}(A)"


@pytest.mark.parametrize(
    ("expression", "text", "latex"),
    [
        (Product(()), "1", "1"),
        (prob("BA", "DC"), "P(A, B | C, D)", r"P(A, B \mid C, D)"),
        (Quotient(prob("A"), prob("B")), "P(A) / P(B)", r"\frac{P(A)}{P(B)}"),
        (
            Quotient(Product((prob("A"), prob("C"))), prob("B")),
            "[P(A) P(C)] / P(B)",
            r"\frac{P(A) P(C)}{P(B)}",
        ),
        (
            Product((Sum(frozenset("B"), prob("A", "B")), Sum(frozenset("B"), prob("C", "B")))),
            "(sum_{B} P(A | B)) sum_{B} P(C | B)",
            r"\left( \sum_{B} P(A \mid B) \right) \sum_{B} P(C \mid B)",
        ),
        (
            Product((prob("B"), Sum(frozenset("B"), prob("A", "B")))),
            "P(B) sum_{B'} P(A | B')",
            r"P(B) \sum_{B'} P(A \mid B')",
        ),
    ],
)
def test_writing(expression, text, latex):
    assert str(expression) == text
    assert expression.write(LATEX, {name: name for name in expression.free}) == latex
