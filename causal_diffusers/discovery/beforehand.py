r"""How likely is an edge before the data are looked at?

Two variables are joined with some chance, the density; half of it goes each way, unless one
way is ruled out. The network works with log odds against no edge between the two.
"""

from __future__ import annotations

import math

from torch import Tensor

__all__ = ["UNKNOWN_DENSITY", "edge_odds"]

UNKNOWN_DENSITY = 0.25  # what the odds are computed from where nobody says


def edge_odds(density: float, possible: Tensor) -> Tensor:
    """Give the log odds of each edge against none, from the chance that a pair is joined.

    Arguments:
        density: The chance, in (0, 1).
        possible: Which edges are not ruled out, booleans with shape (..., d, d).

    Returns:
        The log odds, with the shape of `possible`.

    Example:
        >>> import torch
        >>> one_way = torch.tensor([[False, True], [False, False]])
        >>> edge_odds(0.9, one_way)[0, 1] > edge_odds(0.9, one_way | one_way.mT)[0, 1]
        tensor(True)
    """
    odds = math.log(density / (1 - density))
    return odds - math.log(2) * (possible & possible.mT).float()
