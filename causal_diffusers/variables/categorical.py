"""A variable with finitely many named values: labels outside, codes inside."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from causal_diffusers.variables.base import Variable

__all__ = ["Categorical"]


@dataclasses.dataclass(frozen=True)
class Categorical(Variable):
    """A variable with finitely many named values.

    Arguments:
        labels: The names of the values, at least two and all distinct: strings,
            integers or booleans.

    Raises:
        ValueError: If there are fewer than two labels, one occurs twice, or one is
            something else, such as a missing value.

    Example:
        >>> smokes = Categorical(["no", "yes"])
        >>> smokes.encode(["yes", "no", "yes"], name="smokes").tolist()
        [1, 0, 1]
        >>> smokes.decode(torch.tensor([1, 0]))
        ['yes', 'no']
    """

    labels: tuple[str | int | bool, ...]

    def __init__(self, labels: Sequence[str | int | bool]) -> None:
        names = tuple(_whole(label) for label in _as_list(labels))
        if not all(isinstance(name, (str, int)) for name in names):
            raise ValueError(
                "`Categorical` takes labels that are strings, integers or booleans: got "
                f"{list(names)}. Name the values, as in `map(str, labels)`; bin real numbers."
            )
        distinct = min(len(set(names)), len(set(map(str, names))))  # 1 == True; str(1) == "1"
        if len(names) < 2 or distinct < len(names):
            raise ValueError(
                f"`Categorical` needs at least two distinct labels: got {list(names)}. "
                "Drop a variable that never varies; merge labels that mean the same."
            )
        object.__setattr__(self, "labels", names)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one code: a scalar, ()."""
        return ()

    def encode(self, column: Iterable[Any], *, name: str) -> Tensor:
        """Turn labels into codes, or check codes.

        A column is read as labels. Where the labels are words, and none of them occurs in
        it, it is read as codes. As in Python, 1 and 1.0 are one label, "1" another; True is 1
        where the labels are 0 and 1, and no code.

        Arguments:
            column: The values: N labels, or N codes in 0..K-1.
            name: What to call the variable in errors.

        Returns:
            The codes, integers with shape (N,).

        Raises:
            ValueError: If a value is neither a label nor a code; the row is named.

        Example:
            >>> Categorical(["a", "b"]).encode([0, 1, 1], name="X").tolist()
            [0, 1, 1]
            >>> Categorical([3, 5]).encode([5, 3, 3], name="X").tolist()
            [1, 0, 0]
        """
        values = _as_list(column)
        code_of = self._reading(values)
        if not all(_is_key(value, code_of) for value in values):
            raise self._refusal(values, code_of, name)
        return torch.tensor([code_of[value] for value in values], dtype=torch.int64)

    def decode(self, codes: Tensor) -> list[str | int | bool]:
        """Turn codes with shape (N,) back into labels.

        Example:
            >>> Categorical([3, 5]).decode(torch.tensor([1]))
            [5]
        """
        return [self.labels[code] for code in codes.tolist()]

    def check_range(self, values: Tensor, *, name: str) -> None:
        """Refuse codes that are no integers in 0..K-1.

        Raises:
            ValueError: If there is one; the variable is named.

        Example:
            >>> Categorical("ab").check_range(torch.tensor([0, 1]), name="X")
        """
        whole = not values.is_floating_point() and values.dtype != torch.bool
        if not whole or bool(((values < 0) | (values >= len(self.labels))).any()):
            received = f"{values.dtype} {values.unique().tolist()[:5]}"
            raise ValueError(
                f'"{name}" takes codes, integers in 0..{len(self.labels) - 1}: got {received}. '
                "`encode` turns labels into codes."
            )

    def to_dict(self) -> dict[str, Any]:
        """Describe the variable in plain JSON.

        Example:
            >>> Categorical([0, 1]).to_dict()
            {'type': 'categorical', 'labels': [0, 1]}
        """
        return {"type": "categorical", "labels": list(self.labels)}

    def _reading(self, values: Sequence[Any]) -> dict[Any, int]:
        """Choose what the values of a column mean: labels, or codes."""
        labels = {label: code for code, label in enumerate(self.labels)}
        read_as_labels = any(map(_reads_as_number, self.labels)) or any(
            isinstance(value, bool) or _is_key(value, labels) for value in values
        )
        if read_as_labels:
            return labels
        return {code: code for code in labels.values()}

    def _refusal(self, values: Sequence[Any], code_of: Mapping[Any, int], name: str) -> ValueError:
        """Name the first value that cannot be read."""
        row, value = next((i, v) for i, v in enumerate(values) if not _is_key(v, code_of))
        twin = next((label for label in self.labels if str(label) == str(value)), None)
        advice = (
            "Pass a label, add this one to the `Categorical`, or drop the row."
            if twin is None
            else f"The label is of type {type(twin).__name__} and the value of type "
            f"{type(value).__name__}: convert the column."
        )
        shown = ", ".join(map(repr, self.labels[:10])) + (", ..." if self.labels[10:] else "")
        return ValueError(f'"{name}" takes one of [{shown}]: got {value!r} in row {row}. {advice}')


def _as_list(column: Iterable[Any]) -> list[Any]:
    """List the values of a column, numpy and torch scalars as Python ones."""
    values = getattr(column, "tolist", lambda: list(column))()
    return [v.item() if getattr(v, "ndim", None) == 0 else v for v in values]


def _whole(value: object) -> object:
    """Turn a whole float, as spreadsheets have them, into an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _reads_as_number(label: str | int) -> bool:
    """Whether a label could be taken for a code."""
    try:
        float(label)
    except ValueError:
        return False
    return True


def _is_key(value: object, code_of: Mapping[Any, int]) -> bool:
    """Whether a value stands for a code; a truth value only where there are two of them."""
    if isinstance(value, bool) and code_of.keys() != {0, 1}:
        return any(key is value for key in code_of)
    return isinstance(value, (str, int, float)) and value in code_of
