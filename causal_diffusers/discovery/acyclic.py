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
    graph = acyclic_graph(probabilities)
    d = len(graph)
    pairs = torch.triu_indices(d, d, offset=1).T.tolist()
    open_pairs = [(i, j) for i, j in pairs if max(probabilities[i, j], probabilities[j, i]) > 0]
    for sweep in range(_BURN_IN + count * _THIN):
        for i, j in open_pairs:
            graph[i, j] = graph[j, i] = False
            chances = _chances(probabilities, graph, i, j)
            state = int(torch.multinomial(chances, 1, generator=generator))
            graph[i, j], graph[j, i] = state == 1, state == 2
        if sweep >= _BURN_IN and (sweep - _BURN_IN) % _THIN == _THIN - 1:
            yield graph.clone()


def _chances(probabilities: Tensor, graph: Tensor, i: int, j: int) -> Tensor:
    """Weigh no edge, i -> j and j -> i, those that would close a cycle by 0."""
    forth, back = probabilities[i, j], probabilities[j, i]
    none = (1 - forth - back).clamp(min=0)
    chances = torch.stack([none, forth, back]).double()
    if forth > 0 and _reaches(graph, j, i):
        chances[1] = 0
    if back > 0 and _reaches(graph, i, j):
        chances[2] = 0
    return chances if chances.sum() > 0 else torch.tensor([1.0, 0, 0], dtype=torch.float64)


def _reaches(graph: Tensor, start: int, end: int) -> bool:
    seen = graph[start].clone()
    while True:
        if seen[end]:
            return True
        wider = seen | graph[seen].any(dim=0)
        if torch.equal(wider, seen):
            return False
        seen = wider
