r"""What of a data set does the network see? Moments, whatever the number of samples.

Of linear models with Gaussian noise the covariance $S$ and $n$ are sufficient. The noise of
others shows in the third and fourth moments of the standardised variables $z$,

$$ E[z_i^2 z_j] , \qquad E[z_i^3 z_j] - 3 \rho_{ij} , $$

which are zero where all is Gaussian, and tell cause from effect where it is not; and what a
cubic of $z_i$ explains of $z_j$ beyond a straight line shows a bent mechanism. Whatever
the unit of measurement, a summary is in units of the noise: of its known deviation, or of
the least variable's.

References:
    Pairwise likelihood ratios for estimation of non-Gaussian structural equation models
    (Hyvarinen & Smith, 2013), Sec. 3.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from causal_diffusers.discovery.ordering import least_variance_order

__all__ = ["TOLD", "Summary"]

TOLD = 18  # features of a pair, with the three that `ADAG` is told beforehand


@dataclasses.dataclass(frozen=True, eq=False)
class Summary:
    """The moments of data sets with the same variables.

    Arguments:
        covariance: With shape (B, d, d), in units of the noise.
        third: Of $z_i^2 z_j$, with shape (B, d, d).
        fourth: Of $z_i^3 z_j$, less what a Gaussian has, with shape (B, d, d).
        bend: The share of $z_j$ that a cubic of $z_i$ explains beyond a line, likewise.
        unit: The unit, in that of the data, with shape (B,).
        count: How many samples, less one, with shape (B,).
        knows_noise: Whether the unit is the known deviation of the noise, with shape (B,).

    Example:
        >>> x = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0))
        >>> Summary.of(x).covariance.shape
        torch.Size([2, 3, 3])
    """

    covariance: Tensor
    third: Tensor
    fourth: Tensor
    bend: Tensor
    unit: Tensor
    count: Tensor
    knows_noise: Tensor

    @classmethod
    def of(cls, data: Tensor, deviation: Tensor | float | None = None) -> Summary:
        """Summarise data sets.

        Arguments:
            data: The samples, with shape (B, n, d).
            deviation: The standard deviation of the noise, if known: one number, or
                one for each data set, NaN where it is not known.

        Returns:
            Their summary, in double precision.
        """
        data = data.double()  # in single precision a covariance may have negative eigenvalues
        told = torch.nan if deviation is None else deviation
        told = torch.as_tensor(told, dtype=data.dtype, device=data.device).expand(len(data))
        x = data - data.mean(dim=1, keepdim=True)
        count = data.shape[1] - 1
        covariance = x.mT @ x / count
        spread = covariance.diagonal(dim1=1, dim2=2).sqrt()
        knows = ~told.isnan()
        unit = torch.where(knows, told, spread.min(dim=1).values)
        z = x / spread[:, None]
        third = (z**2).mT @ z / count
        fourth = (z**3).mT @ z / count - 3 * z.mT @ z / count
        bend = _bend(z)
        return cls(
            covariance / unit[:, None, None] ** 2,
            third,
            fourth,
            bend,
            unit,
            torch.full_like(unit, count),
            knows,
        )

    def features(self) -> Tensor:
        """Give what is told of each ordered pair, with shape (B, d, d, 15)."""
        S = self.covariance
        d = S.shape[1]
        variance = S.diagonal(dim1=1, dim2=2)
        correlation = S / (variance[:, :, None] * variance[:, None, :]).sqrt()
        root = self.count.sqrt()[:, None, None]
        levels = variance.log()
        place, left = least_variance_order(S, self.count)
        later = (place[:, None, :] - place[:, :, None]) / d
        left = left.clamp(min=1e-3).log() / 2
        columns = [
            later,
            left[:, :, None].expand_as(S),
            left[:, None, :].expand_as(S),
            correlation,
            (root * correlation.clamp(-0.9999, 0.9999).atanh()).asinh() / 3,
            levels[:, :, None].expand_as(S) / 4,
            levels[:, None, :].expand_as(S) / 4,
            (root * self.third).asinh() / 3,
            (root * self.third.mT).asinh() / 3,
            (root * self.fourth / 5).asinh() / 3,
            (root * self.fourth.mT / 5).asinh() / 3,
            (self.count[:, None, None] * self.bend).clamp(min=0).add(1).log() / 4,
            (self.count[:, None, None] * self.bend.mT).clamp(min=0).add(1).log() / 4,
            (self.count.log()[:, None, None] / 7).expand_as(S),
            self.knows_noise.to(S)[:, None, None].expand_as(S),
        ]
        return torch.stack(columns, dim=-1) * (1 - torch.eye(d, device=S.device))[..., None]


def _bend(z: Tensor) -> Tensor:
    """Regress each variable on the cubic of each other one; give what bending explains."""
    n = z.shape[1]
    basis = torch.stack([z, z**2 - 1, z**3 - 3 * z], dim=-1)  # (B, n, d, 3)
    basis = basis - basis.mean(dim=1, keepdim=True)
    gram = torch.einsum("bnik,bnil->bikl", basis, basis) / n
    gram = gram + 1e-3 * gram.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] * torch.eye(
        3, device=z.device
    )
    cross = torch.einsum("bnik,bnj->bikj", basis, z) / n
    explained = (cross * torch.linalg.solve(gram, cross)).sum(dim=2)
    line = cross[:, :, 0] ** 2 / gram[:, :, 0, 0, None]
    return (explained - line).clamp(0, 1)
