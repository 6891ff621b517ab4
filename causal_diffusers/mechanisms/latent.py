r"""How the latent of a frozen generator listens: $z = h(c, \varepsilon)$, an invertible map.

Affine couplings: each keeps one half of the coordinates and moves the other,

$$ z_b = \varepsilon_b \odot e^{s(\varepsilon_a, c)} + t(\varepsilon_a, c) , $$

so that the density is known, $\log q(z \mid c) = \log N(\varepsilon; 0, I) - \sum s$. At
the start $s = t = 0$ and $z = \varepsilon$, bit for bit.

References:
    Density estimation using real NVP (Dinh, Sohl-Dickstein & Bengio, 2017), Sec. 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["LatentMap", "log_normal"]


def log_normal(eps: Tensor) -> Tensor:
    r"""Compute $\log N(\varepsilon; 0, I)$ of vectors (..., dim), with shape (...).

    Example:
        >>> log_normal(torch.zeros(3, 2)).shape
        torch.Size([3])
    """
    return -0.5 * (eps.square() + math.log(2 * math.pi)).sum(dim=-1)


class LatentMap(nn.Module):
    r"""The map $h(c, \cdot)$ from noise to latents, and its density.

    Arguments:
        dim: The length of the latents, at least 2.
        context_features: The width of the context $c$.
        couplings: How many; each moves the half that the one before it kept.
        width: The width of the hidden layer of $(s, t)$.

    Example:
        >>> h, c = LatentMap(4, 3), torch.ones(2, 3)
        >>> eps = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
        >>> torch.equal(h(eps, c), eps)
        True
    """

    def __init__(
        self, dim: int, context_features: int, *, couplings: int = 6, width: int = 128
    ) -> None:
        super().__init__()
        self.halves = [list(range(i % 2, dim, 2)) for i in range(couplings)]  # which are moved
        self.dim = dim
        self.networks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(dim - len(moved) + context_features, width),
                nn.SiLU(),
                nn.Linear(width, 2 * len(moved)),
            )
            for moved in self.halves
        )
        for network in self.networks:
            last = network[-1]  # type: ignore[index]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, eps: Tensor, context: Tensor) -> Tensor:
        """Turn noise (..., dim) into latents (..., dim), told by a context (..., features)."""
        z = eps
        for index in range(len(self.halves)):
            s, t, moved = self._couple(index, z, context)
            z = self._replace(z, moved, z[..., moved] * s.exp() + t)
        return z

    def log_prob(self, z: Tensor, context: Tensor) -> Tensor:
        r"""Compute $\log q(z \mid c)$ of latents (..., dim), with shape (...)."""
        eps, volume = z, torch.zeros_like(z[..., 0])
        for index in reversed(range(len(self.halves))):
            s, t, moved = self._couple(index, eps, context)
            eps = self._replace(eps, moved, (eps[..., moved] - t) * (-s).exp())
            volume = volume + s.sum(dim=-1)
        return log_normal(eps) - volume

    def _couple(self, index: int, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor, list[int]]:
        moved, kept = self.halves[index], self._other(index)
        s, t = self.networks[index](torch.cat([x[..., kept], context], dim=-1)).chunk(2, dim=-1)
        return 2 * (s / 2).tanh(), t, moved  # a scale between 1/7 and 7

    def _other(self, index: int) -> list[int]:
        return list(range(1 - index % 2, self.dim, 2))

    @staticmethod
    def _replace(x: Tensor, moved: list[int], values: Tensor) -> Tensor:
        x = x.clone()
        x[..., moved] = values
        return x
