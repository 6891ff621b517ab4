r"""What do the tasks of a family share? Learned from their data alone, no graph is known.

Weights with prior variances $v_{ij}$, the same in every task, give task $\eta$ the evidence

$$ \log p(X_\eta) = - \tfrac12 \sum_j \Big[ \log\det\big(I + V_j^{1/2} G_\eta V_j^{1/2}\big)
   + n \log \sigma^2 + \tfrac{n}{\sigma^2} (S_{jj} - S_{j\cdot}^\top W_{\cdot j}) \Big] , $$

$W$ being the ridge regression: reconstruction, and a price for every $v$. Its maximum over
$v$ under $h(v) = 0$, by an augmented Lagrangian, is one graph where all tasks have the same
one, and one order where they have that in common: $v_{ij} > 0$ only if $i$ comes before $j$.
$h$ is the spectral one, $-\log\det(sI - v) + d \log s$, zero where $v$ is acyclic.

References:
    Learning causal graphs at scale (Yin, Gao & Yu, 2025): the settings.
    Sparse Bayesian learning and the relevance vector machine (Tipping, 2001), Sec. 2.
    DAGMA (Bello, Aragam & Ravikumar, 2022), Thm. 1: the acyclicity function.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from causal_diffusers.discovery.regression import SLAB

__all__ = ["shared_variances"]

_RATE, _ROUNDS, _STEPS, _BATCH = 0.1, 4, 40, 128
_PENALTY, _GROWTH = 0.1, 5.0


def shared_variances(
    covariance: Tensor, count: float, *, generator: torch.Generator
) -> tuple[Tensor, float]:
    """Learn the prior variances that the tasks share, acyclic, and the variance of the noise.

    Arguments:
        covariance: Of each task, with shape (T, d, d).
        count: How many samples each is from.
        generator: Draws minibatches of tasks.

    Returns:
        The variances with shape (d, d), 0 where no task has an edge, and that of the noise.

    Example:
        >>> S = torch.tensor([[1.0, 2.0], [2.0, 5.0]]).expand(100, 2, 2)  # weight 2, noise 1
        >>> v, _ = shared_variances(S, 50, generator=torch.Generator().manual_seed(0))
        >>> bool(v[0, 1] > 1), bool(v[1, 0] == 0)
        (True, True)
    """
    d = covariance.shape[1]
    noise = covariance.diagonal(dim1=1, dim2=2).mean(dim=0).min()  # that of a root
    draw = _minibatches(covariance, generator)
    order = pooled_order(covariance, count, float(noise))
    order = _refined(order, draw, count, noise)
    free = _earlier(order).float()
    logits = torch.full((d, d), -1.0, requires_grad=True)
    level = noise.log().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([logits, level], lr=_RATE)
    for _ in range(3 * _STEPS):
        v = SLAB * free * logits.sigmoid()
        _descend(optimizer, -evidence(next(draw), count, v, level.exp()) / d)
    return SLAB * free * logits.detach().sigmoid(), float(level.detach().exp())


def _refined(order: Tensor, draw: Iterator[Tensor], count: float, noise: Tensor) -> Tensor:
    """Let every edge compete under the acyclicity constraint, those of the order first."""
    d = len(order)
    off = 1 - torch.eye(d)
    logits = torch.where(_earlier(order), -1.0, -3.0).requires_grad_(True)
    penalty, multiplier = _PENALTY, 0.0
    for _ in range(_ROUNDS):
        optimizer = torch.optim.Adam([logits], lr=_RATE)
        for _ in range(_STEPS):
            v = SLAB * off * logits.sigmoid()
            h = cyclicity(v)
            loss = -evidence(next(draw), count, v, noise) / d
            _descend(optimizer, loss + multiplier * h + penalty / 2 * h**2)
        multiplier += penalty * float(cyclicity(SLAB * off * logits.detach().sigmoid()))
        penalty *= _GROWTH
    return _order(SLAB * off * logits.detach().sigmoid())


def _minibatches(covariance: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        rows = torch.randint(len(covariance), (_BATCH,), generator=generator)
        yield covariance[rows]


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def pooled_order(covariance: Tensor, count: float, noise: float) -> Tensor:
    """Order variables by what the earlier ones leave of them, averaged over tasks.

    With noise of one variance a variable whose causes all come earlier has that variance
    left, whatever the weights, and others have more.

    References:
        On causal discovery with an equal-variance assumption (Chen et al., 2019), Alg. 1.

    Arguments:
        covariance: Of each task, with shape (T, d, d).
        count: Samples a task.
        noise: The variance of the noise.

    Returns:
        The order, causes first, with shape (d,).

    Example:
        >>> S = torch.tensor([[[5.0, 2.0], [2.0, 1.0]]])  # the second causes the first
        >>> pooled_order(S, 100, 1.0).tolist()
        [1, 0]
    """
    d = covariance.shape[1]
    order, left = list[int](), list(range(d))
    prior = noise / count / (SLAB / 4)
    while left:
        S = covariance[:, left][:, :, left].diagonal(dim1=1, dim2=2)
        if order:
            K = covariance[:, order][:, :, order] + prior * torch.eye(len(order))
            cross = covariance[:, order][:, :, left]
            S = S - (cross * torch.linalg.solve(K, cross)).sum(dim=1)
        order.append(left.pop(int(S.mean(dim=0).argmin())))
    return torch.tensor(order)


def _earlier(order: Tensor) -> Tensor:
    place = order.argsort()
    return place[:, None] < place[None, :]


def _order(v: Tensor) -> Tensor:
    """Order variables by how little comes into them from those that are left."""
    left, order = list(range(len(v))), list[int]()
    while left:
        into = v[left][:, left].sum(dim=0)
        order.append(left.pop(int(into.argmin())))
    return torch.tensor(order)


def evidence(covariance: Tensor, count: float, v: Tensor, noise: Tensor) -> Tensor:
    """Compute the mean log evidence of tasks, up to a constant.

    Arguments:
        covariance: With shape (B, d, d).
        count: Samples a task.
        v: Prior variances of the weights, with shape (d, d).
        noise: The variance of the noise.

    Returns:
        A number.

    Example:
        >>> S, nothing = torch.eye(2)[None], torch.zeros(2, 2)
        >>> bool(evidence(S, 10, nothing, torch.tensor(1.0)) > evidence(S, 10, 1 - torch.eye(2),
        ...     torch.tensor(1.0)))
        True
    """
    d = len(v)
    root = (v.T + 1e-12).sqrt()  # [j, i]
    G = covariance[:, None] * (count / noise)
    B = torch.eye(d) + root[:, :, None] * G * root[:, None, :]
    factor = torch.linalg.cholesky(B)
    target = root * covariance * (count / noise)  # [b, j, i]
    solved = torch.linalg.solve_triangular(factor, target[..., None], upper=False)[..., 0]
    explained = solved.square().sum(-1) * noise / count
    residual = covariance.diagonal(dim1=1, dim2=2) - explained
    logdet = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return -0.5 * (logdet + count * noise.log() + count * residual / noise).sum(1).mean()


def cyclicity(weights: Tensor) -> Tensor:
    """Measure cycles: 0 if and only if there is none.

    Arguments:
        weights: At least 0, with shape (d, d).

    Returns:
        A number of at least 0.

    Example:
        >>> one_way = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
        >>> cyclicity(one_way) < 1e-6, cyclicity(one_way + one_way.T) > 0.1
        (tensor(True), tensor(True))
    """
    d = len(weights)
    s = 1 + weights.sum(0).max().detach()
    return d * s.log() - torch.linalg.slogdet(s * torch.eye(d).to(weights) - weights)[1]
