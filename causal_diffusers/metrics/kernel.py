r"""Do two samples of vectors come from one distribution?

The squared maximum mean discrepancy under a kernel $k$, without bias:

$$ \mathrm{MMD}^2 = \frac{1}{m(m-1)} \sum_{i \ne j} k(x_i, x_j)
   + \frac{1}{n(n-1)} \sum_{i \ne j} k(y_i, y_j) - \frac{2}{mn} \sum_{i,j} k(x_i, y_j) . $$

It is zero on average, and thus sometimes negative, where the distributions are equal. The
kernel is $k(x, y) = \exp(-\|x - y\|^2 / 2 \sigma^2)$ with $\sigma$ the median distance of
the pooled sample. Its floor and its p-value come from dealing the pooled sample anew: the
value that it has when who came from where does not matter.

References:
    A kernel two-sample test (Gretton, Borgwardt, Rasch, Schölkopf & Smola, 2012), Lemma 6
    and Sec. 8.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from causal_diffusers.metrics.distance import SamplingFloor

__all__ = ["KernelTest", "kernel_two_sample_test", "squared_mmd", "unbiased_mmd"]


@dataclasses.dataclass(frozen=True)
class KernelTest:
    r"""The outcome of a two-sample test.

    Arguments:
        value: $\mathrm{MMD}^2$ of the two samples.
        floor: What it is when the pooled sample is dealt anew.
        p_value: The share of deals that reach `value`, the actual one among them.

    Example:
        >>> print(KernelTest(0.05, SamplingFloor(0.0, 0.002), p_value=0.001))
        MMD^2 .0500 (equal samples: below .0020 in 95 runs of 100), p = .001
    """

    value: float
    floor: SamplingFloor
    p_value: float

    def __str__(self) -> str:
        """Write value, floor and p-value."""
        value, upper = (f"{v:.4f}".replace("0.", ".", 1) for v in (self.value, self.floor.upper))
        return (
            f"MMD^2 {value} (equal samples: below {upper} in 95 runs of 100), "
            f"p = {self.p_value:.3f}".replace("= 0.", "= .")
        )


def squared_mmd(x: Tensor, y: Tensor, *, bandwidth: float | None = None) -> Tensor:
    r"""Measure $\mathrm{MMD}^2$ between two samples, without bias.

    References:
        Gretton et al. (2012), Lemma 6, Eq. 3.

    Arguments:
        x: Vectors with shape (m, d), m at least 2; what has more dimensions is flattened.
        y: Vectors with shape (n, d), n at least 2.
        bandwidth: $\sigma$; the median distance of the pooled sample if None.

    Returns:
        A number; slightly negative values occur, and mean zero.

    Raises:
        ValueError: If the samples differ in d, or one has fewer than two rows.

    Example:
        >>> x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
        >>> bool(squared_mmd(x, x + 3) > squared_mmd(x, x.flip(1)))
        True
    """
    x, y = _vectors(x, y)
    return unbiased_mmd(_gram(torch.cat([x, y]), bandwidth), len(x))


def kernel_two_sample_test(
    x: Tensor,
    y: Tensor,
    *,
    generator: torch.Generator,
    repeats: int = 500,
    bandwidth: float | None = None,
) -> KernelTest:
    r"""Test by permutation whether two samples come from one distribution.

    Memory is $(m + n)^2$ numbers: draw a few thousand rows of larger samples.

    References:
        Gretton et al. (2012), Sec. 8.

    Arguments:
        x: Vectors with shape (m, d), m at least 2.
        y: Vectors with shape (n, d), n at least 2.
        generator: The source of randomness.
        repeats: How often the pooled sample is dealt anew.
        bandwidth: $\sigma$; the median distance of the pooled sample if None.

    Returns:
        The value, its floor and the p-value.

    Raises:
        ValueError: If the samples differ in d, one has fewer than two rows, or `repeats`
            is not positive.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> x = torch.randn(60, 2, generator=generator)
        >>> kernel_two_sample_test(x, x + 2, generator=generator).p_value < 0.01
        True
    """
    if repeats < 1:
        raise ValueError(f"`repeats` must be at least 1: got {repeats}.")
    x, y = _vectors(x, y)
    gram = _gram(torch.cat([x, y]), bandwidth)
    value = unbiased_mmd(gram, len(x))
    dealt = []
    for _ in range(repeats):
        order = torch.randperm(len(gram), generator=generator)
        dealt.append(unbiased_mmd(gram, len(x), order))
    null = torch.stack(dealt)
    reached = int((null >= value - 1e-12).sum())
    return KernelTest(value.item(), SamplingFloor.of(null), (1 + reached) / (1 + repeats))


def unbiased_mmd(gram: Tensor, m: int, order: Tensor | None = None) -> Tensor:
    """Compute the statistic from a kernel matrix.

    Arguments:
        gram: The kernel of the pooled sample, with shape (m + n, m + n).
        m: How many of its rows are the first sample.
        order: The rows in another order, with shape (m + n,); as they are if None.

    Returns:
        A number.

    Example:
        >>> unbiased_mmd(torch.eye(4), 2).item()
        0.0
    """
    total = len(gram)
    first = torch.zeros(total, dtype=gram.dtype, device=gram.device)
    first[slice(m) if order is None else order[:m]] = 1
    by_row = gram @ first  # the kernel of each row with the first sample, summed
    within, diagonal = first @ by_row, gram.diagonal()
    across = by_row.sum() - within
    rest = gram.sum() - within - 2 * across
    n, own = total - m, first @ diagonal
    other = diagonal.sum() - own
    return (within - own) / (m * (m - 1)) + (rest - other) / (n * (n - 1)) - 2 * across / (m * n)


def _gram(z: Tensor, bandwidth: float | None) -> Tensor:
    distances = torch.cdist(z, z)
    if bandwidth is None:
        apart = distances[torch.triu_indices(len(z), len(z), 1).unbind()]
        bandwidth = apart.median().item() or 1.0
    return (-0.5 * (distances / bandwidth) ** 2).exp()


def _vectors(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    x, y = (z.detach().cpu() for z in (x, y))  # as the generators are
    x, y = (z.flatten(1) if z.dim() > 1 else z[:, None] for z in (x, y))
    if x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(
            "two samples need at least two rows each, of the same length: got shapes "
            f"{tuple(x.shape)} and {tuple(y.shape)}."
        )
    return x.double(), y.double()
