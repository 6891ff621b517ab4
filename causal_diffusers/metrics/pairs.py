r"""Shown a real value and one of a model beside the same past, can a network tell which is real?

Given its past, a value of a perfect model and the real one are exchangeable. So whatever
a network that did not see the pair prefers, it points at the real one in half of the
cases: the number of times that it does is binomial, exactly, and

$$ P(\text{right}) - \tfrac12 \le \tfrac12\, E[\delta\,(2 - \delta)] \le E\,\delta, \qquad
   \delta = \mathrm{TV}\big(p(\cdot \mid past), q(\cdot \mid past)\big) , $$

so a share of right choices says how wrong the model is at least. The networks are
cross-fitted: each judges the pairs of the other half.

A row that occurs again, past and real value alike, is in the same half, for a network knows
what it saw; and its $n$ choices are no $n$ independent ones, so it counts with the variance
of a single choice that weighs $n$. Rows of labels alone, which repeat by nature, are dealt
one by one.

References:
    Revisiting classifier two-sample tests (Lopez-Paz & Oquab, 2017), Sec. 3.
    Signal detection theory and psychophysics (Green & Swets, 1966), Ch. 2: forced choice.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from causal_diffusers.metrics.bootstrap import Interval, wilson_interval
from causal_diffusers.metrics.propensity import folds_of, train_reader

__all__ = ["PairedChoice", "paired_choice"]


@dataclasses.dataclass(frozen=True)
class PairedChoice:
    """How often a network pointed at the real one of two values.

    Arguments:
        share: How often, with its interval; one half is chance.
        p_value: How often chance does at least as well.

    Example:
        >>> PairedChoice(wilson_interval(10, 20), 0.59).share.estimate
        0.5
    """

    share: Interval
    p_value: float


def paired_choice(past: Tensor, real: Tensor, made: Tensor, *, seed: int = 0) -> PairedChoice:
    """Let cross-fitted networks choose between real values and those of a model.

    References:
        Lopez-Paz & Oquab (2017), Sec. 3.

    Arguments:
        past: What both values of a row were made from, with shape (N, d); d may be 0.
        real: The real values, with shape (N, k).
        made: The values of the model, with shape (N, k).
        seed: Where the halves and the initial weights come from.

    Returns:
        The share of right choices and its p-value, one-sided.

    Raises:
        ValueError: If there are fewer than four rows.

    Example:
        >>> x, e = torch.randn(2, 400, 1, generator=torch.Generator().manual_seed(0))
        >>> paired_choice(x, x + 0.1 * e, e).p_value < 0.01
        True
    """
    number = len(real)
    if number < 4:
        raise ValueError(f"`paired_choice` needs at least four rows: got {number}.")
    values = torch.cat([real, made]).float()
    values = (values - values.mean(dim=0)) / values.std(dim=0, correction=0).clamp(min=1e-3)
    seen = torch.cat([past.float().repeat(2, 1), values], dim=1)
    is_real = (torch.arange(2 * number) < number).long()
    which = _distinct(torch.cat([past.float(), real.float()], dim=1))
    fold = folds_of(which[:, None], seed)
    right = torch.zeros(number, dtype=torch.float64)
    for held in range(2):
        fit, own = (fold != held).repeat(2), fold == held
        reader = train_reader(seen[fit], is_real[fit], 2, seed=seed)
        score = reader(seen[own.repeat(2)])[:, 1]
        one, other = score.chunk(2)
        right[own] = (one > other).double() + 0.5 * (one == other)
    return _count(right.sum().item(), torch.bincount(which))


def _distinct(rows: Tensor) -> Tensor:
    """Number the rows, copies alike; those of labels alone, one-hot, are no copies."""
    edges = rows.amin(dim=0), rows.amax(dim=0)
    if bool(((rows == edges[0]) | (rows == edges[1])).all()):
        return torch.arange(len(rows))
    return rows.unique(dim=0, return_inverse=True)[1]


def _count(right: float, copies: Tensor) -> PairedChoice:
    """Judge the choices of rows that occur so often, as if all copies were decided at once."""
    number, squares = int(copies.sum()), int(copies.square().sum())
    z = (right - 0.5 - number / 2) / math.sqrt(squares / 4)
    decided = number**2 / squares  # the number itself, if no row is a copy
    shown = wilson_interval(math.floor(right * decided / number), math.floor(decided))
    return PairedChoice(shown, 0.5 * math.erfc(z / 2**0.5))
