r"""What a pretrained encoder wants done to an image before it looks: size and colours.

The numbers are those of `preprocessor_config.json`, as transformers writes it: resize,
crop the centre, then $(x - \mathrm{mean}) / \mathrm{std}$ with $x$ in [0, 1].
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

__all__ = ["Preprocessing"]

_LARGEST = 2048
_MODES = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # as PIL numbers them


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Bring images in [-1, 1] to the size and the colours of a pretrained network.

    Arguments:
        resize: Height and width, or the length of the shortest edge; None leaves them.
        crop: Height and width of the centre that is kept; None keeps all.
        mean: The mean of each channel, of pixels in [0, 1].
        std: The standard deviation of each channel.
        mode: How pixels are interpolated.

    Example:
        >>> wants = Preprocessing.of({"size": {"shortest_edge": 8}, "crop_size": 4})
        >>> wants(torch.zeros(2, 1, 16, 32), channels=3).shape
        torch.Size([2, 3, 4, 4])
    """

    resize: tuple[int, int] | int | None
    crop: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mode: str = "bicubic"

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """Read what transformers has written.

        Arguments:
            config: The content of `preprocessor_config.json`.

        Returns:
            The preprocessing.

        Raises:
            ValueError: If a size, a mean or a mode is missing, or makes no sense.

        Example:
            >>> Preprocessing.of({"size": 224}).resize
            (224, 224)
        """
        resize = _size(config.get("size")) if config.get("do_resize", True) else None
        crops = config.get("do_center_crop", "crop_size" in config)
        crop = _pair(config.get("crop_size")) if crops else None
        if isinstance(resize, int) and crop is None:  # the way of ConvNeXt
            resize, crop = _with_margin(resize, config.get("crop_pct"))
        mode = _MODES.get(config.get("resample", 3))
        if mode is None:
            raise ValueError(f"`resample` is one of {sorted(_MODES)}: got {config['resample']!r}")
        normal = config.get("do_normalize", True)
        mean = _numbers("image_mean", config.get("image_mean", 0.5)) if normal else (0.0,)
        std = _numbers("image_std", config.get("image_std", 0.5)) if normal else (1.0,)
        if min(std) <= 0:
            raise ValueError(f"`image_std` is positive: got {std}")
        return cls(resize, crop, mean, std, mode)

    def __call__(self, images: Tensor, channels: int) -> Tensor:
        """Bring images to the network's size and colours.

        Arguments:
            images: Images with shape (B, C, H, W), in [-1, 1].
            channels: How many channels the network takes; grey images are repeated.

        Returns:
            Pixels in single precision.
        """
        pixels = (images.float() + 1) / 2
        pixels = pixels.expand(-1, channels, -1, -1) if pixels.shape[1] == 1 else pixels
        pixels = self._crop(self._resize(pixels))
        mean, std = (
            torch.tensor(numbers, device=images.device).view(1, -1, 1, 1)
            for numbers in (self.mean, self.std)
        )
        return (pixels - mean) / std

    def to_json(self) -> str:
        """Write it as transformers would.

        Example:
            >>> wants = Preprocessing.of({"size": {"shortest_edge": 8}, "crop_size": 4})
            >>> Preprocessing.of(json.loads(wants.to_json())) == wants
            True
        """
        size = {"shortest_edge": self.resize} if isinstance(self.resize, int) else self.resize
        modes = {mode: number for number, mode in _MODES.items()}
        record = {
            "do_resize": self.resize is not None,
            "size": size,
            "do_center_crop": self.crop is not None,
            "crop_size": self.crop,
            "resample": modes[self.mode],
            "do_normalize": True,
            "image_mean": self.mean,
            "image_std": self.std,
        }
        return json.dumps(record, indent=2) + "\n"

    def _resize(self, pixels: Tensor) -> Tensor:
        height, width = pixels.shape[-2:]
        if self.resize is None:
            return pixels
        if isinstance(self.resize, int):
            short = min(height, width)
            size = self.resize * height // short, self.resize * width // short
        else:
            size = self.resize
        smooth = {} if self.mode == "nearest" else {"antialias": True}
        return interpolate(pixels, size, mode=self.mode, **smooth).clamp(0, 1)

    def _crop(self, pixels: Tensor) -> Tensor:
        if self.crop is None:
            return pixels
        (height, width), (tall, wide) = pixels.shape[-2:], self.crop
        top, left = -((height - tall) // 2), -((width - wide) // 2)
        return pad(pixels, (left, wide - width - left, top, tall - height - top))


def _size(told: object) -> tuple[int, int] | int:
    """Read a size: two numbers, or the shortest edge."""
    if isinstance(told, Mapping) and "shortest_edge" in told:
        return _length(told["shortest_edge"])
    return _pair(told)


def _pair(told: object) -> tuple[int, int]:
    if isinstance(told, Mapping):
        return _length(told.get("height")), _length(told.get("width"))
    if isinstance(told, (list, tuple)) and len(told) == 2:
        return _length(told[0]), _length(told[1])
    return _length(told), _length(told)


def _length(told: object) -> int:
    if type(told) is not int or not 1 <= told <= _LARGEST:
        raise ValueError(f"a size is an integer in [1, {_LARGEST}]: got {told!r:.60}")
    return told


def _with_margin(edge: int, kept: object) -> tuple[tuple[int, int] | int, tuple[int, int] | None]:
    """Resize a little larger than the centre that is kept, unless that is large anyway."""
    if not isinstance(kept, float):
        return edge, (edge, edge)
    if edge >= 384:
        return (edge, edge), None
    if not 0.1 <= kept <= 1:
        raise ValueError(f"`crop_pct` is a number in [0.1, 1]: got {kept}")
    return int(edge / kept), (edge, edge)


def _numbers(name: str, told: object) -> tuple[float, ...]:
    numbers: list[Any] = list(told) if isinstance(told, (list, tuple)) else [told]
    if not 1 <= len(numbers) <= 4 or not all(
        isinstance(n, (int, float)) and math.isfinite(n) for n in numbers
    ):
        raise ValueError(f"`{name}` holds a finite number for each channel: got {told!r:.60}")
    return tuple(map(float, numbers))
