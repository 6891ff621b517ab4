"""A variable whose values are images: [0, 1] outside, [-1, 1] inside."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from causal_diffusers.errors import ShapeError
from causal_diffusers.variables.base import Variable
from causal_diffusers.variables.pixels import is_stack, read_image

__all__ = ["Image"]


@dataclasses.dataclass(frozen=True)
class Image(Variable):
    """A variable whose values are images.

    Arguments:
        channels: The number of channels, 1 or 3.
        height: The height in pixels.
        width: The width in pixels.

    Raises:
        ValueError: If a size is no positive integer, or `channels` is neither 1 nor 3.

    Example:
        >>> Image(1, 8, 8).encode(torch.zeros(2, 1, 8, 8), name="I").shape
        torch.Size([2, 1, 8, 8])
    """

    channels: int
    height: int
    width: int

    def __post_init__(self) -> None:
        whole = all(type(size) is int and size > 0 for size in self.shape)
        if not whole or self.channels not in (1, 3):
            raise ValueError(
                "`Image` takes 1 or 3 channels and positive sizes: got "
                f"({self.channels}, {self.height}, {self.width}). The order is "
                "channels, height, width."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image, (C, H, W)."""
        return (self.channels, self.height, self.width)

    def encode(self, column: Iterable[Any], *, name: str) -> Tensor:
        """Turn images into a tensor in [-1, 1].

        Floats are read as diffusers reads them, in [0, 1]; 8-bit images in 0..255, and
        16-bit files in 0..65535. Arrays have the channels first or last; where both fit,
        first. PIL images and files are turned upright and converted to the variable's
        channels, which drops an alpha channel.

        Arguments:
            column: N images: one tensor or array, or a sequence of arrays, PIL images
                and paths.
            name: What to call the variable in errors.

        Returns:
            The images, with shape (N, C, H, W), in [-1, 1].

        Raises:
            ShapeError: If the images have another shape.
            ValueError: If the pixels are integers of an unknown range, or one is not
                finite or out of range; the row is named.

        Example:
            >>> white = torch.full((1, 8, 8, 1), 255, dtype=torch.uint8)
            >>> Image(1, 8, 8).encode(white, name="I").unique().tolist()
            [1.0]
        """
        if is_stack(column):
            unit = self._unit(read_image(column, self.channels), name)
        else:
            rows = [self._read(image, name, row) for row, image in enumerate(column)]
            unit = torch.cat(rows) if rows else torch.empty(0, *self.shape)
        self._check_range(unit, name)
        return 2 * unit - 1

    def decode(self, images: Tensor) -> Tensor:
        """Turn images in [-1, 1] into images in [0, 1] with the same shape.

        Example:
            >>> Image(1, 2, 2).decode(torch.full((1, 1, 2, 2), -3.0)).max().item()
            0.0
        """
        return (images.float() / 2 + 0.5).clamp(0, 1)

    def check_range(self, values: Tensor, *, name: str) -> None:
        """Refuse pixels that are no finite floats.

        Raises:
            ValueError: If there is one; the variable is named.

        Example:
            >>> Image(1, 2, 2).check_range(torch.zeros(1, 1, 2, 2), name="I")
        """
        if not values.is_floating_point() or not bool(values.isfinite().all()):
            raise ValueError(
                f'"{name}" takes finite floats in [-1, 1]: got {values.dtype}, or some that are '
                "not finite. `encode` turns images into such."
            )

    def to_dict(self) -> dict[str, Any]:
        """Describe the variable in plain JSON.

        Example:
            >>> Image(3, 64, 64).to_dict()["type"]
            'image'
        """
        return {"type": "image", **dataclasses.asdict(self)}

    def _read(self, image: object, name: str, row: int) -> Tensor:
        """Read the image of one row, with shape (1, C, H, W), in [0, 1]."""
        try:
            pixels = read_image(image, self.channels)
        except (OSError, TypeError, ValueError) as error:
            raise ValueError(f'"{name}" cannot be read in row {row}: {error}') from None
        return self._unit(pixels, name, row)

    def _unit(self, pixels: Tensor, name: str, row: int | None = None) -> Tensor:
        """Bring a stack of images, or the image of one row, to (N, C, H, W) in [0, 1]."""
        if pixels.dtype not in (torch.uint8, torch.bool) and not pixels.is_floating_point():
            raise ValueError(
                f'"{name}" takes floats in [0, 1] or 8-bit integers in 0..255: got '
                f"{str(pixels.dtype).removeprefix('torch.')}. Convert the images to uint8, or "
                "divide them by their largest possible value."
            )
        images = self._channels_first(pixels if row is None else pixels[None])
        if tuple(images.shape[1:]) != self.shape:
            raise self._misshapen(pixels, name, row)
        return images / 255 if images.dtype == torch.uint8 else images.float()

    def _channels_first(self, images: Tensor) -> Tensor:
        if images.dim() == 3 and self.channels == 1:
            return images[:, None]
        last = (self.height, self.width, self.channels)
        if tuple(images.shape[1:]) == last and last != self.shape:
            return images.permute(0, 3, 1, 2)
        return images

    def _misshapen(self, pixels: Tensor, name: str, row: int | None) -> ShapeError:
        where, batch = ("", ("N",)) if row is None else (f" in row {row}", ())
        expected, received = (*batch, *self.shape), tuple(pixels.shape)
        return ShapeError(
            f'"{name}" should have shape {expected}, or channels last: got {received}{where}. '
            f"Resize the images to {self.height} x {self.width} pixels with {self.channels} "
            "channel(s), or declare the variable as they are.",
            variable=name,
            expected=expected,
            received=received,
        )

    def _check_range(self, images: Tensor, name: str) -> None:
        good = torch.isfinite(images) & (images >= 0) & (images <= 1)
        bad = (~good).flatten(1).any(dim=1)
        if bad.any():
            row = int(bad.nonzero()[0])
            value = images[row][~good[row]].flatten()[0].item()
            raise ValueError(
                f'"{name}" takes pixels in [0, 1] (floats) or 0..255 (uint8): got {value:g} '
                f"in row {row}. Rescale the images, or drop the row."
            )
