r"""Which latent variables does a set of bidirected edges stand for?

A bidirected edge $A \leftrightarrow B$ says that $A$ and $B$ share a latent cause. When
only edges are given, one confounder is created per *maximal clique* of them. That model
contains the one with a latent per edge, and the converse fails: no three pairwise
latents make three binary variables equal with probability one, a shared one does.

References:
    Graphs for margins of Bayesian networks (Evans, 2016), Sec. 4.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain, combinations, count, islice

import networkx as nx

from causal_diffusers.errors import GraphError

__all__ = ["as_written", "cliques_as_confounders", "pairs", "restrict"]

_MOST_CLIQUES = 100_000


def pairs(confounders: Mapping[str, tuple[str, ...]]) -> frozenset[frozenset[str]]:
    r"""Project confounders to bidirected edges.

    Arguments:
        confounders: The children of each confounder.

    Returns:
        The edges $A \leftrightarrow B$ between any two children of one confounder.

    Example:
        >>> sorted(sorted(edge) for edge in pairs({"U": ("A", "B", "C")}))
        [['A', 'B'], ['A', 'C'], ['B', 'C']]
    """
    return frozenset(
        frozenset(pair) for children in confounders.values() for pair in combinations(children, 2)
    )


def cliques_as_confounders(
    edges: Iterable[frozenset[str]], position: Mapping[str, int], taken: Collection[str]
) -> dict[str, tuple[str, ...]]:
    r"""Make one confounder per maximal clique of bidirected edges.

    Arguments:
        edges: The bidirected edges that no named confounder covers.
        position: The place of each variable, which orders children and confounders.
        taken: The names that are in use already.

    Returns:
        The children of each confounder; `U_A_B` is the confounder of `A` and `B`.

    Raises:
        GraphError: If there are more than 100,000 maximal cliques.

    Example:
        >>> edges = [frozenset("AB"), frozenset("BC"), frozenset("AC"), frozenset("CD")]
        >>> cliques_as_confounders(edges, {"A": 0, "B": 1, "C": 2, "D": 3}, ())
        {'U_A_B_C': ('A', 'B', 'C'), 'U_C_D': ('C', 'D')}
    """
    graph: nx.Graph[str] = nx.Graph()
    graph.add_edges_from((a, b) for a, b in map(tuple[str, ...], edges))
    cliques = [
        sorted(clique, key=position.__getitem__)
        for clique in islice(nx.find_cliques(graph), _MOST_CLIQUES + 1)
    ]
    if len(cliques) > _MOST_CLIQUES:
        raise GraphError(
            f"`bidirected` must have at most {_MOST_CLIQUES:,} maximal cliques: got more, from "
            f"{graph.number_of_edges():,} edges. Each clique is a confounder. Name the "
            'confounders instead, as in `confounders={"U": ["A", "B", "C"]}`.'
        )
    cliques.sort(key=lambda clique: [position[name] for name in clique])
    used, named = set(taken), dict[str, tuple[str, ...]]()
    for clique in cliques:
        name = _free(_auto_name(clique), used)
        used.add(name)
        named[name] = tuple(clique)
    return named


def restrict(
    confounders: Mapping[str, tuple[str, ...]], keep: Callable[[str], bool]
) -> dict[str, tuple[str, ...]]:
    """Cut confounders loose from some of their children.

    Arguments:
        confounders: The children of each confounder.
        keep: Says whether a variable still listens to its confounders.

    Returns:
        The remaining children, without the confounders left with fewer than two.

    Example:
        >>> restrict({"U": ("A", "B", "C"), "W": ("A", "B")}, lambda name: name != "A")
        {'U': ('B', 'C')}
    """
    kept = ((name, tuple(filter(keep, children))) for name, children in confounders.items())
    return {name: children for name, children in kept if len(children) > 1}


def as_written(
    confounders: Mapping[str, tuple[str, ...]], variables: Sequence[str]
) -> tuple[list[tuple[str, str]], dict[str, tuple[str, ...]]]:
    """Write confounders as bare edges where that says the same.

    Arguments:
        confounders: The children of each confounder.
        variables: The variables of the graph, in order.

    Returns:
        The bare bidirected edges, and the confounders that must be named.

    Example:
        >>> as_written({"U_A_B": ("A", "B"), "W": ("B", "C")}, ["A", "B", "C"])
        ([('A', 'B')], {'W': ('B', 'C')})
    """
    position = {name: i for i, name in enumerate(variables)}
    named = {name: ch for name, ch in confounders.items() if not name.startswith(_auto_name(ch))}
    edges = pairs(confounders) - pairs(named)
    if cliques_as_confounders(edges, position, {*position, *named}) | named != confounders:
        return [], dict(confounders)
    a_to_b = [sorted(edge, key=position.__getitem__) for edge in edges]
    a_to_b.sort(key=lambda edge: [position[name] for name in edge])
    return [(a, b) for a, b in a_to_b], named


def _auto_name(children: Sequence[str]) -> str:
    name = "_".join(["U", *children])
    return name if len(name) <= 64 else f"U_{children[0][:40]}_and_{len(children) - 1}_others"


def _free(name: str, used: Collection[str]) -> str:
    """Number a name in use: the cliques {A, B_C} and {A_B, C} would clash."""
    numbered = (f"{name}_{i}" for i in count(2))
    return next(candidate for candidate in chain([name], numbered) if candidate not in used)
