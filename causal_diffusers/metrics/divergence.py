r"""How surprising are draws from one discrete distribution to another?

$$ \mathrm{KL}(p \,\|\, q) = \sum_k p_k \log \frac{p_k}{q_k} $$

in nats. **Zero cells**: a value with $p_k = 0$ adds nothing, whatever $q_k$ is; one with
$p_k > 0$ and $q_k = 0$ makes the divergence infinite. Nothing is smoothed: to compare
counts that have zeros with each other, use the total variation.

The floor: for N draws $\hat p_N$ from $q$ itself, $E \, \mathrm{KL}(\hat p_N \| q)$ is
about $(K - 1) / (2 N)$; `sampling_floor(..., measure=kl_divergence)` simulates it.

References:
    Elements of information theory, 2nd ed. (Cover & Thomas, 2006), Sec. 2.3.
"""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from causal_diffusers.metrics.distance import check_pair

__all__ = ["kl_divergence"]


def kl_divergence(p: ArrayLike, q: ArrayLike) -> Tensor:
    r"""Measure $\sum_k p_k \log (p_k / q_k)$ over the last dimension, in nats.

    References:
        Cover & Thomas (2006), Eq. 2.26, with their conventions for zeros.

    Arguments:
        p: Probabilities with shape (..., K), non-negative and summing to one.
        q: Probabilities whose shape broadcasts with that of `p`.

    Returns:
        Divergences in [0, inf], with shape (...).

    Raises:
        ValueError: If an argument is no distribution, or the shapes differ in K.

    Example:
        >>> kl_divergence([0.0, 1.0], [[0.0, 1.0], [1.0, 0.0]]).tolist()
        [0.0, inf]
    """
    p, q = check_pair(p, q)
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum(dim=-1).clamp(min=0)
