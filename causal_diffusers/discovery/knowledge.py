r"""What is known of the graph before the data are looked at?

Edges that must be there, edges that cannot be, and tiers: no edge leads from a variable of a
later tier to one of an earlier tier. What follows is worked out: if $i$ is required to cause $j$,
directly or through others, $j$ cannot cause $i$.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from causal_diffusers.errors import GraphError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Knowledge"]

Edge = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Knowledge:
    """What is known of a graph over named variables.

    Arguments:
        variables: The names, in the order of the columns.
        required: Edges (cause, effect) that exist.
        forbidden: Edges (cause, effect) that do not.
        tiers: Groups of names, the earliest first; no edge leads back. Who is in none may be
            anywhere, and a path through it may lead back.

    Raises:
        GraphError: If a name is unknown or occurs in two tiers, or if an edge is both
            required and impossible, or if required edges make a cycle.

    Example:
        >>> known = Knowledge(("X", "M", "Y"), required=[("X", "M")], tiers=[["X"], ["M", "Y"]])
        >>> sorted(known.possible_edges())
        [('M', 'Y'), ('X', 'M'), ('X', 'Y'), ('Y', 'M')]
    """

    variables: Sequence[str]
    required: Iterable[Edge] = ()
    forbidden: Iterable[Edge] = ()
    tiers: Sequence[Iterable[str]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "variables", tuple(self.variables))
        for field in ("required", "forbidden"):
            edges = tuple(_edge(field, each, self.variables) for each in getattr(self, field))
            object.__setattr__(self, field, edges)
        object.__setattr__(self, "tiers", _tiers(self.tiers, self.variables))
        later = self._ancestry()
        if looped := [a for a in self.variables if (a, a) in later]:
            raise GraphError(f"`required` edges make a cycle through {looped}. Leave one out.")
        possible = self.possible_edges()
        if lost := [edge for edge in self.required if edge not in possible]:
            a, b = lost[0]
            raise GraphError(
                f"`required` has {a} -> {b}, which `forbidden` or `tiers` rule out. Change one "
                "of them."
            )

    def possible_edges(self) -> frozenset[Edge]:
        """Give the edges that nothing rules out."""
        tier = {name: rank for rank, names in enumerate(self.tiers) for name in names}
        ruled_out = {*self.forbidden, *((b, a) for a, b in self._ancestry())}
        return frozenset(
            (a, b)
            for a in self.variables
            for b in self.variables
            if a != b
            and (a, b) not in ruled_out
            and not (a in tier and b in tier and tier[a] > tier[b])
        )

    def masks(self) -> tuple[Tensor, Tensor]:
        """Give which edges are possible and which required, booleans with shape (d, d)."""
        import torch

        place = {name: k for k, name in enumerate(self.variables)}
        masks = torch.zeros(2, len(place), len(place), dtype=torch.bool)
        for mask, edges in zip(masks, (self.possible_edges(), self.required), strict=True):
            for a, b in edges:
                mask[place[a], place[b]] = True
        return masks[0], masks[1]

    def _ancestry(self) -> frozenset[Edge]:
        """Give who causes whom through required edges."""
        reached = set(self.required)
        for middle in self.variables:
            causes = [a for a, b in reached if b == middle]
            effects = [b for a, b in reached if a == middle]
            reached |= {(a, b) for a in causes for b in effects}
        return frozenset(reached)


def _edge(field: str, edge: Iterable[str], variables: Sequence[str]) -> Edge:
    pair = (edge,) if isinstance(edge, str) else tuple(edge)
    if len(pair) != 2 or pair[0] == pair[1]:
        raise GraphError(f"`{field}` takes edges (cause, effect): got {edge!r}.")
    if unknown := [name for name in pair if name not in variables]:
        raise GraphError(f"`{field}` names {unknown}: the variables are {list(variables)}.")
    return pair[0], pair[1]


def _tiers(
    tiers: Sequence[Iterable[str]], variables: Sequence[str]
) -> tuple[tuple[str, ...], ...]:
    groups = tuple((tier,) if isinstance(tier, str) else tuple(tier) for tier in tiers)
    names = [name for group in groups for name in group]
    if unknown := sorted(set(names) - set(variables)):
        raise GraphError(f"`tiers` names {unknown}: the variables are {list(variables)}.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise GraphError(f"`tiers` has {twice} twice. Leave each in one tier.")
    return groups
