import random

import numpy as np
import pytest
import torch

from causal_diffusers.graphs.algebra import divide, multiply, simplify, sum_over
from causal_diffusers.graphs.expression import Probability, Product, Quotient, Sum

NAMES = "ABCD"
AXES = {name: axis for axis, name in enumerate(NAMES)}
JOINT = torch.rand((2, 3, 2, 3), generator=torch.Generator().manual_seed(0)).double().numpy()


def prob(outcomes, given=""):
    return Probability(frozenset(outcomes), frozenset(given))


def value(expression):
    return expression.evaluate({frozenset(): JOINT}, AXES)


def random_expression(rng, depth):
    """Draw an expression that is positive on JOINT."""
    kind = rng.choice([prob, prob, multiply, divide, sum_over]) if depth else prob
    if kind is prob:
        names = rng.sample(NAMES, rng.randint(1, 4))
        cut = rng.randint(1, len(names))
        return prob(names[:cut], names[cut:])
    one = random_expression(rng, depth - 1)
    if kind is sum_over:
        return Sum(frozenset(rng.sample(NAMES, 1)), one)
    other = random_expression(rng, depth - 1)
    return Product((one, other)) if kind is multiply else Quotient(one, other)


@pytest.mark.parametrize("seed", range(200))
def test_no_operation_changes_the_value(seed):
    rng = random.Random(seed)
    one, other = random_expression(rng, 3), random_expression(rng, 3)
    assert np.allclose(value(multiply([one, other])), value(one) * value(other))
    assert np.allclose(value(divide(one, other)), value(one) / value(other))


@pytest.mark.parametrize("seed", range(200))
def test_a_density_may_be_summed_and_simplified(seed):
    """Chains of conditionals times anything: what identification makes."""
    rng = random.Random(seed)
    order = rng.sample(NAMES, 4)
    chain = [prob(name, rng.sample(order[:i], rng.randint(0, i))) for i, name in enumerate(order)]
    others = [random_expression(rng, 2)] if rng.random() < 0.5 else []
    body = multiply([*chain, *others])
    names = frozenset(rng.sample(NAMES, rng.randint(1, 4)))
    total = sum_over(names, body)
    expected = value(Sum(names, body))
    assert np.allclose(value(total), expected)
    assert np.allclose(value(simplify(total)), expected)


def test_products_are_flat_and_in_canonical_order():
    a, b, c = prob("A"), prob("B"), prob("C")
    assert multiply([a, multiply([c, b])]) == multiply([multiply([b, a]), c]) == Product((a, b, c))
    assert multiply([a]) == a
    assert multiply([]) == Product(())


def test_denominators_cancel_equal_factors():
    top, below = Sum(frozenset("B"), prob("A", "B")), Sum(frozenset("B"), prob("C", "B"))
    assert multiply([Quotient(top, below), below]) == top
    assert multiply([Quotient(top, below), Quotient(below, prob("D"))]) == Quotient(top, prob("D"))
    assert multiply([prob("D"), Quotient(top, below)]).factors[1] != prob("D")


def test_divisions_cancel():
    assert divide(prob("AB", "C"), prob("B", "C")) == prob("A", "BC")
    assert divide(prob("A"), prob("A")) == Product(())
    assert divide(multiply([prob("A"), prob("B")]), prob("B")) == prob("A")
    assert divide(prob("A"), Quotient(prob("B"), prob("C"))) == Quotient(
        multiply([prob("A"), prob("C")]), prob("B")
    )
    assert isinstance(divide(prob("A", "B"), prob("A")), Quotient)


def test_sums_are_absorbed_where_possible():
    assert sum_over("A", prob("AB", "C")) == prob("B", "C")
    assert sum_over("A", prob("A", "C")) == Product(())
    assert sum_over({"A", "B"}, multiply([prob("A"), prob("B", "A"), prob("C")])) == prob("C")
    assert sum_over("B", multiply([prob("A", "B"), prob("B"), prob("C")])) == multiply(
        [prob("C"), Sum(frozenset("B"), multiply([prob("A", "B"), prob("B")]))]
    )


def test_independent_sums_are_taken_apart():
    one, other = (multiply([prob("A", x), prob(x), prob("D", x)]) for x in "BC")
    apart = multiply([Sum(frozenset("B"), one), Sum(frozenset("C"), other)])
    assert sum_over({"B", "C"}, multiply([one, other])) == apart


def test_an_inner_sum_merges_unless_names_clash():
    inner = Sum(frozenset("B"), multiply([prob("A", "BC"), prob("B")]))
    assert sum_over("C", multiply([inner, prob("C", "D")])).variables == {"B", "C"}
    assert sum_over("C", multiply([inner, prob("C", "B")])).variables == {"C"}


def test_a_sum_over_what_does_not_matter_counts_its_values():
    """Over B, P(A | B) sums to one for each value of B."""
    total = sum_over({"A", "B"}, prob("A", "B"))
    assert total == Sum(frozenset("B"), Product(()))
    assert np.allclose(value(total), 3)


def test_chains_become_joints():
    a, b, c = prob("A", "BC"), prob("B", "C"), prob("C")
    assert simplify(multiply([a, b, c])) == prob("ABC")
    assert simplify(Sum(frozenset("B"), multiply([a, b]))) == prob("A", "C")
    assert simplify(multiply([a, prob("B")])) == multiply([a, prob("B")])
