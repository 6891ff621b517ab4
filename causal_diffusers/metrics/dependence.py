r"""Do two things vary together once a third is known?

With $\epsilon_a = a - E[a \mid z]$ and $\epsilon_b = b - E[b \mid z]$, independence given
$z$ makes every $E[\epsilon_a \epsilon_b \mid z]$ vanish. Features of $a$ and $b$ stand for
them (one-hot labels, the eighths of a number, what an image shows), products are taken in
every stratum of $z$ if it is made of labels, and

$$ T = \max_j \Big| \sum_i w_i \epsilon_{a,i} \epsilon_{b,i} \Big|_j \Big/
   \Big( \sum_i w_i^2 \epsilon_{a,i}^2 \epsilon_{b,i}^2 \Big)_j^{1/2} $$

is compared with what it is for rows multiplied by standard normal numbers, and where none
of these is as large, with the union bound of as many normal tails. To estimate
$E[\cdot \mid z]$ costs nothing to first order, for two errors are multiplied; to estimate
weights $w$ makes the test conservative, as in inverse probability weighting.

References:
    The hardness of conditional independence testing and the generalised covariance measure
    (Shah & Peters, 2020), Sec. 3.
    Gaussian approximations and multiplier bootstrap for maxima of sums (Chernozhukov,
    Chetverikov & Kato, 2013).
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor
from torch.nn.functional import one_hot

__all__ = ["DependenceTest", "conditional_dependence"]

_FEWEST = 5.0  # expected rows in each cell of a two by two table
_FOLDS, _WAVES = 5, 200
_RIDGES = tuple(10.0**k for k in range(-3, 4))


@dataclasses.dataclass(frozen=True)
class DependenceTest:
    """The result of a test of conditional independence.

    Arguments:
        p_value: How often independence would look as dependent as this.
        correlation: The largest partial correlation of two features, in [0, 1].
        num_terms: How many products were looked at; none if there were too few rows.

    Example:
        >>> print(DependenceTest(0.031, 0.12, 4))
        p = 0.031, partial correlation .12
    """

    p_value: float
    correlation: float
    num_terms: int

    def __str__(self) -> str:
        """Write the p-value and the size of the dependence."""
        if not self.num_terms:
            return "too few rows"
        size = f"{self.correlation:.2f}".lstrip("0")
        return f"p = {self.p_value:.2g}, partial correlation {size}"


@torch.no_grad()
def conditional_dependence(
    a: Tensor,
    b: Tensor,
    *,
    strata: Tensor | None = None,
    given: Tensor | None = None,
    weights: Tensor | None = None,
    generator: torch.Generator,
    repeats: int = 500,
) -> DependenceTest:
    r"""Test whether $a$ is independent of $b$ given $z$.

    References:
        Shah & Peters (2020), Sec. 3; Chernozhukov, Chetverikov & Kato (2013).

    Arguments:
        a: Features of the one, with shape (N, p).
        b: Features of the other, with shape (N, q).
        strata: $z$ as codes of its strata, integers with shape (N,).
        given: $z$ as features to regress on, with shape (N, d), beside the strata or
            without; with it, products are not told apart by stratum.
        weights: The weights $w$ of the rows, with shape (N,); all alike if None.
        generator: The source of the folds and of the multipliers.
        repeats: How many multiplied copies are drawn.

    Returns:
        The test. Products that too few rows speak of are left out.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> z = torch.randint(2, (2000,), generator=generator)
        >>> a, b = (z[:, None] + torch.randn(2000, 1, generator=generator) for _ in "ab")
        >>> conditional_dependence(a, b, generator=generator).p_value < 0.01
        True
        >>> conditional_dependence(a, b, strata=z, generator=generator).p_value > 0.01
        True
    """
    a, b = a.double(), b.double()
    w = torch.ones(len(a), dtype=torch.float64) if weights is None else weights.double()
    w = w / w.mean()
    group = torch.zeros(len(a), dtype=torch.int64)
    if strata is not None:
        group = strata.unique(return_inverse=True)[1]
    if given is None:
        a, b = (x - _means(x, group, w)[group] for x in (a, b))
    else:
        z = torch.cat([given.double(), one_hot(group).double()], dim=1)
        a, b = (x - _regress(x, z, generator) for x in (a, b))
        group = torch.zeros_like(group)
    terms, sizes = _products(a, b, group, w)
    if not terms.shape[1]:
        return DependenceTest(1.0, 0.0, 0)
    spread = terms.square().sum(dim=0).sqrt().clamp(min=1e-12)
    found = (terms.sum(dim=0).abs() / spread).max()
    scaled, worse = (terms / spread).float(), 0
    for count in (min(250, repeats - start) for start in range(0, repeats, 250)):
        noise = torch.randn(count, len(a), generator=generator)
        worse += int(((noise @ scaled).abs().amax(dim=1) >= found).sum())
    p_value = (1 + worse) / (1 + repeats)
    if not worse:
        p_value = min(p_value, terms.shape[1] * math.erfc(found.item() / math.sqrt(2)))
    correlation = (terms.sum(dim=0).abs() / sizes).max()
    return DependenceTest(p_value, min(1.0, correlation.item()), terms.shape[1])


def _means(x: Tensor, group: Tensor, w: Tensor) -> Tensor:
    """Average features in each stratum, with shape (S, p)."""
    size = int(group.max()) + 1
    total = torch.zeros(size, dtype=torch.float64).index_add(0, group, w)
    summed = torch.zeros(size, x.shape[1], dtype=torch.float64).index_add(0, group, w[:, None] * x)
    return summed / total[:, None]


def _products(a: Tensor, b: Tensor, group: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply residuals in every stratum that has enough rows for it, (N, terms).

    Beside them the sizes that make correlations of their sums.
    """
    terms, sizes = [], []
    for stratum in range(int(group.max()) + 1):
        mine = group == stratum
        inside, own = torch.where(mine, w, 0.0), w[mine]
        effective = own.sum().square() / own.square().sum()
        rare = [_rarity(x[mine], own) for x in (a, b)]
        enough = (effective * rare[0][:, None] * rare[1][None, :] >= _FEWEST).flatten()
        product = (inside[:, None, None] * a[:, :, None] * b[:, None, :]).flatten(1)
        norms = [(own[:, None] * x[mine].square()).sum(dim=0).sqrt() for x in (a, b)]
        size = (norms[0][:, None] * norms[1][None, :]).flatten()
        keep = enough & (size > 1e-9)
        terms.append(product[:, keep])
        sizes.append(size[keep])
    return torch.cat(terms, dim=1), torch.cat(sizes)


def _rarity(residuals: Tensor, w: Tensor) -> Tensor:
    """Say which share of the rows is on the rarer side, for each feature; 1/2 for numbers."""
    above = (w[:, None] * (residuals > 0)).sum(dim=0) / w.sum()
    return torch.minimum(above, 1 - above)


def _regress(x: Tensor, z: Tensor, generator: torch.Generator) -> Tensor:
    """Predict features from others: ridge on random waves, cross-fitted."""
    z = (z - z.mean(dim=0)) / z.std(dim=0).clamp(min=1e-6)
    frequencies = torch.randn(z.shape[1], _WAVES, generator=generator, dtype=torch.float64)
    phases = 2 * math.pi * torch.rand(_WAVES, generator=generator, dtype=torch.float64)
    waves = torch.cos(z @ frequencies / math.sqrt(z.shape[1]) + phases)
    design = torch.cat([torch.ones(len(z), 1, dtype=torch.float64), z, waves], dim=1)
    fold = torch.randperm(len(z), generator=generator) % _FOLDS
    predicted = {ridge: torch.empty_like(x) for ridge in _RIDGES}
    for k in range(_FOLDS):
        inside = fold != k
        D, y = design[inside], x[inside]
        values, vectors = torch.linalg.eigh(D.T @ D)
        projected = vectors.T @ (D.T @ y)
        for ridge, guess in predicted.items():
            beta = vectors @ (projected / (values + ridge)[:, None])
            guess[~inside] = design[~inside] @ beta
    errors = {ridge: (x - guess).square().mean() for ridge, guess in predicted.items()}
    return predicted[min(errors, key=lambda ridge: errors[ridge].item())]
