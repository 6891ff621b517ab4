r"""Does a value lie where a model expects it? Its rank among draws of the model.

If $x$ and R draws $x^{(1)} \dots x^{(R)}$ come from one distribution, which may be another
in each row, then

$$ u = \frac{\#\{r : x^{(r)} < x\} + \epsilon}{R + 1}, \qquad \epsilon \sim U(0, 1) , $$

is uniform on [0, 1]: it is the probability integral transform, by sampling. How far the
$u$ of N rows are from uniform is Kolmogorov's $\sup_t |F_N(t) - t|$, with its own law.

References:
    Remarks on a multivariate transformation (Rosenblatt, 1952).
    Validating Bayesian inference algorithms with simulation-based calibration (Talts,
    Betancourt, Simpson, Vehtari & Gelman, 2018), Theorem 1.
    Use of the Kolmogorov-Smirnov and related statistics (Stephens, 1970), Table 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["kolmogorov_distance", "kolmogorov_tail", "uniform_ranks"]


def uniform_ranks(real: Tensor, drawn: Tensor, *, generator: torch.Generator) -> Tensor:
    r"""Place real values among draws of a model, row by row.

    References:
        Talts et al. (2018), Theorem 1.

    Arguments:
        real: The real values, with shape (N,).
        drawn: R draws for each of them, with shape (R, N).
        generator: The source of the $\epsilon$, which also breaks ties.

    Returns:
        Ranks in [0, 1], with shape (N,); uniform if the model is true.

    Example:
        >>> drawn = torch.arange(9.0)[:, None]
        >>> u = uniform_ranks(torch.tensor([-1.0]), drawn, generator=torch.Generator())
        >>> bool(u < 0.1)
        True
    """
    below = (drawn < real).sum(dim=0) + 0.0
    same = (drawn == real).sum(dim=0)
    eps = torch.rand(len(real), generator=generator, dtype=torch.float64)
    return (below + eps * (same + 1)) / (len(drawn) + 1)


def kolmogorov_distance(u: Tensor) -> float:
    r"""Measure $\sup_t |F_N(t) - t|$ of numbers that should be uniform on [0, 1].

    References:
        Stephens (1970).

    Arguments:
        u: Numbers in [0, 1], with shape (N,).

    Returns:
        The distance, in [0, 1].

    Example:
        >>> kolmogorov_distance(torch.tensor([0.25, 0.75]))
        0.25
    """
    ordered, number = u.double().sort().values, len(u)
    steps = torch.arange(number + 1, dtype=torch.float64) / number
    return torch.maximum(steps[1:] - ordered, ordered - steps[:-1]).max().item()


def kolmogorov_tail(distance: float, number: float) -> float:
    r"""Give the probability that N uniform numbers are at least so far from uniform.

    $2 \sum_k (-1)^{k-1} e^{-2 k^2 \lambda^2}$ with $\lambda = (\sqrt N + .12 + .11 / \sqrt N) D$.

    References:
        Stephens (1970), Table 1.

    Arguments:
        distance: Kolmogorov's distance D.
        number: N.

    Returns:
        The p-value.

    Example:
        >>> kolmogorov_tail(0.5, 100) < 1e-6 < 0.9 < kolmogorov_tail(0.01, 100)
        True
    """
    root = math.sqrt(number)
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.3:
        return 1.0
    terms = ((-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, 2 * math.fsum(terms)))
