r"""What is an estimand made of?

Four kinds of expression, all functionals of the joint distributions $P_z(V)$ of one
regime or several; where nothing is set, $P_\varnothing = P$:

$$ P_z(a \mid b), \qquad \prod_i e_i, \qquad \sum_{v} e, \qquad e / f . $$

The joint of a regime $z$ has the variables $Z$ that its experimenter sets among its axes,
with whatever distribution the experimenter chose. That one is never asked for: $Z$ is
among the conditions $b$ where its value matters, and is averaged over where it does not.

Each expression knows its *free* variables, how to write itself, and how to evaluate itself
on discrete joints with one axis per variable: every expression becomes an array with the
joints' axes, of length one where it does not depend on the variable, so that no
intermediate result is larger than a joint.

**Events without probability.** $P(a \mid b)$ is undefined, nan, where $P(b) = 0$, and so
is $e / f$ where $f = 0$. An undefined number spreads to whatever needs it; a product with
a factor zero is zero whatever the others are, because no weight falls on them. An answer
is therefore nan exactly where it would rest on conditions that never occur.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt

from causal_diffusers.graphs.notation import TEXT, Notation, extend_scope

__all__ = ["Expression", "Joints", "Probability", "Product", "Quotient", "Sum"]

Array = npt.NDArray[np.float64]
Joints = Mapping[frozenset[str], Array]


class Expression(ABC):
    """A functional of joint distributions; immutable, equal by structure.

    Example:
        >>> issubclass(Probability, Expression)
        True
    """

    @property
    @abstractmethod
    def parts(self) -> tuple[Expression, ...]:
        """The expressions that this one is made of."""

    @cached_property
    def free(self) -> frozenset[str]:
        """The variables on whose values the number depends."""
        return frozenset[str]().union(*(part.free for part in self.parts))

    @cached_property
    def mentioned(self) -> frozenset[str]:
        """The variables whose axes the evaluation needs, free or summed."""
        return self.free.union(*(part.mentioned for part in self.parts))

    @cached_property
    def regimes(self) -> frozenset[frozenset[str]]:
        """The variables set in each of the regimes whose joints are needed."""
        return frozenset[frozenset[str]]().union(*(part.regimes for part in self.parts))

    @property
    def leading(self) -> frozenset[str]:
        """The variables by which a product sorts its factors."""
        return self.free

    @abstractmethod
    def write(self, notation: Notation, scope: Mapping[str, str]) -> str:
        """Write the expression.

        Arguments:
            notation: The signs to write it with.
            scope: The names in use, by variable.

        Returns:
            The expression as text.
        """

    @abstractmethod
    def evaluate(self, joints: Joints, axes: Mapping[str, int]) -> Array:
        """Compute the numbers for all values of the free variables.

        Arguments:
            joints: The distribution of each regime, by the variables that are set in it,
                all of one shape, with one axis per variable.
            axes: The axis of each variable.

        Returns:
            An array with the axes of the joints, of length one for variables not free.
        """

    @cached_property
    def _text(self) -> str:
        return self.write(TEXT, {name: name for name in self.free})

    def __str__(self) -> str:
        """Write the expression as text, with the variables sorted by name."""
        return self._text


@final
@dataclass(frozen=True)
class Probability(Expression):
    r"""A conditional of one joint, $P_z(a \mid b)$.

    Arguments:
        outcomes: The variables $a$, at least one.
        given: The variables $b$, none of them in $a$; with those of $Z$ that matter.
        regime: The variables $Z$ that are set; the subscript.

    Example:
        >>> print(Probability(frozenset("A"), frozenset("B")))
        P(A | B)
        >>> print(Probability(frozenset("A"), frozenset("BX"), regime=frozenset("X")))
        P_{X}(A | B)
    """

    outcomes: frozenset[str]
    given: frozenset[str] = frozenset()
    regime: frozenset[str] = frozenset()

    @property
    def parts(self) -> tuple[Expression, ...]:
        """None."""
        return ()

    @cached_property
    def free(self) -> frozenset[str]:
        """The outcomes and the conditions."""
        return self.outcomes | self.given

    @cached_property
    def regimes(self) -> frozenset[frozenset[str]]:
        """Its own."""
        return frozenset({self.regime})

    @property
    def leading(self) -> frozenset[str]:
        """The outcomes."""
        return self.outcomes

    def write(self, notation: Notation, scope: Mapping[str, str]) -> str:
        """Write `P(A | B)`, with the regime as a subscript."""
        seen = self.outcomes, self.given - self.regime
        sides = [notation.names(side, scope) for side in seen if side]
        known = {name: scope.get(name, name) for name in self.free}
        subscript = f"_{{{notation.names(self.regime, known)}}}" if self.regime else ""
        return f"P{subscript}({notation.bar.join(sides)})"

    def evaluate(self, joints: Joints, axes: Mapping[str, int]) -> Array:
        """Marginalise the joint, then divide by the conditions."""
        joint = joints[self.regime]
        others = tuple(axis for name, axis in axes.items() if name not in self.free)
        numerator = joint.sum(axis=others, keepdims=True)
        summed = tuple(axes[name] for name in self.outcomes)
        return _ratio(numerator, numerator.sum(axis=summed, keepdims=True))


@final
@dataclass(frozen=True)
class Product(Expression):
    r"""A product $\prod_i e_i$; the empty one is 1.

    Arguments:
        factors: The factors, sorted by their text so that equal products are equal.

    Example:
        >>> a, b = Probability(frozenset("A"), frozenset("B")), Probability(frozenset("B"))
        >>> print(Product((a, b)))
        P(A | B) P(B)
    """

    factors: tuple[Expression, ...]

    @property
    def parts(self) -> tuple[Expression, ...]:
        """The factors."""
        return self.factors

    def write(self, notation: Notation, scope: Mapping[str, str]) -> str:
        """Write effects before causes, and sums last."""

        def place(factor: Expression) -> tuple[int, int, str]:
            return KINDS.index(type(factor)), -notation.last(factor.leading), str(factor)

        texts = [factor.write(notation, scope) for factor in sorted(self.factors, key=place)]
        compound = sum(not isinstance(factor, Probability) for factor in self.factors)
        first = len(texts) - compound
        texts[first:-1] = [notation.group.format(text) for text in texts[first:-1]]
        return " ".join(texts) or "1"

    def evaluate(self, joints: Joints, axes: Mapping[str, int]) -> Array:
        """Multiply; a factor zero wins over an undefined one."""
        product = zero = np.ones((1,) * len(axes))
        for value in (factor.evaluate(joints, axes) for factor in self.factors):
            product, zero = product * value, zero * (value != 0)
        return np.where(zero == 0, 0.0, product)


@final
@dataclass(frozen=True)
class Sum(Expression):
    r"""A sum $\sum_v e$ over all values of some variables.

    Arguments:
        variables: The variables $v$.
        body: The expression $e$.

    Example:
        >>> print(Sum(frozenset("B"), Probability(frozenset("A"), frozenset("B"))))
        sum_{B} P(A | B)
    """

    variables: frozenset[str]
    body: Expression

    @property
    def parts(self) -> tuple[Expression, ...]:
        """The body."""
        return (self.body,)

    @cached_property
    def free(self) -> frozenset[str]:
        """The free variables of the body that are not summed."""
        return self.body.free - self.variables

    @cached_property
    def mentioned(self) -> frozenset[str]:
        """Those of the body, and the summed ones."""
        return self.body.mentioned | self.variables

    def write(self, notation: Notation, scope: Mapping[str, str]) -> str:
        """Write `sum_{B} ...`, with primes on names that are in use."""
        inner = extend_scope(scope, self.variables)
        return notation.total.format(
            notation.names(self.variables, inner), self.body.write(notation, inner)
        )

    def evaluate(self, joints: Joints, axes: Mapping[str, int]) -> Array:
        """Sum over the axes of the variables, also where the body does not depend on them."""
        summed = tuple(axes[name] for name in self.variables)
        value, full = self.body.evaluate(joints, axes), next(iter(joints.values())).shape
        shape = [full[i] if i in summed else size for i, size in enumerate(value.shape)]
        return np.broadcast_to(value, shape).sum(axis=summed, keepdims=True)


@final
@dataclass(frozen=True)
class Quotient(Expression):
    r"""A quotient $e / f$.

    Arguments:
        numerator: The expression $e$.
        denominator: The expression $f$.

    Example:
        >>> print(Quotient(Probability(frozenset("AB")), Probability(frozenset("B"))))
        P(A, B) / P(B)
    """

    numerator: Expression
    denominator: Expression

    @property
    def parts(self) -> tuple[Expression, ...]:
        """The numerator, then the denominator."""
        return (self.numerator, self.denominator)

    def write(self, notation: Notation, scope: Mapping[str, str]) -> str:
        """Write a fraction, with brackets where text needs them."""
        texts = [part.write(notation, scope) for part in self.parts]
        for i, part in enumerate(self.parts):
            if not isinstance(part, Probability):
                texts[i] = notation.bracket.format(texts[i])
        return notation.fraction.format(*texts)

    def evaluate(self, joints: Joints, axes: Mapping[str, int]) -> Array:
        """Divide; undefined where the denominator is zero."""
        return _ratio(*(part.evaluate(joints, axes) for part in self.parts))


KINDS = (Probability, Product, Quotient, Sum)


def _ratio(numerator: Array, denominator: Array) -> Array:
    positive = denominator > 0
    return np.where(positive, numerator / np.where(positive, denominator, 1.0), np.nan)
