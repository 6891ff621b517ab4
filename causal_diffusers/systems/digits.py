r"""Front-door digits: the small handwriting of scikit-learn, 1,797 images of 8x8.

The system is the one of `front_door`, with slope $a = 23$ and, by default, $s = 0.3$.

References:
    UCI optical recognition of handwritten digits, as shipped in scikit-learn (CC BY 4.0).
"""

from __future__ import annotations

import functools
from typing import final

import torch
from torch import Tensor

from causal_diffusers.systems.front_door import DIGITS, FrontDoorHandwriting, ink_balance

__all__ = ["FrontDoorDigits"]

SLOPE = 23.0


@functools.cache
def _handwriting() -> tuple[Tensor, Tensor]:
    """Load the images (1797, 1, 8, 8) in [0, 1] and their digits, sorted by (digit, t)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "Front-door digits draws real handwriting from scikit-learn, which is not "
            "installed. Run `pip install causal-diffusers[demo]`."
        ) from error
    pixels, target = load_digits(return_X_y=True)
    images = torch.as_tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    digits = torch.as_tensor(target, dtype=torch.int64)
    order = torch.argsort(digits + ink_balance(images))  # |t| < 1/2: sorts by digit, then t
    return images[order], digits[order]


@final
class FrontDoorDigits(FrontDoorHandwriting):
    r"""The front-door through scikit-learn's handwriting, with its truth.

    Every ninth image, in the order of $t$ within its digit, is held out (200 of 1,797):
    rows are drawn from the others, and the truth is a sum over all of them.

    Arguments:
        slips: The probability $s$ that the digit written is drawn afresh, in [0, 1].

    Raises:
        ValueError: If `slips` is not a probability.
        ImportError: If scikit-learn is missing.

    Example:
        >>> system = FrontDoorDigits()
        >>> rows = system.sample(5, generator=torch.Generator().manual_seed(0))
        >>> sorted(rows), rows["I"].shape
        (['A', 'D', 'I', 'W'], torch.Size([5, 1, 8, 8]))
        >>> bool(system.verdict_under_do("W").min() < 0.06)
        True
    """

    def __init__(self, slips: float = 0.3) -> None:
        images, digits = _handwriting()
        held_out = torch.zeros(len(digits), dtype=torch.bool)
        held_out[4::9] = True
        super().__init__(images, digits, held_out, slope=SLOPE, slips=slips)

    def _draw(self, written: Tensor, generator: torch.Generator) -> Tensor:
        seen = (self.digits[None] == torch.arange(DIGITS)[:, None]) & ~self.held_out
        parts = [  # a table of weights for all rows at once would take gigabytes
            torch.multinomial(seen[part].float(), 1, generator=generator)
            for part in written.split(4096)
        ]
        return torch.cat(parts).squeeze(1)
