"""Rows to train on: columns of labels and images, checked once, encoded once.

A data set is a mapping of columns, a pandas frame or a `datasets.Dataset`. Labels and
images in arrays are encoded at once; images given as files are read when they are used.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from causal_diffusers.variables import Categorical, Image, Variable

__all__ = ["Rows"]


class Rows:
    """The encoded columns of a data set.

    Arguments:
        dataset: A mapping of columns, a pandas frame or a `datasets.Dataset`.
        variables: The variables to read, by name.

    Raises:
        KeyError: If a variable has no column.
        ValueError: If columns differ in length, are empty, or hold a value that their
            variable cannot take, NaN included; variable and row are named.

    Example:
        >>> rows = Rows({"X": ["a", "b", "b"]}, {"X": Categorical(["a", "b"])})
        >>> len(rows), rows.batch(torch.tensor([0, 2]))["X"].tolist()
        (3, [0, 1])
    """

    def __init__(self, dataset: Any, variables: Mapping[str, Variable]) -> None:
        self.variables = dict(variables)
        columns = {name: _column(dataset, name) for name in variables}
        sizes = {name: len(column) for name, column in columns.items()}
        if len(set(sizes.values())) != 1 or not all(sizes.values()):
            raise ValueError(
                f"Every column needs the same number of rows, at least one: got {sizes}."
            )
        self._size = next(iter(sizes.values()))
        self._columns = {name: self._prepare(name, column) for name, column in columns.items()}

    def __len__(self) -> int:
        return self._size

    def batch(self, index: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Give the encoded values of some rows.

        Arguments:
            index: Row numbers, integers with shape (B,).
            names: The columns wanted; all if None.

        Returns:
            Tensors with shape (B, *shape), by name.

        Example:
            >>> rows = Rows({"X": [0, 1]}, {"X": Categorical([0, 1])})
            >>> rows.batch(torch.tensor([1, 1]), ["X"])["X"].tolist()
            [1, 1]
        """
        return {name: self._values(name, index) for name in names or self.variables}

    def counts(self, names: Sequence[str]) -> tuple[dict[str, Tensor], Tensor]:
        """Collapse categorical columns to their distinct rows.

        Arguments:
            names: Categorical columns, at least one.

        Returns:
            The R distinct rows, a tensor with shape (R,) for each name, and how often
            each occurs, with shape (R,).

        Example:
            >>> rows = Rows({"X": [0, 1, 1]}, {"X": Categorical([0, 1])})
            >>> distinct, weights = rows.counts(["X"])
            >>> distinct["X"].tolist(), weights.tolist()
            ([0, 1], [1.0, 2.0])
        """
        stacked = torch.stack([self._columns[name] for name in names], dim=1)
        distinct, counts = stacked.unique(dim=0, return_counts=True)
        return dict(zip(names, distinct.unbind(dim=1), strict=True)), counts.float()

    def fingerprint(self, names: Sequence[str]) -> str:
        """Hash the content of some columns, to know the data again after a restart.

        Example:
            >>> rows = Rows({"X": [0, 1]}, {"X": Categorical([0, 1])})
            >>> rows.fingerprint(["X"]) == rows.fingerprint(["X"])
            True
        """
        digest = hashlib.sha256()
        for name in sorted(names):
            column = self._columns[name]
            content = column.numpy().tobytes() if isinstance(column, Tensor) else repr(column).encode()
            digest.update(name.encode() + content)
        return digest.hexdigest()

    def _prepare(self, name: str, column: Any) -> Any:
        variable = self.variables[name]
        if isinstance(variable, Image) and _is_lazy(column):
            return column
        return variable.encode(column, name=name)

    def _values(self, name: str, index: Tensor) -> Tensor:
        column = self._columns[name]
        if isinstance(column, Tensor):
            return column[index]
        chosen = [column[int(i)] for i in index]
        return self.variables[name].encode(chosen, name=name)


def _column(dataset: Any, name: str) -> Any:
    """Take one column out of whatever holds columns."""
    known = getattr(dataset, "column_names", None) or getattr(dataset, "columns", None)
    names = list(dataset.keys() if known is None else known)
    if name not in names:
        raise KeyError(
            f'The data have no column "{name}": got {sorted(map(str, names))}. Rename the column, '
            "or take the variable out of the graph by latent projection."
        )
    column = dataset[name]
    return column.to_numpy() if hasattr(column, "to_numpy") else column


def _is_lazy(column: Any) -> bool:
    """Whether a column holds files or decoded-on-demand images instead of pixels."""
    if isinstance(column, (Tensor, np.ndarray)) and column.dtype != object:
        return False
    first = column[0]
    return isinstance(first, (str, os.PathLike)) or hasattr(first, "convert")
