r"""A variable whose values are real numbers: the user's units outside, standardised inside.

$$ z = \frac{v - \mathrm{mean}}{\mathrm{scale}} . $$

Networks learn best from numbers near unit scale, so a variable knows its own.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from causal_diffusers.errors import ShapeError
from causal_diffusers.variables.base import Variable

__all__ = ["Continuous"]

Numbers = float | tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Continuous(Variable):
    """A variable whose values are real numbers, or vectors of them.

    Arguments:
        dim: How many numbers one value has.
        mean: Where the values lie, in the user's units: one number, or `dim` of them.
        scale: How far they spread, their standard deviation, likewise; positive.

    Raises:
        ValueError: If `dim` is no positive integer, a number is not finite, there are
            not `dim` of them, or a scale is not positive.

    Example:
        >>> pressure = Continuous(mean=120, scale=15)
        >>> pressure.encode([135, 90], name="pressure").tolist()
        [[1.0], [-2.0]]
        >>> pressure.decode(torch.tensor([[1.0]]))
        [135.0]
    """

    dim: int = 1
    mean: Numbers = 0.0
    scale: Numbers = 1.0

    def __post_init__(self) -> None:
        if type(self.dim) is not int or self.dim < 1:
            raise ValueError(
                f"`Continuous` needs an integer `dim` of at least 1: got {self.dim!r}. It is the "
                "number of numbers in one value."
            )
        for name in ("mean", "scale"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name), self.dim))
        if min(np.atleast_1d(self.scale)) <= 0:
            raise ValueError(
                f"`Continuous` needs a positive `scale`: got {self.scale!r}. "
                "`Continuous.of(column)` reads it from data."
            )

    @classmethod
    def of(cls, column: Iterable[Any]) -> Self:
        """Read the dimension, the mean and the scale from data.

        Arguments:
            column: N numbers, or an array with shape (N, dim), N at least 2.

        Returns:
            The variable.

        Raises:
            ValueError: If a value is no finite number, or a number never varies.

        Example:
            >>> Continuous.of([1.0, 3.0, 1.0, 3.0])
            Continuous(dim=1, mean=2.0, scale=1.0)
            >>> Continuous.of(torch.arange(6.0).reshape(3, 2)).shape
            (2,)
        """
        values = _table(column, "column", None)
        if len(values) == 0:
            raise ValueError("`Continuous.of` needs at least two rows: got none.")
        mean, scale = values.mean(dim=0), values.std(dim=0, correction=0)
        constant = scale <= 1e-9 * values.abs().amax(dim=0)
        if bool(constant.any()):
            number = int(constant.nonzero()[0])
            raise ValueError(
                f"`Continuous.of` needs a column that varies: got {values[0, number].item():g} in "
                "every row. Drop a variable that never varies."
            )
        return cls(values.shape[1], tuple(mean.tolist()), tuple(scale.tolist()))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one value, (dim,)."""
        return (self.dim,)

    def encode(self, column: Iterable[Any], *, name: str) -> Tensor:
        """Turn numbers into standardised floats.

        Arguments:
            column: N numbers, or N vectors: a sequence, an array or a tensor with shape
                (N, dim), or (N,) where `dim` is 1. Words are not read as numbers.
            name: What to call the variable in errors.

        Returns:
            Single-precision floats with shape (N, dim).

        Raises:
            ShapeError: If a value has another number of numbers.
            ValueError: If one is no finite number; the row is named.

        Example:
            >>> Continuous(dim=2).encode([[1, 2]], name="X").shape
            torch.Size([1, 2])
        """
        values = _table(column, name, self.dim)
        return ((values - self._row("mean")) / self._row("scale")).float()

    def decode(self, values: Tensor) -> list[Any]:
        """Turn standardised values (N, dim) back: a list of numbers, or of tuples of them.

        Example:
            >>> Continuous(dim=2, mean=(0, 10)).decode(torch.zeros(1, 2))
            [(0.0, 10.0)]
        """
        told = values.detach().cpu().double() * self._row("scale") + self._row("mean")
        return told[:, 0].tolist() if self.dim == 1 else [tuple(row) for row in told.tolist()]

    def check_range(self, values: Tensor, *, name: str) -> None:
        """Refuse values that are no finite floats.

        Raises:
            ValueError: If there is one; the variable is named.

        Example:
            >>> Continuous().check_range(torch.zeros(3, 1), name="X")
        """
        if not values.is_floating_point() or not bool(values.isfinite().all()):
            raise ValueError(
                f'"{name}" takes finite floats: got {values.dtype}, or some that are not finite. '
                "`encode` turns numbers into such."
            )

    def to_dict(self) -> dict[str, Any]:
        """Describe the variable in plain JSON.

        Example:
            >>> Continuous(mean=2).to_dict()
            {'type': 'continuous', 'dim': 1, 'mean': 2.0, 'scale': 1.0}
        """
        plain = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }
        return {"type": "continuous", **plain}

    def _row(self, name: str) -> Tensor:
        return torch.tensor(getattr(self, name), dtype=torch.float64)


def _numbers(name: str, given: Any, dim: int) -> Numbers:  # noqa: ANN401 (refused below)
    """Read one finite number, or `dim` of them."""
    several = isinstance(given, (list, tuple, np.ndarray, Tensor)) and np.ndim(given) == 1
    numbers = [_plain(each) for each in (given if several else [given])]
    finite = all(_is_number(each) and math.isfinite(each) for each in numbers)
    if not finite or (several and len(numbers) != dim):
        raise ValueError(
            f"`Continuous` needs a finite number, or {dim} of them, as `{name}`: got {given!r}. "
            "`Continuous.of(column)` reads them from data."
        )
    return tuple(map(float, numbers)) if several and dim > 1 else float(numbers[0])


def _table(column: Iterable[Any], name: str, dim: int | None) -> Tensor:
    """Read a column as a table of finite numbers, (N, dim), in double precision."""
    array: Any = column.numpy(force=True) if isinstance(column, Tensor) else column
    array = array.to_numpy() if hasattr(array, "to_numpy") else array  # a pandas series
    if isinstance(array, np.ndarray) and array.dtype.kind in "iuf":
        table = torch.from_numpy(np.array(array, dtype=np.float64))
    else:
        table = _stack([_read(value, name, row) for row, value in enumerate(array)], name, dim)
    if table.dim() == 1 and dim in (1, None):
        table = table[:, None]
    if table.dim() != 2 or (dim is not None and table.shape[1] != dim):
        raise _misshapen(name, dim, tuple(table.shape))
    bad = ~table.isfinite().all(dim=1)
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise _refusal(next(v for v in table[row].tolist() if not math.isfinite(v)), name, row)
    return table


def _stack(rows: Sequence[Sequence[float]], name: str, dim: int | None) -> Tensor:
    """Put rows of one width in a table."""
    if not rows:
        return torch.zeros(0, dim or 1, dtype=torch.float64)
    wanted = len(rows[0]) if dim is None else dim
    for number, row in enumerate(rows):
        if len(row) != wanted:
            raise _misshapen(name, wanted, (len(row),), f" in row {number}")
    return torch.tensor(rows, dtype=torch.float64)


def _read(value: object, name: str, row: int) -> list[float]:
    """Read the numbers of one row."""
    value = _plain(value)
    numbers = list(map(_plain, value if isinstance(value, (list, tuple)) else [value]))
    for number in numbers:
        if not _is_number(number):
            raise _refusal(number, name, row)
    return [float(number) for number in numbers]


def _plain(value: object) -> Any:  # noqa: ANN401 (whatever numpy or torch has wrapped)
    """Unwrap what numpy or torch has wrapped."""
    return value.tolist() if isinstance(value, (Tensor, np.ndarray, np.generic)) else value


def _is_number(value: object) -> bool:
    """Tell a number that a float can hold; a truth value is none."""
    is_float = isinstance(value, float)
    return is_float or (type(value) is int and abs(value) < sys.float_info.max)


def _refusal(value: object, name: str, row: int) -> ValueError:
    advice = "Convert the column to numbers, or declare a `Categorical`."
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        advice = "Drop the row, or fill the value in."
    return ValueError(f'"{name}" takes finite numbers: got {value!r} in row {row}. {advice}')


def _misshapen(
    name: str, dim: int | None, received: tuple[int, ...], where: str = ""
) -> ShapeError:
    expected = ("N", dim or "dim") if not where else (dim,)
    return ShapeError(
        f'"{name}" should have {dim or "as many"} number(s) in each value: got shape '
        f"{received}{where}. Give `Continuous(dim=...)` as many as a value has.",
        variable=name,
        expected=expected,
        received=received,
    )
