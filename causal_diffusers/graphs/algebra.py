r"""How are probability expressions multiplied, divided, summed and shortened?

The identities used are those of probability, none of the graph:

$$ \sum_a P(a, b \mid c) = P(b \mid c), \qquad
   \frac{P(a, b \mid c)}{P(b \mid c)} = P(a \mid b, c), \qquad
   P(a \mid b, c) \, P(b \mid c) = P(a, b \mid c), $$

sums move past factors that they do not concern, and equal factors cancel. Two factors are
joined only if they are of one regime.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import product

from causal_diffusers.graphs.expression import Expression, Probability, Product, Quotient, Sum

__all__ = ["divide", "multiply", "simplify", "sum_over"]

Names = frozenset[str]


def multiply(factors: Iterable[Expression]) -> Expression:
    """Multiply expressions, without nesting products.

    Arguments:
        factors: The factors.

    Returns:
        Their product, in canonical order; denominators cancel equal factors.

    Example:
        >>> a, b = Probability(frozenset("A"), frozenset("B")), Probability(frozenset("B"))
        >>> multiply([b, a]) == multiply([a, b])
        True
    """
    flat = [inner for factor in factors for inner in _factors(factor)]
    fractions = [factor for factor in flat if isinstance(factor, Quotient)]
    for a, b in product(fractions, flat):
        if (joined := _telescope(a, b)) is not None:
            return multiply([joined, *(f for f in flat if f is not a and f is not b)])
    return flat[0] if len(flat) == 1 else Product(tuple(sorted(flat, key=str)))


def divide(numerator: Expression, denominator: Expression) -> Expression:
    r"""Divide two expressions and cancel what they share.

    Arguments:
        numerator: The expression $e$.
        denominator: The expression $f$.

    Returns:
        $e / f$, without a quotient where everything below cancels.

    Example:
        >>> print(divide(Probability(frozenset("AB")), Probability(frozenset("B"))))
        P(A | B)
    """
    above, under = _terms(numerator)
    below, over = _terms(denominator)
    top, bottom = _cancel([*above, *over], [*below, *under])
    return multiply(top) if not bottom else Quotient(multiply(top), multiply(bottom))


def sum_over(variables: str | Iterable[str], body: Expression) -> Expression:
    """Sum an expression over all values of some variables.

    A variable that a single factor can absorb disappears into it; the others are summed
    as far inside as they go.

    Arguments:
        variables: One variable or several.
        body: The expression.

    Returns:
        The sum; over a variable that is not free in `body` it counts the values.

    Example:
        >>> print(sum_over("B", Probability(frozenset("AB"), frozenset("C"))))
        P(A | C)
    """
    names = frozenset([variables] if isinstance(variables, str) else variables)
    names, factors = _lift(names, _factors(body))
    while step := _absorb_some(names, factors):
        names, factors = step
    return _sum_apart(names, factors)


def simplify(expression: Expression) -> Expression:
    """Shorten an expression for the reader: chains of conditionals become one.

    Arguments:
        expression: The expression.

    Returns:
        An expression equal to it for every joint distribution.

    Example:
        >>> a, b = Probability(frozenset("A"), frozenset("B")), Probability(frozenset("B"))
        >>> print(simplify(multiply([a, b])))
        P(A, B)
    """
    match expression:
        case Product(factors):
            return multiply(_join(_factors(multiply(map(simplify, factors)))))
        case Sum(variables, body):
            return sum_over(variables, simplify(body))
        case Quotient(numerator, denominator):
            return divide(simplify(numerator), simplify(denominator))
        case _:
            return expression


def _factors(expression: Expression) -> list[Expression]:
    return list(expression.factors) if isinstance(expression, Product) else [expression]


def _telescope(a: Quotient, b: Expression) -> Expression | None:
    """Multiply two factors if the first has the second, or its numerator, below the line."""
    if b == a.denominator:
        return a.numerator
    if isinstance(b, Quotient) and b.numerator == a.denominator:
        return divide(a.numerator, b.denominator)
    return None


def _terms(expression: Expression) -> tuple[list[Expression], list[Expression]]:
    """Split into the factors above and below the line."""
    factors = _factors(expression)
    fractions = [factor for factor in factors if isinstance(factor, Quotient)]
    above = [factor for factor in factors if not isinstance(factor, Quotient)]
    above += [inner for each in fractions for inner in _factors(each.numerator)]
    return above, [inner for each in fractions for inner in _factors(each.denominator)]


def _cancel(
    top: list[Expression], bottom: list[Expression]
) -> tuple[list[Expression], list[Expression]]:
    """Cancel equal factors, and P(a, b | c) with P(b | c)."""
    for i, lower in enumerate(bottom):
        for j, upper in enumerate(top):
            if (left := _conditional(upper, lower)) is not None:
                return _cancel([*top[:j], *left, *top[j + 1 :]], bottom[:i] + bottom[i + 1 :])
    return top, bottom


def _conditional(upper: Expression, lower: Expression) -> list[Expression] | None:
    """Divide one factor by another, if that leaves no quotient."""
    if upper == lower:
        return []
    match upper, lower:
        case Probability(a, b, z), Probability(c, d, other) if (b, z) == (d, other) and c < a:
            return [Probability(a - c, b | c, z)]
        case _:
            return None


def _absorb_some(names: Names, factors: list[Expression]) -> tuple[Names, list[Expression]] | None:
    """Sum one factor over variables that no other factor has, if one can be found."""
    holders = Counter(name for factor in factors for name in factor.free)
    for factor in factors:
        alone = Names(name for name in names & factor.free if holders[name] == 1)
        gone, absorbed = _absorb(alone, factor)
        if gone:
            rest = (other for other in factors if other is not factor)
            return names - gone, _factors(multiply([absorbed, *rest]))
    return None


def _absorb(names: Names, factor: Expression) -> tuple[Names, Expression]:
    """Sum a factor over those variables for which that is simpler than a sum around it."""
    match factor:
        case Probability(outcomes, given, z) if gone := names & outcomes:
            left = outcomes - gone
            return gone, Probability(left, given, z) if left else Product(())
        case Sum(variables, body) if names:
            return names, sum_over(variables | names, body)
        case Quotient(numerator, denominator) if gone := names - denominator.free:
            return gone, divide(sum_over(gone, numerator), denominator)
        case _:
            return Names(), factor


def _lift(names: Names, factors: list[Expression]) -> tuple[Names, list[Expression]]:
    """Merge the sums among the factors with the sum around them, where no names clash."""
    for i, factor in enumerate(factors):
        rest = factors[:i] + factors[i + 1 :]
        taken = names.union(*(other.free for other in rest))
        if isinstance(factor, Sum) and not factor.variables & taken:
            return _lift(names | factor.variables, rest + _factors(factor.body))
    return names, factors


def _sum_apart(names: Names, factors: Sequence[Expression]) -> Expression:
    """Sum factors that share no summed variable separately."""
    done = [factor for factor in factors if not factor.free & names]
    while names:
        linked = _linked(min(names), names, factors)
        inside = multiply(factor for factor in factors if factor.free & linked)
        done.append(Sum(linked, inside))
        names -= linked
    return multiply(done)


def _linked(name: str, names: Names, factors: Sequence[Expression]) -> Names:
    """Collect the variables that factors tie to one of them, directly or by others."""
    linked, fresh = Names(), Names([name])
    while fresh:
        linked |= fresh
        fresh = Names().union(*(f.free & names for f in factors if f.free & fresh)) - linked
    return linked


def _join(factors: list[Expression]) -> list[Expression]:
    """Join P(a | b, c) and P(b | c) into P(a, b | c), as often as possible."""
    for effect in factors:
        for cause in factors:
            match effect, cause:
                case Probability(a, b, z), Probability(c, d, other) if (b, z) == (c | d, other):
                    rest = [f for f in factors if f is not effect and f is not cause]
                    return _join([*rest, Probability(a | c, d, z)])
                case _:
                    pass
    return factors
