"""What a mechanism sees of the variables that its own variable listens to.

Categorical parents become one-hot vectors (a relaxed sample passes through as it is),
continuous ones enter as they are, standardised; images become features of a small network
trained with the mechanism, or of a frozen pretrained one, and confounders enter as their
value or, if finite, one-hot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from causal_diffusers.backbones import VisionEncoder
from causal_diffusers.variables import Categorical, Confounder, Continuous, Image, Variable

__all__ = ["ImageEncoder", "ParentEncoder", "confounder_features"]


class ImageEncoder(nn.Module):
    """Read an image: strided convolutions, beside a small copy of its pixels.

    The copy, at most 8x8, gives the mechanism a linear view of where the ink lies; the
    convolutions keep a 4x4 map, so that they too know where.

    Arguments:
        image: The variable that is read.
        channels: The number of channels of the convolutions.

    Example:
        >>> encoder = ImageEncoder(Image(3, 32, 32))
        >>> encoder(torch.zeros(2, 3, 32, 32)).shape[1] == encoder.features
        True
    """

    def __init__(self, image: Image, channels: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(image.channels, channels, 3, padding=1)]
        side = min(image.height, image.width)
        kept, height, width = min(side, 4), min(image.height, 8), min(image.width, 8)
        while side > 4:
            layers += [nn.SiLU(), nn.Conv2d(channels, channels, 3, stride=2, padding=1)]
            side = (side + 1) // 2
        self.convolutions = nn.Sequential(*layers, nn.SiLU(), nn.AdaptiveAvgPool2d(kept))
        self.small = nn.AdaptiveAvgPool2d((height, width))
        self.features = channels * kept**2 + image.channels * height * width

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (B, C, H, W) in [-1, 1] into features (B, features)."""
        seen = self.convolutions(images).flatten(1), self.small(images).flatten(1)
        return torch.cat(seen, dim=1)


class ParentEncoder(nn.Module):
    """Turn named parents into one context vector, which begins with a constant 1.

    Arguments:
        parents: The parents, by name.
        vision: A frozen encoder that reads the images; None trains a small one for each.

    Example:
        >>> encoder = ParentEncoder({"sex": Categorical(["f", "m"]), "xray": Image(1, 8, 8)})
        >>> context = encoder({"sex": torch.tensor([0]), "xray": torch.zeros(1, 1, 8, 8)}, 1)
        >>> context.shape == (1, encoder.features)
        True
    """

    one: Tensor  # it also knows the device and the precision

    def __init__(
        self, parents: Mapping[str, Variable], vision: VisionEncoder | None = None
    ) -> None:
        super().__init__()
        self.parents = dict(sorted(parents.items()))
        images = {name: v for name, v in self.parents.items() if isinstance(v, Image)}
        self.vision = vision if images else None
        if self.vision is not None:
            for image in images.values():
                self.vision.check_reads(image)
            images = {}
        self.images = nn.ModuleDict({name: ImageEncoder(v) for name, v in images.items()})
        self.register_buffer("one", torch.ones(1), persistent=False)
        self.features = 1 + sum(self._width(name) for name in self.parents)

    def forward(self, parents: Mapping[str, Tensor], batch: int) -> Tensor:
        """Encode parents, each with shape (B, *shape), into (B, features)."""
        columns = [self._encode(name, parents[name]) for name in self.parents]
        return torch.cat([self.one.expand(batch, 1), *columns], dim=1)

    def _width(self, name: str) -> int:
        variable = self.parents[name]
        if isinstance(variable, Categorical):
            return len(variable.labels)
        if isinstance(variable, Continuous):
            return variable.dim
        return self._reader(name).features

    def _encode(self, name: str, value: Tensor) -> Tensor:
        variable = self.parents[name]
        if isinstance(variable, Continuous):
            return value.to(self.one.dtype)
        if not isinstance(variable, Categorical):
            return self._reader(name)(value.to(self.one.dtype)).to(self.one.dtype)
        codes = value if value.is_floating_point() else one_hot(value, len(variable.labels))
        return codes.to(self.one.dtype)

    def _reader(self, name: str) -> ImageEncoder | VisionEncoder:
        return self.vision or cast(ImageEncoder, self.images[name])


def confounder_features(
    confounders: Mapping[str, Confounder], values: Mapping[str, Tensor]
) -> Tensor:
    """Line up the confounders in one vector, finite ones as one-hot.

    Arguments:
        confounders: What they look like, by name; at least one.
        values: (M, dim) floats if Gaussian; if finite (M,) integers, or one-hot (M, states).

    Returns:
        Features with shape (M, total width).

    Example:
        >>> confounder_features({"U": Confounder(states=3)}, {"U": torch.tensor([2])}).tolist()
        [[0.0, 0.0, 1.0]]
    """
    columns = [_confounder_column(u, values[name]) for name, u in sorted(confounders.items())]
    return torch.cat(columns, dim=1)


def _confounder_column(confounder: Confounder, value: Tensor) -> Tensor:
    """A relaxed state passes through as it is."""
    if confounder.states is None or value.is_floating_point():
        return value
    return one_hot(value, confounder.states).float()
