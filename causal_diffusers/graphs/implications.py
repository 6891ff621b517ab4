r"""What does a graph forbid? The independencies that every model of it must show.

**Plain ones.** Two variables that no edge joins are independent given some set, if any set
m-separates them; then their ancestors do, and a small part of these.

**Verma constraints.** Of other pairs some are independent *after fixing*. A variable $r$
that shares its district with none of its descendants is fixable: dividing by its
conditional,

$$ P^*(v) = P(v) \, \frac{\tilde p(r)}{P(r \mid mb(r))} , \qquad
   mb(r) = D_r \cup pa(D_r) \setminus r , $$

with any $\tilde p$, makes the distribution that would be seen were $r$ tossed like a coin,
and the graph of it has no edge into $r$. More variables are fixed in turn, each by its
conditional in what came before. So in `A -> B -> C -> D; B <-> D` nothing separates A from
D, but where C is fixed they are independent.

The pair $a, b$ is tried where all is fixed that can be while both are random, and where
all is fixed but one of the two. If neither separates them nothing does: the pair is
densely connected, and an edge between them would change no constraint of the graph.

References:
    Markov properties for acyclic directed mixed graphs (Richardson, 2003), Thm. 1.
    Nested Markov properties for acyclic directed mixed graphs (Richardson, Evans, Robins &
    Shpitser, 2023), Sec. 3 (fixing) and 4.
    Acyclic linear SEMs obey the nested Markov property (Shpitser, Evans & Richardson, 2018),
    Sec. 4 (dense connection).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from causal_diffusers.graphs.separation import m_separated

if TYPE_CHECKING:
    from causal_diffusers.graphs.admg import ADMG

__all__ = ["Fixing", "Independence", "implied_independencies"]


@dataclasses.dataclass(frozen=True)
class Fixing:
    """One variable that is fixed, by its conditional in what was fixed before.

    Arguments:
        variable: The variable $r$.
        given: Its Markov blanket $mb(r)$ there.

    Example:
        >>> print(Fixing("C", ("B",)))
        P(C | B)
    """

    variable: str
    given: tuple[str, ...]

    def __str__(self) -> str:
        """Write the conditional that is divided by."""
        return f"P({self.variable}{' | ' if self.given else ''}{', '.join(self.given)})"


@dataclasses.dataclass(frozen=True)
class Independence:
    """An independence that a graph implies, in the observed distribution or after fixing.

    Arguments:
        first: One variable.
        second: The other.
        given: What is conditioned on.
        fixed: What was fixed, in this order; none for a plain independence.

    Example:
        >>> print(Independence("A", "D", (), (Fixing("C", ("B",)),)))
        A _||_ D after dividing by P(C | B)
    """

    first: str
    second: str
    given: tuple[str, ...] = ()
    fixed: tuple[Fixing, ...] = ()

    @property
    def is_verma(self) -> bool:
        """Whether it takes fixing."""
        return bool(self.fixed)

    @property
    def variables(self) -> tuple[str, ...]:
        """All variables that a test of it must see, each once."""
        seen = [self.first, self.second, *self.given]
        seen += [name for each in self.fixed for name in (each.variable, *each.given)]
        return tuple(dict.fromkeys(seen))

    def __str__(self) -> str:
        """Write the statement."""
        given = f" | {', '.join(self.given)}" if self.given else ""
        fixed = f" after dividing by {' '.join(map(str, self.fixed))}" if self.fixed else ""
        return f"{self.first} _||_ {self.second}{given}{fixed}"


def implied_independencies(graph: ADMG) -> tuple[Independence, ...]:
    r"""List one independence for each pair of variables that the graph keeps apart.

    References:
        Richardson (2003), Thm. 1; Richardson et al. (2023), Sec. 3;
        Shpitser, Evans & Richardson (2018), Sec. 4.

    Arguments:
        graph: The graph.

    Returns:
        The independencies, plain ones first, each given as few variables as it can do
        with, where removing any one more would join the pair.

    Example:
        >>> from causal_diffusers.graphs import ADMG
        >>> print(*implied_independencies(ADMG.parse("X -> M -> Y")))
        X _||_ Y | M
        >>> print(*implied_independencies(ADMG.parse("A -> B -> C -> D; B <-> D")), sep="\n")
        A _||_ C | B
        A _||_ D after dividing by P(C | B)
    """
    found = list[Independence]()
    for a, b in itertools.combinations(graph.topological_order(), 2):
        if a not in graph.parents(b) and a not in graph.siblings(b):
            for world, fixed in _worlds(graph, a, b):
                if (given := _separator(world, a, b)) is not None:
                    found.append(Independence(a, b, given, fixed))
                    break
    return tuple(sorted(found, key=lambda each: each.is_verma))


def _worlds(graph: ADMG, a: str, b: str) -> Iterator[tuple[ADMG, tuple[Fixing, ...]]]:
    """Give the graph itself, and what is left of it as more and more is fixed but a and b."""
    yield graph, ()
    for kept in ({a, b}, {b}, {a}):
        world, fixed = graph, list[Fixing]()
        while (name := _fixable(world, kept, fixed)) is not None:
            district = world.district(name)
            blanket = (district | world.parents(district)) - {name}
            order = [v for v in graph.topological_order() if v in blanket]
            fixed.append(Fixing(name, tuple(order)))
            world = world.mutilate(incoming=[name])
            yield world, tuple(fixed)


def _fixable(world: ADMG, kept: set[str], fixed: list[Fixing]) -> str | None:
    """Find a variable that may be fixed next, the last in the order, and that needs it.

    One without edges into it is as good as fixed.
    """
    done = {each.variable for each in fixed}
    for name in reversed(world.topological_order()):
        listens = bool(world.parents(name) or world.siblings(name))
        is_fixable = len(world.descendants(name) & world.district(name)) == 1
        if listens and is_fixable and name not in kept | done:
            return name
    return None


def _separator(world: ADMG, a: str, b: str) -> tuple[str, ...] | None:
    """Find a small set that separates two variables; None if none does."""
    given = sorted(world.ancestors([a, b]) - {a, b}, key=world.topological_order().index)
    if not m_separated(world, a, b, given):
        return None
    for name in tuple(given):
        fewer = [other for other in given if other != name]
        if m_separated(world, a, b, fewer):
            given = fewer
    return tuple(given)
