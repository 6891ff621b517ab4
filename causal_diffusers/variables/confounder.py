r"""What a hidden common cause looks like; nobody observes it, so it is no variable."""

from __future__ import annotations

import dataclasses
from types import NoneType
from typing import Any

__all__ = ["Confounder"]


@dataclasses.dataclass(frozen=True)
class Confounder:
    r"""What a hidden common cause looks like.

    Arguments:
        dim: The dimension of $u \sim N(0, I)$; ignored by a finite confounder.
        states: The number K of states of a finite confounder, whose probabilities are
            learned and whose likelihood is an exact sum, or None for a Gaussian one.
            Over-provide: two variables with k values each never need more than
            $k^2$ states, and states that are not needed fade.

    Raises:
        ValueError: If `dim` is no positive integer, or `states` none of at least two.

    Example:
        >>> Confounder(states=8).width, Confounder(dim=3).width
        (8, 3)
    """

    dim: int = 2
    states: int | None = None

    def __post_init__(self) -> None:
        whole = type(self.dim) is int and type(self.states) in (int, NoneType)
        if not whole or self.dim < 1 or (self.states is not None and self.states < 2):
            raise ValueError(
                "`Confounder` needs integers, dim >= 1 and states >= 2 (or None): got "
                f"dim={self.dim!r}, states={self.states!r}."
            )

    @property
    def width(self) -> int:
        """The number of features a mechanism sees: `states` if finite, else `dim`."""
        return self.dim if self.states is None else self.states

    def to_dict(self) -> dict[str, Any]:
        """Describe the confounder in plain JSON.

        Example:
            >>> Confounder().to_dict()
            {'dim': 2, 'states': None}
        """
        return dataclasses.asdict(self)
