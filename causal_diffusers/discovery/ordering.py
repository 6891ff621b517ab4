r"""In which order would equal noise put the variables?

Where all noises have one variance, the variable whose variance given the earlier ones is
least comes next: its own noise is all that is left of it, and a later one has more. The
conditional variances come from sweeping each variable out of the covariance as it is
chosen. An order is a hint for the network, which may find it wrong.

References:
    On causal discovery with an equal-variance assumption (Chen, Drton & Wang, 2019), Alg. 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["least_variance_order"]

_RIDGE = 0.5  # samples of prior knowledge that sweeping explains nothing


def least_variance_order(covariance: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Order variables by their conditional variances, the least first.

    Arguments:
        covariance: With shape (B, d, d).
        count: How many samples it is from, with shape (B,).

    Returns:
        The place of each variable in the order, integers with shape (B, d), and its
        conditional variance when it was chosen, with shape (B, d).

    Example:
        >>> S = torch.tensor([[[5.0, 2.0], [2.0, 1.0]]])  # the second causes the first
        >>> least_variance_order(S, torch.tensor([100.0]))[0].tolist()
        [[1, 0]]
    """
    S, (B, d) = covariance.clone(), covariance.shape[:2]
    rows = torch.arange(B, device=S.device)
    place = torch.zeros(B, d, dtype=torch.int64, device=S.device)
    chosen = torch.zeros(B, d, dtype=torch.bool, device=S.device)
    variance = torch.zeros_like(S[:, 0])
    for step in range(d):
        left = (count - step).clamp(min=1) / count  # degrees of freedom that remain
        v = S.diagonal(dim1=1, dim2=2) / left[:, None]
        k = v.masked_fill(chosen, torch.inf).argmin(dim=1)
        place[rows, k], variance[rows, k] = step, v[rows, k]
        chosen[rows, k] = True
        column = S[rows, :, k]
        pivot = column[rows, k] * (1 + _RIDGE / count)
        S = S - column[:, :, None] * column[:, None, :] / pivot[:, None, None].clamp(min=1e-9)
        S = S.clone()
        S.diagonal(dim1=1, dim2=2).clamp_(min=1e-9)
    return place, variance
