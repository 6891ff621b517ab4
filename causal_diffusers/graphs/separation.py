r"""Are two sets of variables independent given a third, for every model of the graph?

In an ADMG, $X \perp_m Y \mid Z$ iff every path between $X$ and $Y$ has a non-collider
in $Z$, or a collider that is no ancestor of $Z$. Equivalently, $Z$ separates $X$ from
$Y$ in the *augmented graph* of $G_{An(X \cup Y \cup Z)}$, whose cliques are the sets
$D \cup pa(D)$ for its districts $D$. A search over those cells needs no path.

References:
    Markov properties for acyclic directed mixed graphs (Richardson, 2003), Thm. 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from causal_diffusers.errors import GraphError

if TYPE_CHECKING:
    from causal_diffusers.graphs.admg import ADMG

__all__ = ["m_separated"]


def m_separated(
    G: ADMG, X: str | Iterable[str], Y: str | Iterable[str], given: str | Iterable[str] = ()
) -> bool:
    r"""Decide whether $X \perp_m Y \mid Z$ in $G$.

    References:
        Markov properties for acyclic directed mixed graphs (Richardson, 2003), Thm. 1.

    Arguments:
        G: The graph.
        X: One variable or several.
        Y: One variable or several, others than `X`.
        given: The variables $Z$ to condition on, others than `X` and `Y`.

    Returns:
        Whether every model of the graph makes `X` independent of `Y` given `given`.

    Raises:
        GraphError: If a name is unknown or belongs to two of the sets.

    Example:
        >>> from causal_diffusers.graphs import ADMG
        >>> G = ADMG.parse("X -> M -> Y; X <-> Y")
        >>> m_separated(G, "X", "Y", given="M")
        False
        >>> m_separated(ADMG.parse("X -> M -> Y"), "X", "Y", given="M")
        True
    """
    start, goal, Z = G.select(X, "X"), G.select(Y, "Y"), G.select(given, "given")
    if shared := (start & goal) | (start & Z) | (goal & Z):
        raise GraphError(
            f"`m_separated` needs three disjoint sets: got {', '.join(sorted(shared))} in two of "
            "them. Leave it out of one."
        )
    return not _reached(G, start, Z, ancestral=G.ancestors(start | goal | Z)) & goal


def _reached(
    G: ADMG, start: frozenset[str], Z: frozenset[str], ancestral: frozenset[str]
) -> set[str]:
    """Walk the augmented graph of `ancestral` from `start`, never through Z."""
    cell_of = _cells(G, ancestral)
    seen, queue, done = set(start), list(start), set[frozenset[str]]()
    while queue:
        name = queue.pop()
        # a variable is in the cell of its district and in those of its children
        for cell in {cell_of[other] for other in (G.children(name) & ancestral) | {name}} - done:
            done.add(cell)
            fresh = cell - seen - Z
            seen |= fresh
            queue.extend(fresh)
    return seen


def _cells(G: ADMG, ancestral: frozenset[str]) -> dict[str, frozenset[str]]:
    r"""Map each variable to the cell $D \cup pa(D)$ of its district in the subgraph."""
    cell_of: dict[str, frozenset[str]] = {}
    for district in G.districts(within=ancestral):
        cell_of |= dict.fromkeys(district, district | G.parents(district))
    return cell_of
