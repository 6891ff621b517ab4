r"""How far apart are two discrete distributions?

$$ \mathrm{TV}(p, q) = \tfrac12 \sum_k |p_k - q_k| = \max_E |p(E) - q(E)| . $$

An error is read beside its floor: N draws from the truth itself miss it too, by about

$$ E\,\mathrm{TV}(\hat p_N, p) \approx \sqrt{\frac{K - 1}{2 \pi N}} $$

over K equally likely values, and the worst of m answers misses by more.

References:
    Markov chains and mixing times, 2nd ed. (Levin, Peres & Wilmer, 2017), Prop. 4.2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from numpy.typing import ArrayLike
from torch import Tensor

__all__ = ["SamplingFloor", "sampling_floor", "total_variation"]


@dataclasses.dataclass(frozen=True)
class SamplingFloor:
    """What a perfect sampler scores: the worst total variation over m answers.

    Arguments:
        mean: The mean over repeated runs.
        upper: The value that 95 % of the runs stay below.

    Example:
        >>> print(SamplingFloor(mean=0.012, upper=0.02))
        .012 on average, below .020 in 95 runs of 100
    """

    mean: float
    upper: float

    @classmethod
    def of(cls, worst: Tensor) -> SamplingFloor:
        """Summarise the worst distances of repeated runs, a tensor with shape (R,)."""
        return cls(worst.mean().item(), worst.quantile(0.95).item())

    def __str__(self) -> str:
        """Write both numbers."""
        mean, upper = (f"{value:.3f}".lstrip("0") for value in (self.mean, self.upper))
        return f"{mean} on average, below {upper} in 95 runs of 100"


def total_variation(p: ArrayLike, q: ArrayLike) -> Tensor:
    r"""Measure $\frac12 \sum_k |p_k - q_k|$ over the last dimension.

    References:
        Levin, Peres & Wilmer (2017), Prop. 4.2.

    Arguments:
        p: Probabilities with shape (..., K), non-negative and summing to one.
        q: Probabilities whose shape broadcasts with that of `p`.

    Returns:
        Distances in [0, 1], with shape (...).

    Raises:
        ValueError: If an argument is no distribution, or the shapes differ in K.

    Example:
        >>> total_variation([1.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]).tolist()
        [0.0, 1.0]
    """
    p, q = check_pair(p, q)
    return (p - q).abs().sum(dim=-1) / 2


def check_pair(p: ArrayLike, q: ArrayLike) -> tuple[Tensor, Tensor]:
    """Refuse what are no two distributions over the same values."""
    p, q = _distributions(p, "p"), _distributions(q, "q")
    if p.shape[-1] != q.shape[-1]:
        raise ValueError(
            f"`p` and `q` must be over the same values: got {p.shape[-1]} and {q.shape[-1]} of "
            "them. Give values that one of them never takes the probability zero."
        )
    return p, q


def sampling_floor(
    probabilities: ArrayLike,
    num_samples: int,
    *,
    generator: torch.Generator,
    repeats: int = 1000,
    measure: Callable[[Tensor, Tensor], Tensor] = total_variation,
) -> SamplingFloor:
    r"""Simulate a perfect sampler: N draws from each of m distributions, the worst distance.

    For one distribution over K equally likely values the mean is about
    $\sqrt{(K-1) / (2 \pi N)}$. Two samples compared with one another are further apart by
    $\sqrt 2$.

    Arguments:
        probabilities: The true distributions, with shape (m, K), or (K,) for one.
        num_samples: N, the draws from each.
        generator: The source of randomness.
        repeats: How often the whole comparison is repeated.
        measure: The distance of frequencies from the truth, such as `kl_divergence`.

    Returns:
        Mean and 95 % point of the worst of the m distances.

    Raises:
        ValueError: If `num_samples` or `repeats` is not positive, or `probabilities` are
            no distributions.

    Example:
        >>> def floor(n):
        ...     return sampling_floor([[0.5, 0.5]] * 10, n, generator=torch.Generator())
        >>> floor(100).mean > floor(1000).upper
        True
    """
    if num_samples < 1 or repeats < 1:
        raise ValueError(
            "`sampling_floor` needs at least one draw and one repeat: got "
            f"num_samples={num_samples}, repeats={repeats}."
        )
    truth = torch.atleast_2d(_distributions(probabilities, "probabilities"))
    counts = _multinomial(truth.expand(repeats, *truth.shape), num_samples, generator)
    return SamplingFloor.of(measure(counts / num_samples, truth).amax(dim=-1))


def _multinomial(p: Tensor, total: int, generator: torch.Generator) -> Tensor:
    """Draw counts value by value: each takes its binomial share of what is left."""
    left, rest = torch.full(p.shape[:-1], float(total), dtype=p.dtype), torch.ones_like(p[..., 0])
    counts = torch.zeros_like(p)
    for k in range(p.shape[-1] - 1):
        share = (p[..., k] / rest.clamp(min=1e-12)).clamp(0, 1)
        counts[..., k] = torch.binomial(left, share, generator=generator)
        left, rest = left - counts[..., k], rest - p[..., k]
    counts[..., -1] = left
    return counts


def _distributions(values: ArrayLike, name: str) -> Tensor:
    p = torch.as_tensor(values).double()
    sums = p.sum(dim=-1) if p.dim() else p
    if p.dim() == 0 or bool((p < 0).any()) or not bool(torch.isclose(sums, _one, atol=1e-5).all()):
        raise ValueError(
            f"`{name}` must be probabilities that sum to one over the last dimension: got shape "
            f"{tuple(p.shape)} and sums {sums.flatten()[:5].tolist()}. Divide counts by their sum."
        )
    return p


_one = torch.ones((), dtype=torch.float64)
