r"""On which conditions does an answer rest, and how heavily?

An estimand is made of conditionals $P(a \mid b)$ of what is observed. How much the answer
$e$ to one query moves with each of them is a derivative,

$$ c(a, b) = \frac{\partial e}{\partial \log P(a \mid b)} , \qquad
   n(b) = \sum_y \sum_a |c(a, b)| , $$

and $n$ is the *demand* for the condition $b$: in a sum of products it is the distribution
that $b$ has where the estimand needs it. The front-door
$\sum_i P(i \mid d) \sum_{d'} P(a \mid d', i) P(d')$ needs $P(a \mid d', i)$ under
$n(d', i) = P(i \mid d) P(d')$, and the data offer $P(d', i)$. Where $n$ is positive and the
data are empty, nothing observed speaks of the answer; and by the delta method the answer
from N rows is as sure as a share of

$$ N \Big/ \sum_b \frac{n(b)^2}{P(b)} $$

rows. The derivatives are computed backwards through the expression, all at once.

References:
    Overlap in observational studies with high-dimensional covariates (D'Amour, Ding,
    Feller, Lei & Sekhon, 2021).
    Monte Carlo strategies in scientific computing (Liu, 2001), Sec. 2.5.3.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from causal_diffusers.graphs.estimand import Estimand
from causal_diffusers.graphs.expression import (
    Expression,
    Joints,
    Probability,
    Product,
    Quotient,
    Sum,
)
from causal_diffusers.graphs.table import Table

__all__ = ["demand"]

Array = npt.NDArray[np.float64]

_UNSEEN = 1e-9  # of the joint is uniform: a conditional that is never seen counts as uniform


def demand(
    estimand: Estimand,
    joint: npt.ArrayLike,
    variables: tuple[str, ...],
    at: Mapping[str, int],
) -> dict[Probability, Table]:
    r"""Find the demand $n(b)$ for the conditions of each conditional in an estimand.

    Arguments:
        estimand: The estimand, of observational data.
        joint: The observed joint distribution, one axis for each of `variables`.
        variables: The variables of the estimand, in the order of the axes.
        at: The values of interventions and conditions, as codes. Over those left out the
            demand is averaged as they are distributed in `joint`.

    Returns:
        For each conditional with conditions $b$ the table $n(b)$.

    Example:
        >>> from causal_diffusers.graphs import ADMG, identify
        >>> estimand = identify(ADMG.parse("Z -> X -> Y <- Z"), ["Y"], ["X"])
        >>> joint = np.full((2, 2, 2), 1 / 8)
        >>> (factor, table), = demand(estimand, joint, ("X", "Y", "Z"), {"X": 1}).items()
        >>> print(factor, table.variables)
        P(Y | X, Z) ('X', 'Z')
        >>> bool(np.allclose(table.values, [[0, 0], [0.5, 0.5]]))  # only X = 1, Z as it falls
        True
    """
    counts = np.asarray(joint, dtype=np.float64)
    P = (1 - _UNSEEN) * counts / counts.sum() + _UNSEEN / counts.size
    joints = {frozenset[str](): P}
    axes = {name: axis for axis, name in enumerate(variables)}
    answer = estimand.expression.evaluate(joints, axes)
    weights = _weights(estimand, P, axes, at)
    total: dict[Probability, Array] = {}
    for outcome in _outcomes(estimand, P, axes):
        moved: dict[Probability, Array] = {}
        seed = _reduce(weights * outcome, answer.shape)
        for factor, change in _pull(estimand.expression, seed, joints, axes):
            moved[factor] = moved.get(factor, 0) + change
        for factor, change in moved.items():
            spent = tuple(axis for name, axis in axes.items() if name not in factor.given)
            total[factor] = total.get(factor, 0) + np.abs(change).sum(axis=spent, keepdims=True)
    return {f: _as_table(n, f, P.shape, axes) for f, n in total.items() if f.given}


def _outcomes(estimand: Estimand, P: Array, axes: Mapping[str, int]) -> Iterator[Array]:
    """Point at each value of the outcomes, one after the other."""
    places = [axes[name] for name in estimand.outcomes]
    for codes in itertools.product(*(range(P.shape[axis]) for axis in places)):
        yield _point(dict(zip(places, codes, strict=True)), P)


def _weights(
    estimand: Estimand, P: Array, axes: Mapping[str, int], at: Mapping[str, int]
) -> Array:
    """Weigh the values of interventions and conditions: one of them, or as they occur."""
    known = (*estimand.do, *estimand.given)
    open_ = {axes[name] for name in known if name not in at}
    spent = tuple(axis for axis in range(P.ndim) if axis not in open_)
    fixed = _point({axes[name]: at[name] for name in known if name in at}, P)
    return fixed * P.sum(axis=spent, keepdims=True)


def _point(codes: Mapping[int, int], P: Array) -> Array:
    """Give an array that is 1 at some codes of some axes, and of length one elsewhere."""
    array = np.zeros([P.shape[axis] if axis in codes else 1 for axis in range(P.ndim)])
    array[tuple(codes.get(axis, 0) for axis in range(P.ndim))] = 1
    return array


def _pull(
    expression: Expression, adjoint: Array, joints: Joints, axes: Mapping[str, int]
) -> Iterator[tuple[Probability, Array]]:
    """Hand the derivative by an expression down to the logarithms of its conditionals."""
    match expression:
        case Probability():
            yield expression, adjoint * expression.evaluate(joints, axes)
        case Product(factors):
            values = [factor.evaluate(joints, axes) for factor in factors]
            for i, factor in enumerate(factors):
                others = adjoint
                for value in values[:i] + values[i + 1 :]:
                    others = others * value
                yield from _pull(factor, _reduce(others, values[i].shape), joints, axes)
        case Sum(variables, body):
            full = next(iter(joints.values())).shape
            times = np.prod([full[axes[name]] for name in variables - body.free])
            shape = body.evaluate(joints, axes).shape
            yield from _pull(body, np.broadcast_to(adjoint * times, shape), joints, axes)
        case Quotient(numerator, denominator):
            above, below = (part.evaluate(joints, axes) for part in (numerator, denominator))
            yield from _pull(numerator, _reduce(adjoint / below, above.shape), joints, axes)
            change = -adjoint * above / below**2
            yield from _pull(denominator, _reduce(change, below.shape), joints, axes)
        case _:
            raise TypeError(
                f"{type(expression).__name__} has no derivative here: this is a bug in "
                "causal_diffusers, please open an issue with the graph."
            )


def _reduce(array: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes that an expression does not depend on."""
    spent = tuple(axis for axis, size in enumerate(shape) if size < array.shape[axis])
    return np.broadcast_to(array.sum(axis=spent, keepdims=True), shape)


def _as_table(
    values: Array, factor: Probability, shape: tuple[int, ...], axes: Mapping[str, int]
) -> Table:
    names = tuple(name for name in axes if name in factor.given)
    return Table(values.reshape([shape[axes[name]] for name in names]), names)
