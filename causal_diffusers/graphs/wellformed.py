r"""Which edges make a graph?

A directed part without cycles, no edge from a variable to itself, no edge twice, and
confounders with two or more different children. Each check returns what it checked, so
that the constructor of `ADMG` reads as the definition.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from causal_diffusers.errors import GraphError
from causal_diffusers.graphs.names import check_known, check_name

__all__ = ["check_confounders", "check_edges", "check_variables", "sort_topologically"]

_T = TypeVar("_T", bound=Hashable)


def check_variables(variables: Iterable[str]) -> tuple[str, ...]:
    """Check the names of the variables, and that none is listed twice.

    Arguments:
        variables: The names.

    Returns:
        The names as a tuple.

    Raises:
        GraphError: If a name is illegal or repeated.

    Example:
        >>> check_variables(["X", "Y"])
        ('X', 'Y')
    """
    if isinstance(variables, str):
        raise GraphError(
            f"`variables` must be a sequence of names: got the string {variables!r}. "
            f"Write `[{variables!r}]`, or use `ADMG.parse`."
        )
    names = tuple(check_name(name) for name in variables)
    if repeated := _first_repeated(names):
        raise GraphError(
            f'`variables` must list each variable once: got "{repeated}" twice. '
            "Remove the repetition, or rename one of the two."
        )
    return names


def check_edges(
    edges: Iterable[Iterable[str]], known: Mapping[str, int], arrow: str
) -> list[tuple[str, str]]:
    """Check that edges join two different known variables, and none is repeated.

    Arguments:
        edges: Pairs of variables.
        known: The variables of the graph, with their positions.
        arrow: `"->"` for directed edges, `"<->"` for bidirected ones; the latter come
            back in the order of the variables.

    Returns:
        The edges as pairs.

    Raises:
        GraphError: If an edge is not a pair, has an unknown end, is a self-loop or
            comes twice.

    Example:
        >>> check_edges([("Y", "X")], {"X": 0, "Y": 1}, "<->")
        [('X', 'Y')]
    """
    argument = "directed" if arrow == "->" else "bidirected"
    pairs = [_pair(edge, argument, arrow) for edge in edges]
    check_known((name for pair in pairs for name in pair), known, argument)
    if arrow == "<->":
        pairs = [(a, b) if known[a] < known[b] else (b, a) for a, b in pairs]
    if repeated := _first_repeated(pairs):
        raise GraphError(
            f"`{argument}` must list each edge once: got {f' {arrow} '.join(repeated)} twice. "
            "Remove the repetition."
        )
    return pairs


def check_confounders(
    confounders: Mapping[str, Iterable[str]], known: Mapping[str, int]
) -> dict[str, tuple[str, ...]]:
    """Check that confounders have names of their own and two or more children.

    Arguments:
        confounders: The children of each named confounder.
        known: The variables of the graph, with their positions.

    Returns:
        The same, with the children in the order of the variables.

    Raises:
        GraphError: If a name is illegal or taken, or the children are fewer than two,
            repeated or unknown.

    Example:
        >>> check_confounders({"U": ["Y", "X"]}, {"X": 0, "Y": 1})
        {'U': ('X', 'Y')}
    """
    return {name: _children(name, children, known) for name, children in confounders.items()}


def sort_topologically(
    variables: Sequence[str],
    children: Mapping[str, Iterable[str]],
    parents: Mapping[str, Iterable[str]],
) -> tuple[str, ...]:
    """Sort the variables so that causes come before effects (Kahn, 1962).

    Among the variables that are free to come next, the one listed first does, so the
    order is deterministic, and equal to `variables` where that is topological already.

    Arguments:
        variables: All the variables.
        children: The children of each variable.
        parents: The parents of each variable.

    Returns:
        The variables in topological order.

    Raises:
        GraphError: If the directed edges contain a cycle, which the message spells out.

    Example:
        >>> sort_topologically("YX", {"X": "Y", "Y": ""}, {"X": "", "Y": "X"})
        ('X', 'Y')
    """
    position = {name: i for i, name in enumerate(variables)}
    waiting = {name: sum(1 for _ in parents[name]) for name in variables}
    ready = [i for i, name in enumerate(variables) if not waiting[name]]
    order: list[str] = []
    while ready:
        order.append(variables[heapq.heappop(ready)])
        for child in children[order[-1]]:
            waiting[child] -= 1
            if not waiting[child]:
                heapq.heappush(ready, position[child])
    if len(order) < len(variables):
        raise GraphError(_cycle_message(_find_cycle(set(variables).difference(order), parents)))
    return tuple(order)


def _first_repeated(items: Sequence[_T]) -> _T | None:
    seen: set[_T] = set()
    for item in items:
        if item in seen:
            return item
        seen.add(item)
    return None


def _pair(edge: Iterable[str], argument: str, arrow: str) -> tuple[str, str]:
    ends = (edge,) if isinstance(edge, str) else tuple(edge)
    if len(ends) == 1 and arrow == "<->" and not isinstance(edge, str):
        ends *= 2  # frozenset({"X", "X"}) has forgotten that it was a self-loop
    if len(ends) != 2:
        raise GraphError(
            f"`{argument}` must hold pairs of variables: got {edge!r}. Write `(A, B)` for an "
            "edge; a latent cause of three or more variables goes in `confounders`."
        )
    if ends[0] == ends[1]:
        raise GraphError(
            f"`{argument}` must join two different variables: got the self-loop "
            f"{ends[0]} {arrow} {ends[1]}. Remove it."
        )
    return ends[0], ends[1]


def _children(name: str, children: Iterable[str], known: Mapping[str, int]) -> tuple[str, ...]:
    check_name(name, "confounder")
    listed = (children,) if isinstance(children, str) else tuple(children)
    if name in known:
        raise GraphError(
            f'`confounders` must have names of their own: got "{name}", which is a variable. '
            f'Rename the confounder, for instance to "U_{name}".'
        )
    if len(check_known(listed, known, f"confounders[{name!r}]")) < max(2, len(listed)):
        raise GraphError(
            f"`confounders` must have two or more different children: got {', '.join(listed)} "
            f'for "{name}". A latent with one child is private noise and is left out of the graph.'
        )
    return tuple(sorted(listed, key=known.__getitem__))


def _find_cycle(stuck: set[str], parents: Mapping[str, Iterable[str]]) -> list[str]:
    """Walk up from any variable that Kahn left over until one comes back."""
    path, seen = [min(stuck)], dict[str, int]()
    while path[-1] not in seen:
        seen[path[-1]] = len(seen)
        path.append(min(parent for parent in parents[path[-1]] if parent in stuck))
    return path[seen[path[-1]] :][::-1]


def _cycle_message(cycle: list[str]) -> str:
    return (
        f"`directed` must be acyclic: got the cycle {' -> '.join(cycle)}. Remove or reverse one "
        "of these edges; if two of the variables only share a latent cause, write "
        f"`{cycle[0]} <-> {cycle[1]}`."
    )
