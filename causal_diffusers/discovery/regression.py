r"""How much do the data want an edge, given how likely the other edges are?

Attention from each variable to its candidate causes: of all $i$, with the prior variances
$v_{ij} = p_{ij} s^2$ that the present edge probabilities $p$ give the weights, the ridge
regression of $j$ on all others has posterior precision $G_j + \mathrm{diag}(1/v_{\cdot j})$,
$G_j = n S / \sigma_j^2$. Taking the prior of edge $i \to j$ out of its own marginal leaves
what the data say of that weight alone, a Gaussian with precision $\tau_{ij}$ and mean
$\mu_{ij}$, from which the network judges whether it is zero.

References:
    Expectation propagation in linear regression with spike-and-slab priors
    (Hernandez-Lobato, Hernandez-Lobato & Suarez, 2015), Sec. 4.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

__all__ = ["Evidence", "regress"]

SLAB = 1.75  # the mean square of weights uniform on +-[0.5, 2]
_LEAST = 1e-3  # of an edge's probability
_JITTER = 1e-9  # of a variance, so that no rounding makes it negative


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """What the data say of each weight, with shapes (B, d, d).

    Arguments:
        mean: Of the weight, from the data alone.
        precision: Likewise.
        posterior: The mean of the weight under its prior as well.
        residual: The residual variance of each variable, with shape (B, d).

    Example:
        >>> regress(torch.eye(2)[None], torch.ones(1), torch.full((1, 2, 2), 0.5)).mean.shape
        torch.Size([1, 2, 2])
    """

    mean: Tensor
    precision: Tensor
    posterior: Tensor
    residual: Tensor

    @property
    def if_present(self) -> Tensor:
        """The mean of each weight if its edge exists, with shape (B, d, d)."""
        return self.mean * self.precision / (self.precision + 1 / SLAB)


def regress(
    covariance: Tensor, count: Tensor, probability: Tensor, variance: Tensor | None = None
) -> Evidence:
    r"""Regress every variable on those that may cause it.

    Arguments:
        covariance: $S$, with shape (B, d, d).
        count: $n$, with shape (B,).
        probability: $p_{ij}$ of the edges $i \to j$, with shape (B, d, d); an edge of
            probability 0 is not possible.
        variance: $\sigma_j^2$ with shape (B, d); 1 if None.

    Returns:
        The evidence for each edge, 0 where none is possible.

    Example:
        >>> S = torch.tensor([[[1.0, 2.0], [2.0, 5.0]]])
        >>> seen = regress(S, torch.tensor([1000.0]), torch.full((1, 2, 2), 0.5))
        >>> round(seen.mean[0, 0, 1].item(), 2)
        2.0
    """
    kept = probability.dtype
    covariance, count, probability = (x.double() for x in (covariance, count, probability))
    d = covariance.shape[1]
    possible = (probability > 0) & ~torch.eye(d, dtype=torch.bool, device=covariance.device)
    v = torch.where(possible, SLAB * probability.clamp(min=_LEAST), 0)
    weight = count[:, None] / (torch.ones_like(v[:, 0]) if variance is None else variance)
    root = v.mT.sqrt()  # [b, j, i]
    B = root[..., None] * root[:, :, None, :]  # [b, j, i, k]: V^1/2 G_j V^1/2, plus one
    B *= covariance[:, None]
    B *= weight[:, :, None, None]
    B.diagonal(dim1=-2, dim2=-1).add_(1).mul_(1 + _JITTER)
    eye = torch.eye(d, dtype=B.dtype, device=B.device).expand_as(B)
    half = torch.linalg.solve_triangular(torch.linalg.cholesky(B), eye, upper=False)
    score = root * (covariance * weight[:, :, None])  # [b, j, i]: V^1/2 G_.j
    m = root * (half.mT @ (half @ score[..., None]))[..., 0]
    shrink = half.square().sum(dim=-2).clamp(1e-9, 1 - 1e-6)
    ok = possible.mT
    safe = torch.where(ok, v.mT, 1)
    precision = torch.where(ok, (1 / shrink - 1) / safe, 0)
    mean = torch.where(ok, m / (safe * shrink) / precision.clamp(min=1e-6), 0)
    explained = 2 * (m * covariance).sum(-1) - ((m @ covariance) * m).sum(-1)
    residual = covariance.diagonal(dim1=1, dim2=2) - explained
    found = mean.mT, precision.mT, m.mT, residual.clamp(min=1e-6)
    return Evidence(*(x.to(kept) for x in found))
