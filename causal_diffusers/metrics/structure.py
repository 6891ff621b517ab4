r"""How far is a learned graph from the true one?

Graphs are square arrays in which a true or non-zero entry `[i, j]` means $i \to j$. The
structural Hamming distance counts the pairs of variables that are joined differently,

$$ \mathrm{SHD}(G, H) = \sum_{i < j} \mathbb{1}\{(G_{ij}, G_{ji}) \ne (H_{ij}, H_{ji})\} . $$

The structural intervention distance counts the effects that come out wrong: the ordered
pairs $(i, j)$ for which the parents of $i$ in the estimate are no valid adjustment set for
the effect of $i$ on $j$ in the truth. An estimate that gives each edge a probability is
also read over all thresholds (average precision) and as a forecast (calibration).

References:
    The max-min hill-climbing Bayesian network structure learning algorithm
        (Tsamardinos, Brown & Aliferis, 2006).
    Structural intervention distance for evaluating causal graphs (Peters & Bühlmann, 2015).
    DAGs with NO TEARS (Zheng et al., 2018): the rates of edges.
    Obtaining well calibrated probabilities using Bayesian binning
        (Naeini, Cooper & Hauskrecht, 2015).
"""

from __future__ import annotations

import dataclasses

import torch
from numpy.typing import ArrayLike
from torch import Tensor

__all__ = [
    "Calibration",
    "EdgeRates",
    "average_precision",
    "calibration",
    "edge_rates",
    "structural_hamming_distance",
    "structural_intervention_distance",
]


@dataclasses.dataclass(frozen=True)
class EdgeRates:
    """How many of the true edges are found, and how many of those found are false.

    Arguments:
        true_positive_rate: The share of the true edges that the estimate has, in their
            direction; NaN if the truth has none.
        false_discovery_rate: The share of the estimate's edges that the truth lacks or
            has reversed; 0 if the estimate has none.

    Example:
        >>> EdgeRates(true_positive_rate=0.75, false_discovery_rate=0.2).true_positive_rate
        0.75
    """

    true_positive_rate: float
    false_discovery_rate: float


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """Do edges that are given probability p occur with frequency p?

    Arguments:
        error: The expected calibration error, the mean over all pairs of |frequency -
            mean probability| of the pair's bin.
        probability: The mean probability of each bin, with shape (bins,); NaN if empty.
        frequency: The share of pairs in each bin that are edges; NaN if empty.
        count: How many pairs each bin has.

    Example:
        >>> one = torch.ones(1)
        >>> Calibration(error=0.0, probability=one, frequency=one, count=one.long()).error
        0.0
    """

    error: float
    probability: Tensor
    frequency: Tensor
    count: Tensor


def structural_hamming_distance(estimate: ArrayLike, truth: ArrayLike) -> Tensor:
    r"""Count the pairs of variables that two graphs join differently.

    An edge that is missing, extra or reversed counts once. The estimate may have cycles:
    $i \rightleftarrows j$ differs from each of $i \to j$, $i \leftarrow j$ and no edge by one.

    References:
        Tsamardinos, Brown & Aliferis (2006).

    Arguments:
        estimate: Graphs, with shape (..., d, d); the diagonal is not read.
        truth: Graphs whose shape broadcasts with that of `estimate`.

    Returns:
        The distances, integers with shape (...).

    Raises:
        ValueError: If a graph is not square or has a NaN, or the graphs differ in d.

    Example:
        >>> chain = [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
        >>> other = [[0, 1, 0], [0, 0, 0], [0, 1, 0]]
        >>> structural_hamming_distance(other, chain).item()
        1
    """
    G, H = _graphs(estimate, truth)
    differ = G != H
    return (differ | differ.mT).triu(diagonal=1).sum(dim=(-2, -1))


def structural_intervention_distance(estimate: ArrayLike, truth: ArrayLike) -> int:
    r"""Count the interventions whose effects the parents in the estimate get wrong.

    Who believes the estimate computes $p(x_j \mid do(x_i))$ as $p(x_j)$ if $j$ is a parent
    of $i$, and else by adjustment for $Z = \mathrm{pa}(i)$. The former is right for every
    law of the truth iff $j$ does not descend from $i$ there; the latter iff, in the truth,

    - $Z$ has no descendant of a variable $w \ne i$ on a directed path from $i$ to $j$, and
    - $Z$ d-separates $i$ and $j$ once the first edges of these paths are cut.

    The distance is not symmetric. It is zero iff the true graph is a subgraph of the
    estimate, which is why it is read beside the Hamming distance.

    References:
        Peters & Bühlmann (2015).
        Constructing separators and adjustment sets in ancestral graphs (van der Zander,
            Liśkiewicz & Textor, 2014): the adjustment criterion in this form.

    Arguments:
        estimate: An acyclic graph, with shape (d, d).
        truth: An acyclic graph, with shape (d, d).

    Returns:
        The number of ordered pairs $(i, j)$, at most $d (d - 1)$.

    Raises:
        ValueError: If a graph is not square, has a NaN or a cycle, or the graphs differ in d.

    Example:
        >>> chain = [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
        >>> more, less = [[0, 1, 1], [0, 0, 1], [0, 0, 0]], [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
        >>> [structural_intervention_distance(graph, chain) for graph in (chain, more, less)]
        [0, 0, 2]
    """
    G, H = _graphs(estimate, truth)
    if G.dim() != 2:
        raise ValueError(
            "`structural_intervention_distance` compares one graph with one: got shape "
            f"{tuple(G.shape)}. Call it on each graph of the stack."
        )
    for graph, name in ((G, "estimate"), (H, "truth")):
        _check_acyclic(graph, name)
    parents, children = _neighbours(H.mT), _neighbours(H)
    below = [_closure(1 << i, children) for i in range(len(G))]  # descendants, i itself too
    wrong = 0
    for i, Z in enumerate(_neighbours(G.mT)):
        for j in range(len(G)):
            if i == j:
                continue
            if Z >> j & 1:
                wrong += below[i] >> j & 1
            else:
                wrong += not _is_adjustment_set(Z, i, j, parents, children, below)
    return wrong


def edge_rates(estimate: ArrayLike, truth: ArrayLike) -> EdgeRates:
    """Compute the true positive and the false discovery rate of edges.

    A reversed edge is one edge missed and one false discovery. The edges of a stack of
    graphs are counted together.

    References:
        Zheng et al. (2018), `count_accuracy` of their code.

    Arguments:
        estimate: Graphs, with shape (..., d, d); the diagonal is not read.
        truth: Graphs whose shape broadcasts with that of `estimate`.

    Returns:
        Both rates.

    Raises:
        ValueError: If a graph is not square or has a NaN, or the graphs differ in d.

    Example:
        >>> edge_rates([[0, 0], [1, 0]], [[0, 1], [0, 0]])
        EdgeRates(true_positive_rate=0.0, false_discovery_rate=1.0)
    """
    G, H = (_off_diagonal(graph) for graph in _graphs(estimate, truth))
    hits, found, true = (int(edges.sum()) for edges in (G & H, G, H))
    return EdgeRates(
        true_positive_rate=hits / true if true else float("nan"),
        false_discovery_rate=(found - hits) / max(found, 1),
    )


def average_precision(scores: ArrayLike, truth: ArrayLike) -> float:
    r"""Measure the area under the precision-recall curve of edges, as a sum of steps.

    Of the ordered pairs whose score is at least $t$, the share $P(t)$ are edges, and they
    are the share $R(t)$ of all edges. Over the scores $t_1 > t_2 > \dots$ that occur,

    $$ \mathrm{AP} = \sum_k (R(t_k) - R(t_{k-1})) \, P(t_k) , \qquad R(t_0) = 0 . $$

    Equal scores count at once; a constant score gets the share of pairs that are edges.

    References:
        The relationship between precision-recall and ROC curves (Davis & Goadrich, 2006).

    Arguments:
        scores: How sure each edge is, such as a probability or an absolute weight, with
            shape (..., d, d); the diagonal is not read.
        truth: Graphs whose shape broadcasts with that of `scores`. The pairs of a stack
            of graphs are ranked together.

    Returns:
        The average precision, in (0, 1].

    Raises:
        ValueError: If an argument is not square or has a NaN, the two differ in d, or the
            truth has no edge.

    Example:
        >>> average_precision([[0.0, 0.9], [0.2, 0.0]], [[0, 1], [0, 0]])
        1.0
    """
    score, edge = (_off_diagonal(values) for values in _pair(scores, truth, "scores"))
    if not bool(edge.any()):
        raise ValueError(
            "`average_precision` needs an edge to find: got a truth without one. "
            "Stack several graphs, so that their pairs are ranked together."
        )
    order = score.argsort(descending=True)
    hits = edge[order].double().cumsum(dim=0)
    rank = torch.arange(1, len(hits) + 1)
    last = torch.ones(len(hits), dtype=torch.bool)  # of those with the same score
    last[:-1] = score[order].diff() != 0
    hits, precision = hits[last], (hits / rank)[last]
    recalled = torch.cat([hits[:1], hits.diff()]) / hits[-1]
    return (recalled * precision).sum().item()


def calibration(probabilities: ArrayLike, truth: ArrayLike, bins: int = 10) -> Calibration:
    r"""Compare the probabilities of edges with how often there is one.

    Ordered pairs are binned by their probability, into bins of equal width; with means
    $\bar p_b$, frequencies $\bar y_b$ and counts $N_b$, the expected calibration error is

    $$ \mathrm{ECE} = \sum_b \frac{N_b}{N} \, | \bar y_b - \bar p_b | . $$

    Its expectation is positive for perfect probabilities too, as frequencies are of samples.

    References:
        Naeini, Cooper & Hauskrecht (2015).

    Arguments:
        probabilities: A probability for each edge, with shape (..., d, d), in [0, 1]; the
            diagonal is not read.
        truth: Graphs whose shape broadcasts with that of `probabilities`. The pairs of a
            stack of graphs are binned together.
        bins: How many bins; each holds its upper end, the first its lower end as well.

    Returns:
        The error and the bins.

    Raises:
        ValueError: If an argument is not square or has a NaN, the two differ in d, a
            probability is outside [0, 1], or there is no bin.

    Example:
        >>> half = torch.full((2, 2), 0.5)
        >>> calibration(half, [[0, 1], [0, 0]]).error
        0.0
    """
    if bins < 1:
        raise ValueError(f"`bins` is at least 1: got {bins}.")
    values, edges = _pair(probabilities, truth, "probabilities")
    p, edge = _off_diagonal(values).double(), _off_diagonal(edges).double()
    if bool(((p < 0) | (p > 1)).any()):
        raise ValueError(
            f"`probabilities` must lie in [0, 1]: got values from {p.min():.3g} to {p.max():.3g}. "
            "Weights have no calibration; rank them by `average_precision`."
        )
    home = torch.bucketize(p, torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1])
    empty = torch.zeros(bins, dtype=torch.float64)
    count = empty.index_add(0, home, torch.ones_like(p))
    mean, share = (empty.index_add(0, home, values) / count for values in (p, edge))
    gaps = (share - mean).abs().nan_to_num() * count
    return Calibration((gaps.sum() / count.sum()).item(), mean, share, count.long())


def _graphs(estimate: ArrayLike, truth: ArrayLike) -> tuple[Tensor, Tensor]:
    G, H = _pair(estimate, truth, "estimate")
    return G != 0, H


def _pair(values: ArrayLike, truth: ArrayLike, name: str) -> tuple[Tensor, Tensor]:
    """Give two stacks of the same shape, the second of booleans."""
    G, H = _square(values, name), _square(truth, "truth") != 0
    leading = zip(G.shape[-3::-1], H.shape[-3::-1], strict=False)
    if G.shape[-1] != H.shape[-1] or any(a != b and 1 not in (a, b) for a, b in leading):
        raise ValueError(
            f"`{name}` and `truth` must be over the same variables: got shapes "
            f"{tuple(G.shape)} and {tuple(H.shape)}. Leave out the variables that one of "
            "them lacks, and give one truth to all graphs of a stack, or one to each."
        )
    G, H = torch.broadcast_tensors(G, H)
    return G, H


def _square(values: ArrayLike, name: str) -> Tensor:
    """Refuse what is no square array of numbers."""
    array = torch.as_tensor(values)
    if array.dim() < 2 or array.shape[-1] != array.shape[-2]:
        raise ValueError(
            f"`{name}` must be square, [i, j] for i -> j: got shape {tuple(array.shape)}. "
            "Give one row and one column to each variable."
        )
    if bool(array.isnan().any()):
        raise ValueError(
            f"`{name}` must be without NaN: got {int(array.isnan().sum())} of them. "
            "A method that did not converge has no graph to compare."
        )
    return array


def _check_acyclic(G: Tensor, name: str) -> None:
    rows = _neighbours(G)
    on_cycle = [i for i, row in enumerate(rows) if _closure(row, rows) >> i & 1]
    if on_cycle:
        raise ValueError(
            f"`{name}` must be acyclic: got a cycle through the variables {on_cycle}. "
            "Cut its weakest edge, or compare by `structural_hamming_distance`."
        )


def _off_diagonal(values: Tensor) -> Tensor:
    """Give the entries of all ordered pairs of different variables, in one row."""
    return values[..., ~torch.eye(values.shape[-1], dtype=torch.bool)].flatten()


def _neighbours(G: Tensor) -> list[int]:
    """Give each row as an integer, whose bit j says whether entry j is true."""
    return [sum(1 << j for j, joined in enumerate(row) if joined) for row in G.tolist()]


def _bits(members: int) -> list[int]:
    return [i for i in range(members.bit_length()) if members >> i & 1]


def _closure(members: int, neighbours: list[int]) -> int:
    """Add to a set all that can be reached from it."""
    reached, new = members, members
    while new:
        step = 0
        for i in _bits(new):
            step |= neighbours[i]
        new = step & ~reached
        reached |= new
    return reached


def _is_adjustment_set(
    Z: int, i: int, j: int, parents: list[int], children: list[int], below: list[int]
) -> bool:
    """Say whether Z, without i and j, is valid for the effect of i on j."""
    on_paths = [w for w in _bits(below[i] & ~(1 << i)) if below[w] >> j & 1]
    if any(below[w] & Z for w in on_paths):
        return False
    cut = sum(1 << w for w in on_paths)
    parents = [p & ~(1 << i) if cut >> w & 1 else p for w, p in enumerate(parents)]
    children = [c & ~cut if v == i else c for v, c in enumerate(children)]
    return not _d_connected(i, Z, parents, children) >> j & 1


def _d_connected(i: int, Z: int, parents: list[int], children: list[int]) -> int:
    """Give the variables that are not d-separated from i by Z."""
    opened = _closure(Z, parents)  # colliders on which a path may turn
    upward, downward = 1 << i, 0  # reached from a child, from a parent
    new_up, new_down = upward, downward
    while new_up or new_down:
        up = down = 0
        for v in _bits(new_up & ~Z):
            up |= parents[v]
            down |= children[v]
        for v in _bits(new_down & ~Z):
            down |= children[v]
        for v in _bits(new_down & opened):
            up |= parents[v]
        new_up, new_down = up & ~upward, down & ~downward
        upward, downward = upward | new_up, downward | new_down
    return upward | downward
