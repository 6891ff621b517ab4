r"""How many of the images show what was asked for?

An independent classifier reads the images, and

$$ \text{agreement} = \frac1n \sum_{i=1}^n 1[\text{read}_i = \text{asked}_i] . $$

It is read beside the agreement on real images: no generator can be expected to beat what
the classifier scores there.

References:
    Conditional image synthesis with auxiliary classifier GANs (Odena, Olah & Shlens,
    2017), Sec. 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from causal_diffusers.metrics.bootstrap import Interval, wilson_interval

__all__ = ["classifier_agreement"]


def classifier_agreement(
    asked: Tensor | Sequence[object], read: Tensor | Sequence[object], *, level: float = 0.95
) -> Interval:
    """Give the share of images read as asked, with Wilson's interval.

    References:
        Odena, Olah & Shlens (2017), Sec. 4.2; Wilson (1927).

    Arguments:
        asked: What each image should show, N labels or codes.
        read: What a classifier reads in it, N labels or codes of the same kind.
        level: How often such intervals hold the truth, in (0, 1).

    Returns:
        The share, with its interval.

    Raises:
        ValueError: If the two differ in length, or are empty.

    Example:
        >>> classifier_agreement(["cat", "dog", "dog"], ["cat", "dog", "cat"]).estimate == 2 / 3
        True
    """
    pair = [v.tolist() if isinstance(v, Tensor) else list(v) for v in (asked, read)]
    if len(pair[0]) != len(pair[1]) or not pair[0]:
        raise ValueError(
            "`asked` and `read` need one entry for each image, at least one: got "
            f"{len(pair[0])} and {len(pair[1])}."
        )
    right = sum(a == b for a, b in zip(*pair, strict=True))
    return wilson_interval(right, len(pair[0]), level=level)
