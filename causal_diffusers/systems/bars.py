r"""Coloured bars: an image of everything, beside a confounder that a model may forget.

A digit $D$, 0 or 9, and its colour $C$ share a hidden cause; the position $BW$ of a bar
listens to both, its tint $BC$ to the colour; and the image shows all four:

$$ U \sim \mathrm{Bernoulli}(1/2), \quad
   P(D = 9 \mid U) = P(C = 1 \mid U) = \tfrac12 + \tfrac{1}{\sqrt 8} (2U - 1), $$
$$ P(BW = 1 \mid D, C) = \begin{pmatrix} .2 & .7 \\ .4 & .9 \end{pmatrix}, \quad
   P(BC = 1 \mid C) = (.15, .8) . $$

So $P(C = 1 \mid D) = \tfrac14, \tfrac34$ but $P(C = 1 \mid do(D)) = \tfrac12$. A model
with $D \to C$ in the place of $D \leftrightarrow C$ fits what is observed as well, and is
off by a total variation of .25 over $(C, BC, BW)$.

The digit is MNIST's, at 16x16: red for $C = 0$, green for $C = 1$. The bar stands at the
left for $BW = 0$, at the right for $BW = 1$; blue for $BC = 0$, yellow for $BC = 1$.

References:
    Modular learning of deep causal generative models for high-dimensional causal
    inference (Rahman & Kocaoglu, 2024), Sec. 5 (coloured MNIST).
    Counterfactual image editing (Pan & Bareinboim, 2024), Sec. 5 (digits with a bar).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import final

import numpy as np
import torch
from torch import Tensor

from causal_diffusers.graphs import ADMG
from causal_diffusers.systems.discrete import DiscreteSCM
from causal_diffusers.systems.mnist import load_mnist

__all__ = ["ColoredBarMNIST", "draw_bars", "read_bars"]

DIGITS = (0, 9)
COLORS = torch.tensor([[0.9, 0.2, 0.2], [0.2, 0.9, 0.2]])  # of the digit: red, green
TINTS = torch.tensor([[0.2, 0.4, 1.0], [1.0, 0.9, 0.1]])  # of the bar: blue, yellow
WIDTH = 2  # of the bar, in pixels


def draw_bars(strokes: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """Colour digits, and put a bar beside each.

    Arguments:
        strokes: The digits, with shape (N, 1, H, W), in [0, 1].
        values: The codes of `C`, `BW` and `BC`, each with shape (N,).

    Returns:
        Images with shape (N, 3, H, W), in [0, 1].

    Example:
        >>> values = {name: torch.tensor([0, 1]) for name in ("C", "BW", "BC")}
        >>> images = draw_bars(torch.ones(2, 1, 16, 16), values)
        >>> read_bars(images)["BW"].tolist()
        [0, 1]
    """
    images = strokes * COLORS[values["C"]][:, :, None, None]
    bar = TINTS[values["BC"]][:, :, None, None]
    at_left = (values["BW"] == 0)[:, None, None, None]
    images[..., :WIDTH] = torch.where(at_left, bar, 0)
    images[..., -WIDTH:] = torch.where(at_left, 0, bar)
    return images


def read_bars(images: Tensor) -> dict[str, Tensor]:
    """Read from images what was drawn: the brighter edge, its tint, the digit's colour.

    Arguments:
        images: The images, with shape (N, 3, H, W), in [0, 1].

    Returns:
        The codes of `C`, `BW` and `BC`, each with shape (N,).

    Example:
        >>> sorted(read_bars(torch.rand(5, 3, 16, 16)))
        ['BC', 'BW', 'C']
    """
    left = images[..., :WIDTH].mean(dim=(2, 3))
    right = images[..., -WIDTH:].mean(dim=(2, 3))
    position = (right.sum(dim=1) > left.sum(dim=1)).long()
    bar = torch.where(position[:, None] == 1, right, left)
    digit = images[..., WIDTH:-WIDTH].mean(dim=(2, 3))
    return {
        "C": (digit[:, 1] > digit[:, 0]).long(),
        "BW": position,
        "BC": (bar[:, 0] > bar[:, 2]).long(),
    }


def _bernoulli(ones: float | list[float] | list[list[float]]) -> np.ndarray:
    """Complete the probabilities of 1 to tables."""
    p = np.asarray(ones)
    return np.stack([1 - p, p], axis=-1)


@final
class ColoredBarMNIST:
    """The system above, with its truth.

    Rows show digits of MNIST's training images only.

    Arguments:
        source: Where MNIST lies; see `load_mnist`.

    Raises:
        FileNotFoundError: If MNIST is found nowhere; it says how to get it.

    Example:
        >>> truth = ColoredBarMNIST.labels.interventional("C", do="D").values
        >>> bool(np.allclose(truth, 0.5))
        True
    """

    graph = ADMG.parse("D -> BW <- C -> BC; D -> I; C -> I; BW -> I; BC -> I; U: D, C")
    labels = DiscreteSCM(
        ADMG.parse("D; C; BW; BC; D -> BW <- C -> BC; U: D, C"),
        priors={"U": _bernoulli(0.5)},
        tables={
            "D": _bernoulli([0.5 - 1 / math.sqrt(8), 0.5 + 1 / math.sqrt(8)]),
            "C": _bernoulli([0.5 - 1 / math.sqrt(8), 0.5 + 1 / math.sqrt(8)]),
            "BW": _bernoulli([[0.2, 0.7], [0.4, 0.9]]),
            "BC": _bernoulli([0.15, 0.8]),
        },
    )

    def __init__(self, source: str | os.PathLike[str] | None = None) -> None:
        self._strokes = [_strokes(source, digit, train=True) for digit in DIGITS]
        self._held_out = [_strokes(source, digit, train=False) for digit in DIGITS]

    def sample(self, num_samples: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw rows; $U$ stays hidden.

        Arguments:
            num_samples: The number of rows N.
            generator: The source of randomness.

        Returns:
            `D` in {0, 9}, `C`, `BW` and `BC` in {0, 1}, with shape (N,), and `I` with
            shape (N, 3, 16, 16), in [0, 1].
        """
        rows = self.labels.sample(num_samples, generator=generator)
        return self._show(rows, self._strokes, generator)

    def show_held_out(self, values: Mapping[str, Tensor], *, generator: torch.Generator) -> Tensor:
        """Draw images of given values around digits that no row shows.

        Arguments:
            values: Columns as `sample` gives them.
            generator: The source of randomness.

        Returns:
            Images with shape (N, 3, 16, 16), in [0, 1].
        """
        rows = {**values, "D": (values["D"] == DIGITS[1]).long()}
        return self._show(rows, self._held_out, generator)["I"]

    def _show(
        self, rows: Mapping[str, Tensor], strokes: list[Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Pick a digit for each row, colour it, and write D as the digit it is."""
        share = torch.rand(len(rows["D"]), generator=generator, dtype=torch.float64)
        zero, nine = (digits[(share * len(digits)).long()] for digits in strokes)
        picked = torch.where((rows["D"] == 1)[:, None, None, None], nine, zero)
        return {**rows, "D": DIGITS[1] * rows["D"], "I": draw_bars(picked, rows)}


def _strokes(source: str | os.PathLike[str] | None, digit: int, *, train: bool) -> Tensor:
    """Load the images of one digit, padded to 32x32 and halved."""
    images, digits = load_mnist(source, train=train)
    shown = torch.nn.functional.pad(images[digits == digit], (2, 2, 2, 2))[:, None].float() / 255
    return torch.nn.functional.avg_pool2d(shown, 2)
