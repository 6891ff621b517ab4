r"""How sure is a figure that was computed from a sample?

A share $k / n$ has Wilson's interval, the shares $p$ that a score test does not reject,

$$ \frac{\hat p + \frac{z^2}{2n} \pm z \sqrt{\frac{\hat p (1 - \hat p)}{n}
   + \frac{z^2}{4 n^2}}}{1 + \frac{z^2}{n}} \, , $$

which keeps its level at 0 and 1, where the textbook interval has length zero. Anything
else has the percentiles of what it is on samples drawn anew, with replacement, from the
sample.

References:
    Probable inference, the law of succession, and statistical inference (Wilson, 1927).
    An introduction to the bootstrap (Efron & Tibshirani, 1993), Ch. 13.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Interval", "bootstrap_interval", "wilson_interval"]


@dataclasses.dataclass(frozen=True)
class Interval:
    """A figure, and the range in which it is known to lie.

    Arguments:
        estimate: The figure.
        low: The lower end.
        high: The upper end.
        level: How often such intervals hold the truth.

    Example:
        >>> print(Interval(0.951, 0.94, 0.96))
        .951 [.940, .960]
        >>> 0.95 in Interval(0.951, 0.94, 0.96)
        True
    """

    estimate: float
    low: float
    high: float
    level: float = 0.95

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        """Write the figure and both ends."""
        figure, low, high = map(_short, (self.estimate, self.low, self.high))
        return f"{figure} [{low}, {high}]"


def wilson_interval(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """Give the interval of a share.

    References:
        Wilson (1927).

    Arguments:
        successes: How often it was so, k.
        trials: How often it was tried, n.
        level: How often such intervals hold the truth, in (0, 1).

    Returns:
        $k / n$ with its interval, within [0, 1].

    Raises:
        ValueError: If there is no trial, k is not in 0..n, or the level not in (0, 1).

    Example:
        >>> interval = wilson_interval(50, 50)
        >>> interval.estimate == interval.high == 1, 0.9 < interval.low < 1
        (True, True)
    """
    _check_level(level)
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(
            "`wilson_interval` needs successes among at least one trial: got "
            f"{successes} of {trials}."
        )
    share, z2 = successes / trials, _normal_quantile(0.5 + level / 2) ** 2 / trials
    middle = (share + z2 / 2) / (1 + z2)
    half = (z2 * share * (1 - share) + z2**2 / 4) ** 0.5 / (1 + z2)
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == trials else middle + half
    return Interval(share, low, high, level)


def bootstrap_interval(
    statistic: Callable[..., Tensor | float],
    *samples: Tensor,
    generator: torch.Generator,
    repeats: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Give the percentile interval of any statistic.

    The samples are drawn anew independently of each other. Columns that belong to the
    same rows are one sample: stack them, or pass row numbers.

    References:
        Efron & Tibshirani (1993), Ch. 13.

    Arguments:
        statistic: A function of the samples that gives one number.
        samples: Tensors with shape (N, ...), each with its own N.
        generator: The source of randomness.
        repeats: How often the samples are drawn anew.
        level: How often such intervals hold the truth, in (0, 1).

    Returns:
        The statistic of the samples themselves, with its interval.

    Raises:
        ValueError: If a sample is empty, `repeats` is not positive, or the level not in
            (0, 1).

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> heights = torch.randn(400, generator=generator)
        >>> 0.0 in bootstrap_interval(torch.mean, heights, generator=generator)
        True
    """
    _check_level(level)
    if repeats < 1 or not samples or not all(len(sample) for sample in samples):
        raise ValueError(
            "`bootstrap_interval` needs samples with at least one row, and at least one repeat: "
            f"got {[len(sample) for sample in samples]} rows and repeats={repeats}."
        )
    figures = torch.tensor(
        [float(statistic(*resampled(samples, generator))) for _ in range(repeats)],
        dtype=torch.float64,
    )
    low, high = figures.quantile(torch.tensor([0.5 - level / 2, 0.5 + level / 2]).double())
    return Interval(float(statistic(*samples)), low.item(), high.item(), level)


def resampled(samples: tuple[Tensor, ...], generator: torch.Generator) -> list[Tensor]:
    """Draw the rows of each sample anew, with replacement."""
    sizes = [len(sample) for sample in samples]
    rows = [torch.randint(size, (size,), generator=generator) for size in sizes]
    return [sample[index] for sample, index in zip(samples, rows, strict=True)]


def _normal_quantile(probability: float) -> float:
    return torch.special.ndtri(torch.tensor(probability, dtype=torch.float64)).item()


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"`level` is in (0, 1), such as .95: got {level}.")


def _short(value: float) -> str:
    """Write three decimals, without a zero in front of the point."""
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
