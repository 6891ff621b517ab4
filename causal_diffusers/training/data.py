"""Rows to train on: columns of labels and images, checked once, encoded once.

A data set is a mapping of columns, a pandas frame or a `datasets.Dataset`. Labels, numbers and
images in arrays are encoded at once. Images given as files, or decoded on demand, are
read when they are used; of these, what can be seen early is that every file is there, and
that a spread sample can be read. A column `intervened` says what was set by hand in each
row: see `intervened`.
"""

from __future__ import annotations

import copy
import hashlib
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeGuard

import numpy as np
import torch
from torch import Tensor

from causal_diffusers.training.distinct import distinct_rows
from causal_diffusers.training.intervened import INTERVENED, experiments_in, mask_of, read_masks
from causal_diffusers.variables import Categorical, Continuous, Image, Variable

__all__ = ["Columns", "Rows"]

Column = Tensor | np.ndarray | Sequence[Any]

_FAR, _WIDE = 20, 50  # from mean 0 and standard deviation 1
_SAMPLED = 256  # images read to check a lazy column, and to know it again


class Columns(Protocol):
    """Whatever gives a column by name: a mapping, a frame, a `datasets.Dataset`.

    Example:
        >>> columns: Columns = {"X": [0, 1]}
    """

    def __getitem__(self, name: str, /) -> object:
        """Give a column, a sequence with one entry for each row."""
        ...


class Rows:
    """The encoded columns of a data set.

    Of images that are files, or decoded on demand, only 256 are read at once, evenly
    spread. One of the others that cannot be read is refused when a batch meets it.

    Arguments:
        dataset: A mapping of columns, a pandas frame or a `datasets.Dataset`. If it has a
            column `intervened`, a batch has for each variable X that was set by hand
            somewhere a column `do(X)`, 1 in those rows.
        variables: The variables to read, by name.

    Raises:
        KeyError: If a variable has no column.
        ValueError: If columns differ in length, are empty, name a file that does not
            exist, or hold a value that their variable cannot take, NaN included (variable
            and row are named), or numbers far from the mean and scale of their variable.

    Example:
        >>> from causal_diffusers.variables import Categorical
        >>> rows = Rows({"X": ["a", "b", "b"]}, {"X": Categorical(["a", "b"])})
        >>> len(rows), rows.batch(torch.tensor([0, 2]))["X"].tolist()
        (3, [0, 1])
    """

    def __init__(self, dataset: Columns, variables: Mapping[str, Variable]) -> None:
        self.variables = dict(variables)
        columns = {name: _column(dataset, name) for name in variables}
        sizes = {name: len(column) for name, column in columns.items()}
        if len(set(sizes.values())) != 1 or not all(sizes.values()):
            raise ValueError(
                f"Every column needs the same number of rows, at least one: got {sizes}. Drop "
                "the rows that are not complete."
            )
        self._size = next(iter(sizes.values()))
        self._columns = {name: self._prepare(name, column) for name, column in columns.items()}
        self._derived: dict[str, Callable[[], Tensor]] = {}
        self._numbers = torch.arange(self._size)
        self._digests: dict[str, str] = {}
        masks = _masks(dataset, variables, self._size)
        self.experiments = experiments_in(masks, self._columns, self.variables)
        self._add_masks(masks)
        self._try_lazy_columns()

    def __len__(self) -> int:
        return self._size

    def number_of(self, row: int) -> int:
        """Find the number of a row in the data set that was read.

        Arguments:
            row: Its number here.

        Returns:
            Its number there.
        """
        return int(self._numbers[row])

    def free(self, names: Collection[str], told: Collection[str] = ()) -> Rows:
        """Keep the rows that say how some variables are made: not all of them were set.

        Arguments:
            names: The variables.
            told: Others of which it is of interest whether they were set.

        Returns:
            These rows, which say `do(X)` of those variables and the others only.

        Raises:
            ValueError: If there is no such row.

        Example:
            >>> from causal_diffusers.variables import Categorical
            >>> columns = {"X": [0, 1, 1], "intervened": ["", "X", ""]}
            >>> len(Rows(columns, {"X": Categorical([0, 1])}).free(["X"]))
            2
        """
        masks = {name: self._columns.get(mask_of(name)) for name in (*names, *told)}
        every = [mask for name in names if isinstance(mask := masks[name], Tensor)]
        is_kept = torch.ones(self._size, dtype=torch.bool)
        if len(every) == len(names):
            is_kept = torch.stack(every).amin(dim=0) == 0
        if not is_kept.any():
            raise ValueError(
                f"Rows in which {', '.join(names)} were not set by hand are needed: got none."
            )
        return self._keep(is_kept, {n: m for n, m in masks.items() if isinstance(m, Tensor)})

    def _keep(self, is_kept: Tensor, masks: Mapping[str, Tensor]) -> Rows:
        """Select rows, and the masks that still differ among them."""
        if not any(mask_of(name) in self.variables for name in self.variables):
            return self
        gone = {mask_of(name) for name in self.variables}
        index = is_kept.nonzero().squeeze(1)
        kept = self.take(index)
        kept.variables = {n: v for n, v in self.variables.items() if n not in gone}
        kept._columns = {n: c for n, c in kept._columns.items() if n not in gone}
        kept._add_masks({name: mask[index] for name, mask in masks.items() if mask[index].any()})
        return kept

    def _add_masks(self, masks: Mapping[str, Tensor]) -> None:
        """Add the columns `do(X)`, in which a code is no label but 1 for set."""
        two = Categorical([0, 1])
        self.variables = {**self.variables, **{mask_of(name): two for name in masks}}
        self._columns = {**self._columns, **{mask_of(name): mask for name, mask in masks.items()}}

    def _with_masks(self, names: Iterable[str]) -> list[str]:
        """Name columns, and the `do(X)` of those that have one."""
        listed = list(names)
        masks = [mask_of(n) for n in listed if mask_of(n) in self.variables]
        return listed + [name for name in masks if name not in listed]

    def batch(self, index: Tensor, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Give the encoded values of some rows.

        Arguments:
            index: Row numbers, integers with shape (B,).
            names: The columns wanted; all if None.

        Returns:
            Tensors with shape (B, *shape), by name; beside X also `do(X)`, if there is one.

        Raises:
            ValueError: If an image cannot be read; variable and row are named.

        Example:
            >>> from causal_diffusers.variables import Categorical
            >>> rows = Rows({"X": [0, 1]}, {"X": Categorical([0, 1])})
            >>> rows.batch(torch.tensor([1, 1]), ["X"])["X"].tolist()
            [1, 1]
        """
        wanted = self.variables if names is None else names
        return {name: self._values(name, index) for name in self._with_masks(wanted)}

    def take(self, index: Tensor) -> Rows:
        """Select rows by number, integers with shape (M,), as a data set of their own."""
        taken = copy.copy(self)
        taken._size, taken._numbers, taken._digests = len(index), self._numbers[index], {}
        taken._columns = {
            n: c[index] if isinstance(c, Tensor) else c  # the others are read by number
            for n, c in self._columns.items()
        }
        taken._derived = {n: lambda f=f: f()[index] for n, f in self._derived.items()}
        masks = {n: taken._columns.get(mask_of(n)) for n in self.variables}
        set_by_hand = {n: mask for n, mask in masks.items() if isinstance(mask, Tensor)}
        taken.experiments = experiments_in(set_by_hand, taken._columns, self.variables)
        return taken

    def observational(self) -> Rows:
        """Keep the rows in which nothing was set; refuse a data set without any."""
        return self.untouched([name for name in self.variables if mask_of(name) in self.variables])

    def untouched(self, names: Collection[str]) -> Rows:
        """Keep the rows in which none of some variables was set, without any `do(X)`.

        Raises:
            ValueError: If there is no such row.
        """
        masks = [self._columns.get(mask_of(name)) for name in names]
        every = [mask for mask in masks if isinstance(mask, Tensor)]
        is_set = torch.stack(every).amax(dim=0) if every else torch.zeros(self._size)
        if bool((is_set > 0).all()):
            raise ValueError(
                f"Rows in which none of {', '.join(names)} was set by hand are needed: got none."
            )
        taken = self.take((is_set == 0).nonzero().squeeze(1))
        masked = {mask_of(name) for name in self.variables}
        taken.variables = {n: v for n, v in self.variables.items() if n not in masked}
        return taken

    def counts(self, names: Sequence[str]) -> tuple[dict[str, Tensor], Tensor]:
        """Collapse categorical columns to their distinct rows.

        Arguments:
            names: Categorical columns, at least one.

        Returns:
            The R distinct rows, a tensor with shape (R,) for each name, and how often
            each occurs, with shape (R,).

        Example:
            >>> from causal_diffusers.variables import Categorical
            >>> rows = Rows({"X": [0, 1, 1]}, {"X": Categorical([0, 1])})
            >>> distinct, weights = rows.counts(["X"])
            >>> distinct["X"].tolist(), weights.tolist()
            ([0, 1], [1.0, 2.0])
        """
        columns = self.batch(torch.arange(len(self)), names)
        where, which = distinct_rows(list(columns.values()))
        return {name: labels[where] for name, labels in columns.items()}, which.bincount().float()

    def fingerprint(self, names: Iterable[str]) -> str:
        """Hash the content of some columns, to know the data again after a restart.

        Of images that are read when they are used, the hash sees the names of the files
        and the pixels of 256 of them, evenly spread, as they were at first.

        Arguments:
            names: The columns.

        Returns:
            The hash, which depends on neither the order of the names nor the machine.

        Example:
            >>> from causal_diffusers.variables import Categorical
            >>> rows = Rows({"X": [0, 1]}, {"X": Categorical([0, 1])})
            >>> rows.fingerprint(["X"]) == rows.fingerprint(["X"])
            True
        """
        digests = [f"{n} {self._digest(n)}" for n in sorted(self._with_masks(names))]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def _digest(self, name: str) -> str:
        if name not in self._digests:
            column, digest = self._columns[name], hashlib.sha256()
            if not isinstance(column, Tensor):
                files = [Path(v).name for v in column if isinstance(v, (str, os.PathLike))]
                digest.update("\n".join([str(len(self)), *files]).encode())
                column = self._values(name, _spread(len(self)))
            digest.update(np.ascontiguousarray(column.numpy()).data)
            self._digests[name] = digest.hexdigest()
        return self._digests[name]

    def _prepare(self, name: str, column: Column) -> Tensor | Sequence[Any]:
        variable = self.variables[name]
        if isinstance(variable, Image) and _is_lazy(column):
            return column
        values = _encode(variable, name, column, range(len(column))).detach().cpu()
        if isinstance(variable, Continuous):
            _check_scale(name, variable, values)
        return values

    def _try_lazy_columns(self) -> None:
        """Read a sample of what is read later, and look whether the files are there."""
        for name, column in self._columns.items():
            if not isinstance(column, Tensor):
                _check_files(self.variables[name], name, column)
                self._digest(name)  # reads the sample, and is needed anyway

    def _values(self, name: str, index: Tensor) -> Tensor:
        if name in self._derived:
            self._columns[name] = self._derived.pop(name)()
        column = self._columns[name]
        if isinstance(column, Tensor):
            return column[index]
        rows = self._numbers[index].tolist()
        return _encode(self.variables[name], name, [column[row] for row in rows], rows)


def _masks(dataset: Columns, variables: Mapping[str, Variable], size: int) -> dict[str, Tensor]:
    """Read what was set by hand, if the data say so."""
    if INTERVENED in variables or INTERVENED not in _names(dataset):
        return {}
    column = _column(dataset, INTERVENED)
    if len(column) != size:
        raise ValueError(
            f"`{INTERVENED}` needs an entry for each of {size} rows: got {len(column)}."
        )
    return read_masks(column, list(variables))


def _spread(size: int) -> Tensor:
    """Give the numbers of evenly spread rows."""
    return torch.arange(0, size, math.ceil(size / _SAMPLED))


def _check_scale(name: str, variable: Continuous, values: Tensor) -> None:
    """Refuse standardised numbers that are not, for no network learns from such."""
    mean, spread = values.double().mean(dim=0), values.double().std(dim=0, correction=0)
    far = (mean.abs() > _FAR) | (spread > _WIDE) | ((spread > 0) & (spread < 1 / _WIDE))
    if bool(far.any()):
        number = int(far.nonzero()[0])
        varies = bool((spread > 0).all())
        here = f", here `{Continuous.of(variable.decode(values))}`" if varies else ""
        raise ValueError(
            f'"{name}" should lie near its `mean`, within a few of its `scale`: got numbers that '
            f"lie {mean[number].item():.3g} scales from it and spread over "
            f"{spread[number].item():.3g}. Declare the variable as `Continuous.of(column)`{here}."
        )


def _check_files(variable: Variable, name: str, column: Sequence[Any]) -> None:
    """Refuse a path to nothing, and what is no image, in a column of paths."""
    if not isinstance(column[0], (str, os.PathLike)):
        return
    for row, path in enumerate(column):
        if not isinstance(path, (str, os.PathLike)):
            _try(variable, name, path, row)
        elif not Path(path).is_file():
            raise ValueError(
                f'"{name}" names a file that does not exist in row {row}: got {str(path)!r}. '
                "Relative paths start in the working directory; drop the row, or correct it."
            )


def _column(dataset: Columns, name: str) -> Column:
    """Take one column out of whatever holds columns."""
    names = _names(dataset)
    if name not in names:
        raise KeyError(
            f'The data have no column "{name}": got {sorted(map(str, names))}. Rename the column, '
            "or take the variable out of the graph by latent projection."
        )
    given: Any = dataset[name]
    column: Any = given.to_numpy() if hasattr(given, "to_numpy") else given
    is_mixed = isinstance(column, np.ndarray) and column.dtype.kind == "O"
    return list(column) if is_mixed else column


def _names(dataset: Columns) -> list[Any]:
    """List the columns of a mapping, of a frame or of a `datasets.Dataset`."""
    if isinstance(dataset, Mapping):
        return list(dataset)
    for attribute in ("columns", "column_names"):
        if hasattr(dataset, attribute):
            return list(getattr(dataset, attribute))
    raise TypeError(
        "`dataset` is a mapping of columns, a pandas frame or a `datasets.Dataset`: got "
        f"{type(dataset).__name__}."
    )


def _encode(variable: Variable, name: str, values: Column, rows: Sequence[int]) -> Tensor:
    """Encode values; if that fails, say for which row of the data."""
    if isinstance(variable, Image) and isinstance(values, (Tensor, np.ndarray)):
        return variable.encode(values, name=name)
    try:
        return variable.encode(values, name=name)
    except (OSError, RuntimeError, TypeError, ValueError):
        for row, value in zip(rows, values, strict=True):
            _try(variable, name, value, row)
        raise


def _try(variable: Variable, name: str, value: object, row: int) -> None:
    """Encode one value, to see whether it is the one that fails."""
    try:
        variable.encode([value], name=name)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        own, said = "in row 0", str(error)
        told = f'"{name}" cannot be read in row {row}: {said}'
        raise ValueError(said.replace(own, f"in row {row}") if own in said else told) from error


def _is_lazy(column: Column) -> TypeGuard[Sequence[Any]]:
    """Whether a column holds files or images decoded on demand instead of pixels."""
    if isinstance(column, (Tensor, np.ndarray)):
        return isinstance(column, np.ndarray) and column.dtype.kind == "U"
    return isinstance(column[0], (str, os.PathLike)) or hasattr(column[0], "convert")
