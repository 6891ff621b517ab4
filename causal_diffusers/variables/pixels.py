"""Read one image, whatever holds it: a file, a PIL image, an array or a tensor.

Pixels keep their type, so that the reader can tell 8-bit images from floats; only
16-bit files, whose range the format fixes, become floats in [0, 1] here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image as PILImage

__all__ = ["is_stack", "read_image"]


def is_stack(column: object) -> bool:
    """Tell images in one numerical array from a sequence of images.

    Arguments:
        column: A column of images.

    Returns:
        Whether it is a tensor, or an array of numbers.

    Example:
        >>> is_stack(np.zeros((2, 8, 8))), is_stack(np.array(["1.png", "2.png"]))
        (True, False)
    """
    return isinstance(column, Tensor) or (
        isinstance(column, np.ndarray) and column.dtype.kind in "biufc"
    )


def read_image(image: object, channels: int) -> Tensor:
    """Read the pixels of one image, or of a stack of them.

    Arguments:
        image: A path, a PIL image, an array, a tensor or nested lists.
        channels: What PIL images and files are converted to: 1, grey, or 3, RGB.

    Returns:
        The pixels. Channels come last in what was a PIL image or a file.

    Raises:
        OSError: If there is no such file, or no image in it.
        TypeError: If it is something else.
        ValueError: If the format leaves the range of its pixels open.

    Example:
        >>> read_image(np.ones((8, 8), dtype=bool), 1).shape
        torch.Size([8, 8])
    """
    from PIL import Image as PILImage

    if isinstance(image, (str, os.PathLike)):
        with PILImage.open(Path(image)) as opened:
            return _from_pil(opened, channels)
    if isinstance(image, PILImage.Image):
        return _from_pil(image, channels)
    if isinstance(image, (np.ndarray, list, tuple)):  # torch wants it writable, striding forwards
        image = torch.as_tensor(np.require(image, requirements=["C", "W"]))
    if not isinstance(image, Tensor):
        raise TypeError(f"an image is an array, a PIL image or a path, not {type(image).__name__}")
    return image


def _from_pil(image: PILImage.Image, channels: int) -> Tensor:
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):  # which PIL would clip to 0..255
        deep = torch.as_tensor(np.asarray(upright).astype(np.float32) / 65535)
        return deep[..., None].expand(*deep.shape, channels)
    if upright.mode in ("I", "F"):
        raise ValueError(
            f'PIL images of mode "{upright.mode}" have no fixed range; pass floats in [0, 1]'
        )
    return torch.as_tensor(np.array(upright.convert("L" if channels == 1 else "RGB")))
