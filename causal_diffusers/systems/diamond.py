r"""A diamond with two images, each in a district with a confounder of its own.

Somebody writes a digit, $I_1$; a reader calls it $Digit$; the same hand writes that down
again, $I_2$; and a $Color$ is chosen:

$$ I_1 \to Digit \to I_2 \to Color, \quad Digit \to Color, \quad
   I_1 \leftrightarrow I_2, \quad Digit \leftrightarrow Color . $$

The published experiment leaves the mechanisms open. Chosen here: the hand, $U$, is bold
or fine in both images; the mood of the reader, $V$, leans his slips to small or to large
digits and the colour to red or to green:

$$ U, V \sim \mathrm{Bernoulli}(1/2), \quad P(bold \mid U) = (.05, .95)
   \text{ in each image}, \quad K \sim \mathrm{uniform}, $$
$$ P(d \mid k, v) = \tfrac12\,1[d = k] + \tfrac12\,h_v(d), \quad
   h_0(d) = \tfrac{10-d}{55}, \quad h_1(d) = \tfrac{d+1}{55}, $$
$$ W = Digit \text{ with probability } .7, \text{ else uniform}, $$
$$ P(green \mid I_2, d, v) = \sigma\big(40\,(i(I_2) - m) + \tfrac{d - 4.5}{9}
   + 4\,(v - \tfrac12)\big) . $$

$I_1$ is a real image of $K$ and $I_2$ one of $W$, bold or fine: $i$ is the mean ink, an
image is bold if it has at least the median of its digit, and $m$ is the median of all.

$P(Color \mid do(I_1))$ and $P(Color \mid do(I_2))$ are identifiable, and $P(Color \mid
do(Digit))$ is not, for $Digit \to Color$ and $Digit \leftrightarrow Color$ form a bow.

References:
    Modular learning of deep causal generative models for high-dimensional causal
    inference (Rahman & Kocaoglu, 2024), Sec. 5 (diamond graph).
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from causal_diffusers.graphs import ADMG
from causal_diffusers.systems.digits import FrontDoorDigits

__all__ = ["ImageDiamond", "mean_ink"]

DIGITS, STYLES = 10, 2
SLOPE, CONFOUNDING = 40.0, 4.0


def mean_ink(images: Tensor) -> Tensor:
    """Compute $i$, the mean of the pixels.

    Arguments:
        images: The images, with shape (B, 1, H, W), in [0, 1].

    Returns:
        The ink, with shape (B,), in [0, 1].

    Example:
        >>> mean_ink(torch.ones(2, 1, 8, 8)).tolist()
        [1.0, 1.0]
    """
    return images.mean(dim=(1, 2, 3))


@final
class ImageDiamond:
    """The system above, with its truth.

    The images are those of front-door digits, 8x8, and so are the 200 held out. Rows show
    the others, and the truth is a sum over those.

    Raises:
        ImportError: If scikit-learn is missing.

    Example:
        >>> system = ImageDiamond()
        >>> rows = system.sample(5, generator=torch.Generator().manual_seed(0))
        >>> sorted(rows), rows["I2"].shape
        (['Color', 'Digit', 'I1', 'I2'], torch.Size([5, 1, 8, 8]))
    """

    graph = ADMG.parse("I1 -> Digit -> I2 -> Color; Digit -> Color; I1 <-> I2; Digit <-> Color")

    def __init__(self) -> None:
        digits = FrontDoorDigits()
        self.images, self.digits, self.held_out = digits.images, digits.digits, digits.held_out
        ink, seen = mean_ink(self.images), ~self.held_out
        self.median = ink[seen].median()
        medians = torch.stack([ink[seen & (self.digits == d)].median() for d in range(DIGITS)])
        self.bold = (ink >= medians[self.digits]).long()
        d, same = torch.arange(DIGITS), torch.eye(DIGITS)
        slips = torch.stack([10 - d, d + 1]) / 55
        self.style = torch.tensor([[0.95, 0.05], [0.05, 0.95]])  # P(bold | u)
        self.called = 0.5 * same[None] + 0.5 * slips[:, None, :]  # P(d | v, k), (2, 10, 10)
        self.written = 0.7 * same + 0.3 / DIGITS  # P(w | d)

    def green(self, images: Tensor) -> Tensor:
        """Compute $P(green | I_2, d, v)$ for every $d$ and $v$.

        Arguments:
            images: The images $I_2$, with shape (B, 1, 8, 8), in [0, 1].

        Returns:
            Probabilities with shape (B, 10, 2).

        Example:
            >>> system = ImageDiamond()
            >>> system.green(system.images[:3]).shape
            torch.Size([3, 10, 2])
        """
        ink = SLOPE * (mean_ink(images) - self.median)[:, None, None]
        digit = ((torch.arange(DIGITS) - 4.5) / 9)[:, None]
        return torch.sigmoid(ink + digit + CONFOUNDING * (torch.tensor([0.0, 1.0]) - 0.5))

    def sample(self, num_samples: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw rows; the hand, the mood and the digits meant stay hidden.

        Arguments:
            num_samples: The number of rows N.
            generator: The source of randomness.

        Returns:
            `Digit` and `Color` (0 red, 1 green) with shape (N,), `I1` and `I2` with shape
            (N, 1, 8, 8), in [0, 1].

        Example:
            >>> rows = ImageDiamond().sample(3, generator=torch.Generator())
            >>> rows["Digit"].shape
            torch.Size([3])
        """

        def draw(weights: Tensor) -> Tensor:
            return torch.multinomial(weights, 1, generator=generator)[:, 0]

        u, v = (torch.randint(2, (num_samples,), generator=generator) for _ in "UV")
        k = torch.randint(DIGITS, (num_samples,), generator=generator)
        first = self._draw(k, draw(self.style[u]), generator)
        digit = draw(self.called[v, k])
        second = self._draw(draw(self.written[digit]), draw(self.style[u]), generator)
        p = self.green(self.images[second])[torch.arange(num_samples), digit, v]
        color = torch.bernoulli(p, generator=generator).long()
        shown = {"I1": self.images[first], "I2": self.images[second]}
        return {"Digit": digit, "Color": color, **shown}

    def color_under_do_first(self) -> Tensor:
        """Enumerate $P(green | do(I_1 = x))$ for an image x of each digit.

        Returns:
            The truth by the digit that x shows, with shape (10,); how bold x is does not
            matter.

        Example:
            >>> ImageDiamond().color_under_do_first().shape
            torch.Size([10])
        """
        return self._color(self.style.mean(dim=0))

    def color_given_first(self) -> Tensor:
        """Enumerate the naive $P(green | I_1 = x)$ for images of each digit and style.

        Returns:
            The conditional by the digit that x shows and by whether it is bold, with
            shape (10, 2).

        Example:
            >>> ImageDiamond().color_given_first().shape
            torch.Size([10, 2])
        """
        posterior = self.style / self.style.sum(dim=0)  # P(u | style of x)
        styles = torch.einsum("us,ut->st", posterior, self.style)  # of I2, given that of x
        return torch.stack([self._color(style) for style in styles], dim=1)

    def color_under_do_second(self, images: Tensor) -> Tensor:
        """Enumerate $P(green | do(I_2 = y))$.

        Arguments:
            images: The images y, with shape (B, 1, 8, 8), in [0, 1].

        Returns:
            The truth for each, with shape (B,).

        Example:
            >>> system = ImageDiamond()
            >>> system.color_under_do_second(system.images[:2]).shape
            torch.Size([2])
        """
        weight = 0.5 * self.called.mean(dim=1)  # P(v, d)
        return torch.einsum("vd,bdv->b", weight, self.green(images))

    def color_given_second(self, images: Tensor, digits: Tensor) -> Tensor:
        """Enumerate the naive $P(green | I_2 = y)$ for images of known digits.

        Arguments:
            images: The images y, with shape (B, 1, 8, 8), in [0, 1].
            digits: The digit each of them shows, with shape (B,).

        Returns:
            The conditional for each, with shape (B,).

        Example:
            >>> system = ImageDiamond()
            >>> system.color_given_second(system.images[:2], system.digits[:2]).shape
            torch.Size([2])
        """
        joint = 0.5 * self.called.mean(dim=1)[..., None] * self.written  # P(v, d, w)
        posterior = (joint / joint.sum(dim=(0, 1)))[..., digits]
        return torch.einsum("vdb,bdv->b", posterior, self.green(images))

    def _color(self, style: Tensor) -> Tensor:
        """Sum over mood, call and second image, whose style is drawn from `style`."""
        seen = ~self.held_out
        cell = STYLES * self.digits[seen] + self.bold[seen]
        shown = torch.nn.functional.one_hot(cell, DIGITS * STYLES).float()
        green = torch.einsum("mc,mdv->cdv", shown / shown.sum(0), self.green(self.images[seen]))
        by_cell = green.view(DIGITS, STYLES, DIGITS, 2)  # w, style, d, v
        given_call = torch.einsum("dw,s,wsdv->dv", self.written, style, by_cell)
        return 0.5 * torch.einsum("vkd,dv->k", self.called, given_call)

    def _draw(self, digits: Tensor, bold: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the number of an image of each digit and style, none of them held out."""
        seen = (~self.held_out).nonzero()[:, 0]
        cell = STYLES * self.digits[seen] + self.bold[seen]
        order, counts = torch.argsort(cell, stable=True), torch.bincount(cell)
        wanted = STYLES * digits + bold
        share = torch.rand(len(digits), generator=generator, dtype=torch.float64)
        place = (share * counts[wanted]).long() + (counts.cumsum(0) - counts)[wanted]
        return seen[order[place]]
