r"""Which acyclic graphs go with the edge probabilities?

The states of the pairs (one way, the other way, no edge) are independent but for
acyclicity:

$$ P(G) \propto 1[G \text{ acyclic}] \prod_{\{i, j\}} P(G_{ij}) . $$

Graphs are drawn by Gibbs sampling: a pair is given a state anew, other than those that
would close a cycle.

References:
    Markov chain Monte Carlo in practice for structure (Madigan & York, 1995), Sec. 3.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["acyclic_graph", "draw_acyclic"]

_BURN_IN, _THIN = 20, 5  # sweeps


def acyclic_graph(probabilities: Tensor, threshold: float | None = None) -> Tensor:
    """Take the edges that are likely enough, the likeliest first, but for those closing cycles.

    Arguments:
        probabilities: Of each edge, with shape (d, d).
        threshold: The least probability; None takes the edges that are likelier than the
            other way round and than no edge, which errs least on average.

    Returns:
        The graph, booleans with shape (d, d).

    Example:
        >>> P = torch.tensor([[0.0, 0.9, 0.0], [0.0, 0.0, 0.8], [0.7, 0.0, 0.0]])
        >>> acyclic_graph(P, 0.5).nonzero().tolist()
        [[0, 1], [1, 2]]
    """
    graph = torch.zeros_like(probabilities, dtype=torch.bool)
    reach = torch.eye(len(graph), dtype=torch.bool)  # reach[i, j]: i is j or its ancestor
    if threshold is None:
        none = 1 - probabilities - probabilities.T
        likely = (probabilities > none) & (probabilities >= probabilities.T)
    else:
        likely = probabilities >= threshold
    likely &= probabilities > 0
    for flat in torch.where(likely, probabilities, 0).flatten().argsort(descending=True):
        i, j = divmod(int(flat), len(graph))
        if not likely[i, j]:
            break
        if i != j and not reach[j, i]:
            graph[i, j] = True
            reach |= reach[:, i, None] & reach[None, j, :]
    return graph


def draw_acyclic(
    probabilities: Tensor, count: int, *, generator: torch.Generator
) -> Iterator[Tensor]:
    """Draw acyclic graphs.

    Arguments:
        probabilities: Of each edge, with shape (d, d); the two of a pair add up to at most 1.
        count: How many graphs to draw.
        generator: The source of the randomness, on the CPU.

    Yields:
        Graphs, booleans with shape (d, d).

    Example:
        >>> P = torch.tensor([[0.0, 0.5], [0.5, 0.0]])
        >>> drawn = draw_acyclic(P, 100, generator=torch.Generator().manual_seed(0))
        >>> {int(graph.sum()) for graph in drawn}
        {1}
    """
    P, d = probabilities.tolist(), len(probabilities)
    pairs = [(i, j) for i in range(d) for j in range(i + 1, d) if max(P[i][j], P[j][i]) > 0]
    effects = [_bits(row) for row in acyclic_graph(probabilities).tolist()]
    for sweep in range(_BURN_IN + count * _THIN):
        drawn = torch.rand(len(pairs), dtype=torch.float64, generator=generator).tolist()
        for (i, j), u in zip(pairs, drawn, strict=True):
            effects[i] &= ~(1 << j)
            effects[j] &= ~(1 << i)
            forth, back = P[i][j], P[j][i]
            none = max(1 - forth - back, 0.0)
            # those that would close a cycle are not among the choices
            forth = 0.0 if forth and _reaches(effects, j, i) else forth
            back = 0.0 if back and _reaches(effects, i, j) else back
            u *= none + forth + back
            if u < forth:
                effects[i] |= 1 << j
            elif u < forth + back:
                effects[j] |= 1 << i
        if sweep >= _BURN_IN and (sweep - _BURN_IN) % _THIN == _THIN - 1:
            yield torch.tensor([[bool(row >> j & 1) for j in range(d)] for row in effects])


def _bits(row: list[bool]) -> int:
    """Write a row of a graph as the bits of a number."""
    return sum(1 << j for j, there in enumerate(row) if there)


def _reaches(effects: list[int], start: int, end: int) -> bool:
    """Say whether a path leads from one variable to another."""
    seen = new = effects[start]
    while new and not seen >> end & 1:
        v = (new & -new).bit_length() - 1
        new = (new & (new - 1)) | (effects[v] & ~seen)
        seen |= effects[v]
    return bool(seen >> end & 1)
