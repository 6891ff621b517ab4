r"""How is a probability expression written, for a terminal and for a paper?

A sum binds its variables. Where a bound variable has the name of one already in use, it
gets a prime, as in the front-door formula

$$ P(a \mid do(d)) = \sum_i P(i \mid d) \sum_{d'} P(a \mid d', i) \, P(d') . $$
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import final

__all__ = ["LATEX", "TEXT", "Notation", "extend_scope", "write_set"]


@final
@dataclass(frozen=True)
class Notation:
    r"""The signs of one way of writing, and the order of the variables.

    Arguments:
        bar: The sign between outcomes and conditions.
        do: The template of an intervention.
        total: The template of a sum: its variables, its body.
        fraction: The template of a quotient: numerator, denominator.
        bracket: The template around a numerator or denominator of several factors.
        group: The template around a factor that must be kept together.
        is_latex: Whether names are spelled for LaTeX.
        rank: The place of each variable; those without one are sorted by name.

    Example:
        >>> TEXT.sort({"B", "A"}), TEXT.in_order(("B", "A")).sort({"A", "B"})
        (['A', 'B'], ['B', 'A'])
    """

    bar: str
    do: str
    total: str
    fraction: str
    bracket: str
    group: str
    is_latex: bool = False
    rank: Mapping[str, int] = field(default_factory=dict[str, int])

    def in_order(self, variables: Iterable[str]) -> Notation:
        """Fix the order in which variables are written.

        Arguments:
            variables: The variables, first to last.

        Returns:
            The same notation with that order.
        """
        return replace(self, rank={name: i for i, name in enumerate(variables)})

    def sort(self, variables: Iterable[str]) -> list[str]:
        """Sort variables as they are to be written.

        Arguments:
            variables: Some variables.

        Returns:
            The same variables, in order.
        """
        return sorted(variables, key=lambda name: (self.rank.get(name, 0), name))

    def last(self, variables: Iterable[str]) -> int:
        """Find how late the latest of some variables comes.

        Arguments:
            variables: Some variables.

        Returns:
            The largest rank, 0 if there is none.
        """
        return max((self.rank.get(name, 0) for name in variables), default=0)

    def spell(self, name: str) -> str:
        r"""Spell one name.

        Arguments:
            name: The name, with its primes.

        Returns:
            The name as it is to be printed: `X_{1}` or `\mathrm{hair\_colour}` in LaTeX.
        """
        if not self.is_latex:
            return name
        stem = name.rstrip("'")
        if indexed := re.fullmatch(r"([A-Za-z])_?(\d+)", stem):
            return f"{indexed[1]}_{{{indexed[2]}}}" + name[len(stem) :]
        upright = stem if len(stem) == 1 else rf"\mathrm{{{stem}}}".replace("_", r"\_")
        return upright + name[len(stem) :]

    def names(self, variables: Iterable[str], scope: Mapping[str, str]) -> str:
        """Write a list of variables.

        Arguments:
            variables: The variables.
            scope: The name under which each is known here; itself if it has none.

        Returns:
            The names, separated by commas.
        """
        return ", ".join(self.spell(scope.get(name, name)) for name in self.sort(variables))


def extend_scope(scope: Mapping[str, str], bound: Iterable[str]) -> dict[str, str]:
    """Name the variables that a sum binds, with primes where the name is in use.

    Arguments:
        scope: The names in use, by variable.
        bound: The variables of the sum.

    Returns:
        The names in use inside the sum.

    Example:
        >>> extend_scope({"D": "D", "A": "A"}, ["D", "I"])
        {'D': "D'", 'A': 'A', 'I': 'I'}
    """
    used = set(scope.values())
    return {**scope, **{name: _fresh(name, used) for name in bound}}


def write_set(names: Iterable[str]) -> str:
    """Write a set of variables, in alphabetical order.

    Arguments:
        names: The variables.

    Returns:
        The set as text.

    Example:
        >>> print(write_set({"B", "A"}))
        {A, B}
    """
    return "{" + ", ".join(sorted(names)) + "}"


def _fresh(name: str, used: set[str]) -> str:
    return name if name not in used else _fresh(name + "'", used)


TEXT = Notation(
    bar=" | ",
    do="do({})",
    total="sum_{{{}}} {}",
    fraction="{} / {}",
    bracket="[{}]",
    group="({})",
)
LATEX = Notation(
    bar=r" \mid ",
    do=r"\mathrm{{do}}({})",
    total=r"\sum_{{{}}} {}",
    fraction=r"\frac{{{}}}{{{}}}",
    bracket="{}",
    group=r"\left( {} \right)",
    is_latex=True,
)
