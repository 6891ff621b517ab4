"""Which graphs differ from a graph by one edge?

A directed edge is removed, reversed or added as long as no cycle results; a bidirected one
is removed or added. Taking one edge out of a confounder with several children leaves two
confounders, each without one of its ends: the others stay as confounded as they were.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

from causal_diffusers.errors import GraphError
from causal_diffusers.graphs.admg import ADMG

__all__ = ["changed_graphs"]

Edge = tuple[str, str]


def changed_graphs(graph: ADMG) -> Iterator[tuple[str, frozenset[str], ADMG]]:
    """List the graphs that differ by one edge.

    Arguments:
        graph: The graph.

    Yields:
        What was changed, between which two, and the acyclic graph that results.

    Example:
        >>> [change for change, _, _ in changed_graphs(ADMG.parse("X -> Y <- Z"))][:3]
        ['remove X -> Y', 'reverse X -> Y', 'add X <-> Y']
    """
    directed, order = set(graph.directed), graph.variables
    for pair in itertools.combinations(order, 2):
        found = [edge for edge in (pair, pair[::-1]) if edge in directed]
        options: list[tuple[str, set[Edge]]] = []
        for a, b in found:
            options.append((f"remove {a} -> {b}", directed - {(a, b)}))
            options.append((f"reverse {a} -> {b}", directed - {(a, b)} | {(b, a)}))
        if not found:
            both = (pair, pair[::-1])
            options += [(f"add {a} -> {b}", directed | {(a, b)}) for a, b in both]
        for change, edges in options:
            with contextlib.suppress(GraphError):  # a cycle
                yield change, frozenset(pair), ADMG(order, edges, confounders=graph.confounders)
        is_confounded = frozenset(pair) in graph.bidirected
        verb, latent = ("remove", _without) if is_confounded else ("add", _with)
        changed = ADMG(order, directed, confounders=latent(graph, pair))
        yield f"{verb} {pair[0]} <-> {pair[1]}", frozenset(pair), changed


def _with(graph: ADMG, pair: Edge) -> dict[str, tuple[str, ...]]:
    return {**_plain(graph), f"U_{pair[0]}_{pair[1]}": pair}


def _without(graph: ADMG, pair: Edge) -> dict[str, tuple[str, ...]]:
    """Split each confounder of both into one without the first and one without the second."""
    kept = {name: c for name, c in _plain(graph).items() if not set(pair) <= set(c)}
    for children in _plain(graph).values():
        for out in pair if set(pair) <= set(children) else ():
            rest = tuple(name for name in children if name != out)
            if len(rest) > 1 and not any(set(rest) <= set(c) for c in kept.values()):
                kept["U_" + "_".join(rest)] = rest
    return kept


def _plain(graph: ADMG) -> dict[str, tuple[str, ...]]:
    return {name: tuple(children) for name, children in graph.confounders.items()}
