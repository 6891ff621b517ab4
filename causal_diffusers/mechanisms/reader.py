r"""Bayes in the place of conditioning: how well does an image of the generator fit its parents?

A generator that makes images $I \sim p_G$ and knows no parents is conditioned by

$$ p(I \mid pa) \propto p_G(I) \, \rho(I) \, p(pa \mid I) , \qquad
   \rho = p_{data} / p_G . $$

Both factors are read off data. $p(pa \mid I) = \prod_k p(pa_k \mid pa_{<k}, I)$ is a
classifier. $\rho$ is the odds of another one, that tells images of the data from images of
the generator, and deliberately a weak one: linear in what the first classifier sees. So it
moves how often each kind of image comes, which a generator trained on other data has
wrong, and cannot tell a generated image by its brush strokes, which would leave but a few.

References:
    Discriminator rejection sampling (Azadi, Olsson, Darrell, Goodfellow & Odena, 2019), Sec. 3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from causal_diffusers.mechanisms.encoders import ImageEncoder
from causal_diffusers.variables import Categorical, Image, Variable

__all__ = ["Reader", "unreadable"]


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
        width: The width of the hidden layer of each $p(pa_k \mid pa_{<k}, I)$.

    Example:
        >>> reader = Reader(Image(1, 8, 8), {"X": Categorical("ab")})
        >>> seen = reader.see(torch.zeros(5, 1, 8, 8))
        >>> reader.log_odds(seen).tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0]
        >>> reader.log_prob(seen, {"X": torch.zeros(5, dtype=torch.int64)}).shape
        torch.Size([5])
    """

    def __init__(self, image: Image, parents: Mapping[str, Variable], width: int = 128) -> None:
        super().__init__()
        self.sizes = {n: len(v.labels) for n, v in parents.items() if isinstance(v, Categorical)}
        self.eye: nn.Module = ImageEncoder(image)
        if not parents:  # nothing would train its convolutions
            self.eye = nn.Sequential(self.eye.small, nn.Flatten())
        side = min(image.height, 8), min(image.width, 8)
        pixels = image.channels * side[0] * side[1]
        self.features = int(getattr(self.eye, "features", pixels))
        self.heads, told = nn.ModuleDict(), self.features
        for name, size in self.sizes.items():
            layers = nn.Linear(told, width), nn.SiLU(), nn.Linear(width, size)
            self.heads[name] = nn.Sequential(*layers)
            told += size
        self.odds = nn.Linear(self.features, 1)
        nn.init.zeros_(self.odds.weight)
        nn.init.zeros_(self.odds.bias)

    def see(self, images: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into features (B, features)."""
        return self.eye(images.to(self.odds.weight.dtype))

    def log_odds(self, seen: Tensor) -> Tensor:
        r"""Compute $\log \rho(I)$; the features are taken as they are, not trained for it.

        Arguments:
            seen: Features with shape (..., features).

        Returns:
            Log-odds with shape (...), in single precision or more.
        """
        return _precise(self.odds(seen.detach()).squeeze(-1))

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


def _precise(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
