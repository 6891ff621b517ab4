"""What every kind of variable promises: a shape, an encoding, a description."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from causal_diffusers.errors import ShapeError

__all__ = ["Variable"]


class Variable(abc.ABC):
    """What the values of one observed variable look like.

    Example:
        >>> from causal_diffusers.variables import Categorical, Image
        >>> Categorical("ab").shape, Image(1, 8, 8).shape
        ((), (1, 8, 8))
    """

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one encoded value."""

    @abc.abstractmethod
    def encode(self, column: Iterable[Any], *, name: str) -> Tensor:
        """Turn a column of user values into a tensor with shape (N, *shape)."""

    @abc.abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Describe the variable in plain JSON."""

    @abc.abstractmethod
    def check_range(self, values: Tensor, *, name: str) -> None:
        """Refuse a tensor that holds anything but encoded values, with a ValueError."""

    def check(self, values: Tensor, *, name: str) -> None:
        """Refuse encoded values of another shape.

        Raises:
            ShapeError: If `values` is not of shape (N, *shape).
        """
        if tuple(values.shape[1:]) != self.shape:
            wanted = ("N", *self.shape)
            raise ShapeError(
                f'"{name}" should have shape {wanted}: got {tuple(values.shape)}. '
                "Give one value for each sample, in the variable's own shape.",
                variable=name,
                expected=wanted,
                received=tuple(values.shape),
            )
