r"""Bayes in the place of conditioning: how well does an image of the generator fit its parents?

A generator that makes images $I \sim p_G$ and knows no parents is conditioned by

$$ p(I \mid pa) \propto p_G(I) \, \rho(I) \, p(pa \mid I) , \qquad
   \rho = p_{data} / p_G . $$

Both factors are read off data. $p(pa \mid I) = \prod_k p(pa_k \mid pa_{<k}, I)$ is a
classifier. $\rho$ is the odds of another one, that tells images of the data from images of
the generator. It sees no more than a summary of what the first has seen,

$$ T(I) = (\text{features}, \; p(pa_k \mid I), \; \log(1.01 - \max p(pa_k \mid I))) , $$

blurred, when it is trained, by Gaussian noise. So it moves how often each kind of image
comes, which a generator trained on other data has wrong; and how often an image comes that
could be this or that, which a generator makes too often. It cannot tell a generated image
by its brush strokes, which would leave but a few: they drown in the noise, and the odds
are bounded, $\rho < e^c$.

References:
    Discriminator rejection sampling (Azadi, Olsson, Darrell, Goodfellow & Odena, 2019), Sec. 3.
    Truncated importance sampling (Ionides, 2008), Sec. 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn
from torch.nn.functional import one_hot, softplus

from causal_diffusers.variables import Categorical, Image, Variable

__all__ = ["Reader", "unreadable"]

_BLUR = 0.3, 0.1  # of features, whose scale is 1, and of what is read off them
_SURE = 0.01  # what is read with less doubt than this is as clear as can be
_BOUND = 2.5  # of the log-odds: no kind of image is made more than 12 times as frequent


def unreadable(parents: Mapping[str, Variable]) -> list[str]:
    """List the parents that a classifier cannot read off an image.

    Arguments:
        parents: The parents, by name.

    Returns:
        The names of those that are not categorical.

    Example:
        >>> unreadable({"X": Categorical("ab"), "J": Image(1, 8, 8)})
        ['J']
    """
    return sorted(name for name, v in parents.items() if not isinstance(v, Categorical))


class Reader(nn.Module):
    r"""The classifier $p(pa \mid I)$ and the log-odds $\log \rho(I)$.

    Images are seen once, as features; what follows is cheap, and works on features.

    Arguments:
        image: The variable that is read.
        parents: Its parents, all categorical.
        width: The number of features, and the width of the hidden layer of each
            $p(pa_k \mid pa_{<k}, I)$.

    Example:
        >>> reader = Reader(Image(1, 8, 8), {"X": Categorical("ab")})
        >>> seen = reader.see(torch.zeros(5, 1, 8, 8))
        >>> torch.allclose(reader.log_odds(seen), torch.zeros(5), atol=1e-6)
        True
        >>> reader.log_prob(seen, {"X": torch.zeros(5, dtype=torch.int64)}).shape
        torch.Size([5])
    """

    def __init__(self, image: Image, parents: Mapping[str, Variable], width: int = 128) -> None:
        super().__init__()
        self.sizes = {n: len(v.labels) for n, v in parents.items() if isinstance(v, Categorical)}
        side = min(image.height, 8), min(image.width, 8)
        self.eye: nn.Module = _eye(image, width)
        self.features = width
        if not parents:  # nothing would train convolutions
            self.eye = nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten())
            self.features = image.channels * side[0] * side[1]
        self.heads, told = nn.ModuleDict(), self.features
        for name, size in self.sizes.items():
            layers = nn.Linear(told, width), nn.SiLU(), nn.Linear(width, size)
            self.heads[name] = nn.Sequential(*layers)
            told += size
        hidden = [nn.Linear(told + len(self.sizes), width // 2), nn.SiLU()] if parents else []
        last = nn.Linear(width // 2 if parents else told, 1)  # of bare pixels, a linear one
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.odds = nn.Sequential(*hidden, last)

    def see(self, images: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into features (B, features)."""
        return self.eye(images.to(self.odds[-1].weight.dtype))  # type: ignore[union-attr]

    def log_odds(self, seen: Tensor, blur: torch.Generator | None = None) -> Tensor:
        r"""Compute $\log \rho(I)$; what is seen is taken as it is, not trained for it.

        Arguments:
            seen: Features with shape (..., features).
            blur: The source of the noise that the odds are trained under; None for none.

        Returns:
            Log-odds with shape (...), in single precision or more.
        """
        features, read = self._summary(seen.detach())
        if blur is not None:
            features, read = (
                x + scale * randn_tensor(x.shape, generator=blur, device=x.device, dtype=x.dtype)
                for x, scale in zip((features, read), _BLUR, strict=True)
            )
        odds = _precise(self.odds(torch.cat([features, read], dim=-1)).squeeze(-1))
        return _BOUND - softplus(_BOUND_AT_0 - odds)

    def log_prob(self, seen: Tensor, parents: Mapping[str, Tensor]) -> Tensor:
        r"""Compute $\log p(pa \mid I)$.

        Arguments:
            seen: Features with shape (..., features).
            parents: Codes (...), or relaxed codes, one-hot, (..., K).

        Returns:
            Log-probabilities with shape (...), in single precision or more.
        """
        total, told = torch.zeros_like(_precise(seen[..., 0])), seen
        for name, size in self.sizes.items():
            value = parents[name]
            codes = value if value.is_floating_point() else one_hot(value, size)
            logits = _precise(self.heads[name](told))
            total = total + (codes * logits.log_softmax(dim=-1)).sum(dim=-1)
            told = torch.cat([told, codes.to(told.dtype)], dim=-1)
        return total

    @torch.no_grad()
    def _summary(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Sum up: features, and the parents, each read given what was read before it."""
        told, doubts = seen, []
        for head in self.heads.values():
            p = head(told).softmax(dim=-1)
            told = torch.cat([told, p], dim=-1)
            doubts.append((1 - p.amax(dim=-1, keepdim=True) + _SURE).log() / 3)
        features, read = told.split([self.features, told.shape[-1] - self.features], dim=-1)
        return features, torch.cat([read, *doubts], dim=-1)


_BOUND_AT_0 = math.log(math.expm1(_BOUND))  # so that log-odds are 0 at the start


def _eye(image: Image, width: int) -> nn.Sequential:
    """Make the eye: strided convolutions down to a 4x4 map, then features of scale 1."""
    side, made, layers = min(image.height, image.width), image.channels, []
    strides = [2] * max(0, math.ceil(math.log2(side / 4))) or [1]
    for wide, kernel, stride in zip([32] + [64] * 16, [5] + [3] * 16, strides, strict=False):
        layers += [nn.Conv2d(made, wide, kernel, stride, kernel // 2), nn.GroupNorm(8, wide)]
        layers.append(nn.SiLU())
        made = wide
    kept = min(side, 4)
    layers += [nn.AdaptiveAvgPool2d(kept), nn.Flatten(), nn.Linear(made * kept**2, width)]
    return nn.Sequential(*layers, nn.SiLU(), nn.LayerNorm(width, elementwise_affine=False))


def _precise(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
