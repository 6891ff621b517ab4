r"""A real image between a cause and its confounded effect: what such systems share.

Somebody dictates a digit $D$; the hand writes $W$, usually the digit dictated, now and
then another one (the hand slips); $I$ is a real image of the digit written; and a
reader gives a verdict $A$ that depends on where the ink lies and on a hidden $U$ that
also chose what was dictated:

$$ U \sim \mathrm{Bernoulli}(1/2), \quad
   P(d \mid U=0) = \tfrac{10-d}{55}, \quad P(d \mid U=1) = \tfrac{d+1}{55}, $$
$$ W = D \text{ with probability } 1 - s, \text{ else uniform on } 0..9, $$
$$ P(A=1 \mid I, U) = \sigma\big(a\,(t(I) - m) + 4\,(U - \tfrac12)\big) . $$

Here $t$ is the mean ink of the upper half minus that of the lower half (pixels in
[0, 1]) and $m$ its median over all images. The graph is $D \to W \to I \to A$ with
$D \leftrightarrow A$. Everything but the handwriting is known, so every answer is an
exact sum over $U$, $W$ and the images.

The slips are what makes the front-door answerable from data: without them the image
determines $D$, and nothing observed speaks of $P(A \mid I, D')$ for another $D'$.

References:
    Causality (Pearl, 2009), Sec. 3.3.2 (the front-door criterion).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from causal_diffusers.graphs import ADMG

__all__ = ["DIGITS", "FrontDoorHandwriting", "ink_balance"]

DIGITS = 10
CONFOUNDING = 4.0


def ink_balance(images: Tensor) -> Tensor:
    """Compute $t(I)$, mean ink of the upper half minus mean ink of the lower half.

    Arguments:
        images: The images, with shape (B, 1, 8, 8), in [0, 1].

    Returns:
        The balance, with shape (B,), in [-1, 1].

    Example:
        >>> top = torch.zeros(1, 1, 8, 8); top[:, :, :4] = 1
        >>> ink_balance(top).item() == 1
        True
    """
    upper, lower = images.chunk(2, dim=-2)
    return upper.mean(dim=(1, 2, 3)) - lower.mean(dim=(1, 2, 3))


class FrontDoorHandwriting(ABC):
    r"""The system above with its truth; a subclass says whose handwriting it is.

    Rows are drawn from the images that are not held out; the truth is a sum over all.

    Arguments:
        images: Real images, with shape (M, 1, H, W), in [0, 1].
        digits: The digit that each shows, with shape (M,).
        held_out: Which images no row has, booleans with shape (M,).
        slope: The slope $a$ of the verdict.
        slips: The probability $s$ that the digit written is drawn afresh, in [0, 1].

    Raises:
        ValueError: If `slips` is not a probability.

    Example:
        >>> from causal_diffusers.systems import FrontDoorDigits
        >>> isinstance(FrontDoorDigits(), FrontDoorHandwriting)
        True
    """

    graph = ADMG.parse("D -> W -> I -> A; D <-> A")

    def __init__(
        self, images: Tensor, digits: Tensor, held_out: Tensor, *, slope: float, slips: float
    ) -> None:
        if not 0 <= slips <= 1:
            raise ValueError(f"`slips` is a probability in [0, 1]: got {slips}.")
        self.images, self.digits, self.held_out = images, digits, held_out
        self.slope, self.slips = slope, slips
        self.median = ink_balance(images).median()
        u, d = torch.tensor([[0.0], [1.0]]), torch.arange(DIGITS)
        self.dictated = torch.where(u == 0, 10 - d, d + 1) / 55  # P(d | u), (2, 10)
        same = torch.eye(DIGITS)
        self.written = (1 - slips) * same + slips / DIGITS  # P(w | d), (10, 10)

    @abstractmethod
    def _draw(self, written: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the number of an image of each digit (N,), none of them held out."""

    def verdict(self, images: Tensor) -> Tensor:
        """Compute $P(A = 1 | I, U)$ for both values of $U$.

        Arguments:
            images: The images, with shape (B, 1, H, W), in [0, 1].

        Returns:
            Probabilities with shape (B, 2), a column per value of $U$.

        Example:
            >>> from causal_diffusers.systems import FrontDoorDigits
            >>> system = FrontDoorDigits()
            >>> system.verdict(system.images[:3]).shape
            torch.Size([3, 2])
        """
        u = torch.tensor([0.0, 1.0])
        score = self.slope * (ink_balance(images) - self.median)[:, None]
        return torch.sigmoid(score + CONFOUNDING * (u - 0.5))

    def sample(self, num_samples: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw rows of $(D, W, I, A)$; $U$ stays hidden, held-out images do not occur.

        Arguments:
            num_samples: The number of rows N.
            generator: The source of randomness.

        Returns:
            `D`, `W` and `A` as integers with shape (N,), `I` with shape (N, 1, H, W) in
            [0, 1].

        Example:
            >>> from causal_diffusers.systems import FrontDoorDigits
            >>> rows = FrontDoorDigits().sample(3, generator=torch.Generator())
            >>> rows["D"].shape
            torch.Size([3])
        """
        u = torch.randint(2, (num_samples,), generator=generator)
        d = torch.multinomial(self.dictated[u], 1, generator=generator).squeeze(1)
        w = torch.multinomial(self.written[d], 1, generator=generator).squeeze(1)
        images = self.images[self._draw(w, generator)]
        p = self.verdict(images).gather(1, u[:, None]).squeeze(1)
        a = torch.bernoulli(p, generator=generator).long()
        return {"D": d, "W": w, "I": images, "A": a}

    def verdict_under_do(self, variable: str) -> Tensor:
        """Enumerate $P(A = 1 | do(D = d))$ or $P(A = 1 | do(W = w))$.

        Arguments:
            variable: `"D"` or `"W"`.

        Returns:
            The truth for each of the ten values, with shape (10,).

        Raises:
            ValueError: If `variable` is another one.

        Example:
            >>> from causal_diffusers.systems import FrontDoorDigits
            >>> FrontDoorDigits().verdict_under_do("D").shape
            torch.Size([10])
        """
        by_written = self._verdict_by_digit().mean(dim=1)
        return self._chain(variable) @ by_written

    def verdict_given(self, variable: str) -> Tensor:
        """Enumerate the naive $P(A = 1 | D = d)$ or $P(A = 1 | W = w)$.

        Arguments:
            variable: `"D"` or `"W"`.

        Returns:
            The conditional for each of the ten values, with shape (10,).

        Raises:
            ValueError: If `variable` is another one.

        Example:
            >>> from causal_diffusers.systems import FrontDoorDigits
            >>> FrontDoorDigits().verdict_given("W").shape
            torch.Size([10])
        """
        _check_variable(variable)
        joint = 0.5 * self.dictated[:, :, None] * self.written  # P(u, d, w)
        by_u = joint.sum(dim=2) if variable == "D" else joint.sum(dim=1)  # (2, 10)
        posterior = by_u / by_u.sum(dim=0)
        if variable == "D":  # P(a | d) = sum_{u, w} P(u | d) P(w | d) P(a | w, u)
            return torch.einsum("ud,dw,wu->d", posterior, self.written, self._verdict_by_digit())
        return torch.einsum("uw,wu->w", posterior, self._verdict_by_digit())

    def verdict_under_do_image(self, images: Tensor) -> Tensor:
        r"""Enumerate $P(A = 1 | do(I = x)) = \frac12 \sum_u P(A = 1 | x, u)$.

        Arguments:
            images: The images x, with shape (B, 1, H, W), in [0, 1].

        Returns:
            The truth for each image, with shape (B,).

        Example:
            >>> from causal_diffusers.systems import FrontDoorDigits
            >>> system = FrontDoorDigits()
            >>> system.verdict_under_do_image(system.images[:2]).shape
            torch.Size([2])
        """
        return self.verdict(images).mean(dim=1)

    def verdict_given_image(self, images: Tensor, digits: Tensor) -> Tensor:
        """Enumerate the naive $P(A = 1 | I = x)$ for images of known digits.

        Arguments:
            images: The images x, with shape (B, 1, H, W), in [0, 1].
            digits: The digit each of them shows, with shape (B,).

        Returns:
            The conditional for each image, with shape (B,).

        Example:
            >>> from causal_diffusers.systems import FrontDoorDigits
            >>> system = FrontDoorDigits()
            >>> system.verdict_given_image(system.images[:2], system.digits[:2]).shape
            torch.Size([2])
        """
        by_u = 0.5 * self.dictated @ self.written  # P(u, w)
        posterior = (by_u / by_u.sum(dim=0)).T[digits]  # (B, 2)
        return (posterior * self.verdict(images)).sum(dim=1)

    def tabular_front_door(self, rows: Mapping[str, Tensor], variable: str) -> Tensor:
        r"""Estimate the same answers from rows by the front-door formula through $W$.

        $$ P(a \mid do(w)) = \sum_d P(d) P(a \mid w, d), \qquad
           P(a \mid do(d)) = \sum_w P(w \mid d) P(a \mid do(w)) . $$

        It needs no image and is exact up to sampling: the reference for a pipeline that
        must also produce the images. (Pearl, 2009, Sec. 3.3.2.)

        Arguments:
            rows: Columns `D`, `W` and `A` as drawn by `sample`.
            variable: `"D"` or `"W"`.

        Returns:
            The estimate of $P(A = 1 | do)$ for each of the ten values, with shape (10,);
            NaN for a W that no row has.

        Raises:
            ValueError: If `variable` is another one.

        Example:
            >>> from causal_diffusers.systems import FrontDoorDigits
            >>> system = FrontDoorDigits()
            >>> rows = system.sample(20_000, generator=torch.Generator().manual_seed(0))
            >>> error = system.tabular_front_door(rows, "D") - system.verdict_under_do("D")
            >>> bool(error.abs().max() < 0.1)
            True
        """
        _check_variable(variable)
        cell = (rows["D"] * DIGITS + rows["W"]) * 2 + rows["A"]
        counts = torch.bincount(cell, minlength=200).reshape(DIGITS, DIGITS, 2).double()
        p_d = counts.sum(dim=(1, 2)) / counts.sum()
        seen = counts.sum(dim=2)  # cells (d, w) never seen leave the sum
        weight = torch.where(seen > 0, p_d[:, None], 0.0)
        verdict = counts[..., 1] / seen.clamp(min=1)
        by_written = (weight * verdict).sum(dim=0) / weight.sum(dim=0)
        p_w_given_d = seen / seen.sum(dim=1, keepdim=True).clamp(min=1)
        return ((p_w_given_d @ by_written) if variable == "D" else by_written).float()

    def _verdict_by_digit(self) -> Tensor:
        """Average $P(A = 1 | I, u)$ over the images of each digit, with shape (10, 2)."""
        shown = torch.nn.functional.one_hot(self.digits, DIGITS).float()
        return (shown.T @ self.verdict(self.images)) / shown.sum(dim=0)[:, None]

    def _chain(self, variable: str) -> Tensor:
        """Give the distribution of $W$ under $do$ of `variable`, a row per value."""
        _check_variable(variable)
        return self.written if variable == "D" else torch.eye(DIGITS)


def _check_variable(variable: str) -> None:
    if variable not in ("D", "W"):
        raise ValueError(
            f"`variable` is 'D' or 'W': got {variable!r}. For images there are "
            "`verdict_under_do_image` and `verdict_given_image`."
        )
