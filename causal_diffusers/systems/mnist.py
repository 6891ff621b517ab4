r"""Front-door MNIST: an image mediator of 32x32 pixels that hides its own cause.

The system is the one of `front_door`, with slope $a = 80$ and, by default, $s = 0.3$; the
images are MNIST's, padded by two pixels on each side. What was written, $W$, is either
observed, or left *inside* the image mechanism, which then is a mixture:

$$ P(I \mid D) = \sum_w P(w \mid D)\, P(I \mid w) . $$

References:
    Modular learning of deep causal generative models for high-dimensional causal
    inference (Rahman & Kocaoglu, 2024), Sec. 5 (front-door MNIST).
    The MNIST database of handwritten digits (LeCun, Cortes & Burges).
"""

from __future__ import annotations

import functools
import os
from typing import final

import numpy as np
import torch
from torch import Tensor

from causal_diffusers.graphs import ADMG
from causal_diffusers.systems.files import VARIABLE, find_file, read_idx
from causal_diffusers.systems.front_door import DIGITS, FrontDoorHandwriting

__all__ = ["FrontDoorMNIST", "load_mnist"]

SLOPE = 80.0
SIZES = (8, 16, 32, 64)
HUB_ID = "ylecun/mnist"
WAY_OUT = (
    "Download the four files named *-ubyte.gz of MNIST into a folder, and pass the folder or "
    f"set `{VARIABLE}` to it; or run `pip install datasets`, which fetches `{HUB_ID}`."
)


@functools.lru_cache(maxsize=4)
def load_mnist(
    source: str | os.PathLike[str] | None = None, *, train: bool = True
) -> tuple[Tensor, Tensor]:
    """Load MNIST, from a folder or by the library `datasets`.

    Arguments:
        source: The folder of the idx files, at any depth; None for the one that
            `CAUSAL_DIFFUSERS_DATA` names and, where it has none, for the Hub.
        train: Whether to load the 60,000 training images or the 10,000 others.

    Returns:
        8-bit images with shape (N, 28, 28) and their digits with shape (N,).

    Raises:
        FileNotFoundError: If MNIST is found nowhere; it says how to get it.

    Example:
        >>> load_mnist("no/such/folder")
        Traceback (most recent call last):
        ...
        FileNotFoundError: There is no `train-images*ubyte*` in `no/such/folder`. ...
    """
    part = "train" if train else "t10k"
    try:
        folder = find_file("train-images*ubyte*", source, WAY_OUT).parent
        images, digits = (
            read_idx(find_file(f"{part}-{kind}*ubyte*", folder, WAY_OUT))
            for kind in ("images", "labels")
        )
    except FileNotFoundError:
        fetched = _fetch(train) if source is None else None
        if fetched is None:
            raise
        return fetched
    return images, digits.long()


def _fetch(train: bool) -> tuple[Tensor, Tensor] | None:
    """Ask the Hub, if there is a library to ask and a connection."""
    try:
        import datasets

        rows = datasets.load_dataset(HUB_ID, split="train" if train else "test")
    except (ImportError, OSError):
        return None
    images = np.stack([np.asarray(image) for image in rows["image"]])
    return torch.from_numpy(images), torch.as_tensor(list(rows["label"]))


@final
class FrontDoorMNIST(FrontDoorHandwriting):
    r"""The front-door through MNIST, with its truth.

    The 10,000 test images are held out: rows are drawn from the others, and the truth is
    a sum over all of them. `graph` leaves $W$ inside the image mechanism; in
    `written_graph` it is observed.

    Arguments:
        source: Where MNIST lies; see `load_mnist`.
        slips: The probability $s$ that the digit written is drawn afresh, in [0, 1].
        size: Height and width of the images: 32, or another power of two from 8 to 64,
            to which they are averaged or stretched.

    Raises:
        ValueError: If `slips` is not a probability, or `size` not such a number.
        FileNotFoundError: If MNIST is found nowhere; it says how to get it.

    Example:
        >>> print(FrontDoorMNIST.graph)
        D -> I; I -> A; D <-> A
    """

    graph = ADMG.parse("D -> I -> A; D <-> A")
    written_graph = FrontDoorHandwriting.graph

    def __init__(
        self, source: str | os.PathLike[str] | None = None, *, slips: float = 0.3, size: int = 32
    ) -> None:
        if size not in SIZES:
            raise ValueError(f"`size` is one of {SIZES}: got {size!r}.")
        parts = [load_mnist(source, train=train) for train in (True, False)]
        pixels, digits = (torch.cat(column) for column in zip(*parts, strict=True))
        images = torch.nn.functional.pad(pixels, (2, 2, 2, 2))[:, None].float() / 255
        images = _resize(images, size)
        held_out = torch.arange(len(digits)) >= len(parts[0][1])
        super().__init__(images, digits, held_out, slope=SLOPE, slips=slips)
        seen = digits[~held_out]
        self._by_digit = torch.argsort(seen, stable=True)
        self._counts = torch.bincount(seen, minlength=DIGITS)

    def _draw(self, written: Tensor, generator: torch.Generator) -> Tensor:
        share = torch.rand(len(written), generator=generator, dtype=torch.float64)
        first = self._counts.cumsum(0) - self._counts
        return self._by_digit[first[written] + (share * self._counts[written]).long()]


def _resize(images: Tensor, size: int) -> Tensor:
    """Average blocks of pixels, or interpolate between them."""
    if size < images.shape[-1]:
        return torch.nn.functional.avg_pool2d(images, images.shape[-1] // size)
    if size > images.shape[-1]:
        return torch.nn.functional.interpolate(images, size=(size, size), mode="bilinear")
    return images
