"""Demands against the needed distribution by hand, and against differences of the answer."""

import random

import numpy as np
import pytest

from causal_diffusers.errors import NotIdentifiableError
from causal_diffusers.graphs import ADMG, identify
from causal_diffusers.graphs.demand import demand
from causal_diffusers.graphs.expression import Probability, Product, Quotient, Sum
from helpers import random_admgs


def random_joint(shape, seed):
    rng = random.Random(seed)
    joint = np.array([rng.random() + 0.05 for _ in range(int(np.prod(shape)))]).reshape(shape)
    return joint / joint.sum()


def test_the_front_door_needs_cause_and_mediator_apart():
    names = ("D", "I", "A")
    P = random_joint((2, 3, 2), seed=0)
    estimand = identify(ADMG.parse("D -> I -> A; D <-> A"), ["A"], ["D"])
    found = {str(f): n for f, n in demand(estimand, P, names, {"D": 1}).items()}
    p_d, p_di = P.sum((1, 2)), P.sum(2)
    needed = p_d[:, None] * (p_di[1] / p_d[1])[None]
    assert np.allclose(found["P(A | D, I)"].values, needed)
    assert found["P(A | D, I)"].variables == ("D", "I")
    assert np.allclose(found["P(I | D)"].values, [0, 1])


def test_what_is_left_open_is_averaged():
    P = random_joint((2, 3, 2), seed=1)
    estimand = identify(ADMG.parse("D -> I -> A; D <-> A"), ["A"], ["I"])
    ((_, table),) = demand(estimand, P, ("D", "I", "A"), {}).items()
    p_i = P.sum((0, 2))
    assert np.allclose(table.values, P.sum((1, 2))[:, None] * p_i[None])


def replaced(expression, target, change):
    """Copy an expression with one conditional multiplied by a table."""

    class Changed(Probability):
        def evaluate(self, joints, axes):
            value = Probability(self.outcomes, self.given).evaluate(joints, axes)
            return value * change

    match expression:
        case Probability():
            hit = expression == target
            return Changed(expression.outcomes, expression.given) if hit else expression
        case Product(factors):
            return Product(tuple(replaced(f, target, change) for f in factors))
        case Sum(variables, body):
            return Sum(variables, replaced(body, target, change))
        case Quotient(a, b):
            return Quotient(replaced(a, target, change), replaced(b, target, change))


def by_differences(estimand, P, axes, at, factor, step=1e-6):
    """Wiggle one entry of one conditional after the other, and watch the answer."""
    kept = [axes[name] for name in sorted(factor.free, key=axes.get)]
    given = [name for name in axes if name in factor.given]
    needed = np.zeros([P.shape[axes[name]] for name in given])
    place = tuple(at.get(name, slice(None)) for name in axes)
    joints = {frozenset(): P}
    base = np.broadcast_to(estimand.expression.evaluate(joints, axes), P.shape)
    others = tuple(axes[n] for n in axes if n not in estimand.outcomes and n not in at)
    for codes in np.ndindex(*(P.shape[axis] for axis in kept)):
        change = np.ones([P.shape[a] if a in kept else 1 for a in range(P.ndim)])
        index = dict(zip(kept, codes, strict=True))
        change[tuple(index.get(a, 0) for a in range(P.ndim))] += step
        moved = replaced(estimand.expression, factor, change).evaluate(joints, axes)
        difference = (np.broadcast_to(moved, P.shape) - base).mean(axis=others, keepdims=True)
        difference = difference[tuple(p if a not in others else 0 for a, p in enumerate(place))]
        needed[tuple(index[axes[name]] for name in given)] += np.abs(difference).sum() / step
    return needed


def queries(count):
    for G in random_admgs(count, sizes=(3, 5), seed=5, directed=(0.4, 0.9), bidirected=(0.1, 0.4)):
        rng = random.Random(str(G))
        y, x, z = rng.sample(G.variables, 3)
        for given in ((), (z,)):
            try:
                estimand = identify(G, [y], [x], given)
            except NotIdentifiableError:
                continue
            yield G, estimand


@pytest.mark.parametrize(("G", "estimand"), list(queries(25)), ids=lambda x: str(x)[:40])
def test_demands_are_derivatives(G, estimand):
    P = random_joint((2,) * len(G.variables), seed=3)
    axes = {name: axis for axis, name in enumerate(G.variables)}
    at = dict.fromkeys((*estimand.do, *estimand.given), 1)
    for factor, table in demand(estimand, P, G.variables, at).items():
        expected = by_differences(estimand, P, axes, at, factor)
        assert np.allclose(table.values, expected, atol=1e-4), str(factor)


def test_where_nothing_was_seen_there_may_still_be_a_demand():
    P = np.zeros((2, 2, 2))
    P[0, 0], P[1, 1] = [0.25, 0.25], [0.25, 0.25]  # Z decides X
    estimand = identify(ADMG.parse("Z -> X -> Y <- Z"), ["Y"], ["X"])
    ((_, table),) = demand(estimand, P, ("Z", "X", "Y"), {"X": 0}).items()
    assert np.allclose(table.at({"X": 0}).values, [0.5, 0.5])
