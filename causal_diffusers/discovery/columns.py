r"""What do the columns of a data set hold, and can discovery read them?

Numbers, one a row; or images and vectors, several numbers a row, which enter as their
principal components, each with deviation 1. An edge of the variable is then the likeliest
edge of its components.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from causal_diffusers.graphs.names import check_name
from causal_diffusers.metrics.propensity import coarse_features

__all__ = ["Table", "read_table"]

_COMPONENTS = 3
_STANDARD, _DUPLICATE = 1e-2, 1 - 1e-9
_EXACT, _SHARE = 1e-9, 1e-3  # the least eigenvalue of an exact relation, and who is in it


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """A data set of numbers.

    Arguments:
        variables: The names.
        values: The numbers, with shape (n, columns), in double precision.
        owner: The variable of each column, integers with shape (columns,).

    Example:
        >>> Table(("X", "Y"), torch.zeros(3, 2), torch.tensor([0, 1])).has_blocks
        False
    """

    variables: tuple[str, ...]
    values: Tensor
    owner: Tensor

    @property
    def has_blocks(self) -> bool:
        """Whether a variable has several columns."""
        return len(self.owner) > len(self.variables)

    def spread(self, mask: Tensor) -> Tensor:
        """Repeat a matrix over variables for their columns, with shape (columns, columns)."""
        return mask[self.owner][:, self.owner]

    def gather(self, matrix: Tensor, by: Tensor) -> Tensor:
        """Give what `matrix` has at the largest `by` of each pair of variables."""
        d = len(self.variables)
        if not self.has_blocks:
            return matrix
        pair = (self.owner[:, None] * d + self.owner[None, :]).flatten()
        taken = torch.zeros(d * d, dtype=matrix.dtype)
        for k in by.flatten().argsort().tolist():  # the largest comes last, and stays
            taken[pair[k]] = matrix.flatten()[k]
        return taken.view(d, d) * (1 - torch.eye(d))

    def cautions(self) -> tuple[str, ...]:
        """Say what about the data speaks against reading an order from variances."""
        variances = self.values.var(dim=0)
        found = []
        if self.has_blocks:
            found.append(
                "Caution: images and vectors have no unit, so their place in the order rests on "
                "dependence alone."
            )
        elif float(variances.max() / variances.min()) < 1 + _STANDARD:
            found.append(
                "Caution: all columns have the same variance, as if standardised. What variances "
                "tell of the order is lost: directions are doubtful. Pass the data in one unit."
            )
        return tuple(found)

    def ties(self) -> tuple[str, ...]:
        """Say which variables are bound by an exact linear relation, if there is one."""
        if len(self.values) <= len(self.owner) + 1:
            return ()  # among few rows there always is one
        levels, vectors = torch.linalg.eigh(torch.corrcoef(self.values.T))
        if levels[0] > _EXACT:
            return ()
        owners = self.owner[vectors[:, 0].abs() > _SHARE].unique().tolist()
        names = ", ".join(self.variables[owner] for owner in owners)
        return (
            f"Caution: each of {names} follows exactly from the others. No data can tell which "
            "causes what among them; leave one out.",
        )


def read_table(data: object) -> Table:
    """Read a data set, and refuse what discovery cannot read.

    Arguments:
        data: A mapping of columns, a pandas frame, a `datasets.Dataset`, or an array of
            shape (n, d), whose variables are then called X0, X1, ...

    Returns:
        The table.

    Raises:
        GraphError: If a name can be no variable's.
        ValueError: If there are fewer than two rows or variables, columns of different
            lengths, words, NaN, a constant column or the same column twice.

    Example:
        >>> read_table({"X": [0.0, 1.0, 3.0], "Y": [1, 0, 1]}).values.shape
        torch.Size([3, 2])
    """
    columns = {name: _read(name, column) for name, column in _columns(data).items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"`data` has columns of one length: got {lengths}.")
    if len(columns) < 2 or min(lengths.values()) < 2:
        rows = min(lengths.values(), default=0)
        raise ValueError(
            f"`discover` needs two variables and two rows at least: got {len(columns)} variables "
            f"and {rows} rows. Ten rows are few, a hundred are enough for strong edges."
        )
    for name, column in columns.items():
        _check(name, column)
    owner = [k for k, column in enumerate(columns.values()) for _ in range(column.shape[1])]
    table = Table(tuple(columns), torch.cat(list(columns.values()), dim=1), torch.tensor(owner))
    _check_duplicates(table)
    return table


def _columns(given: object) -> dict[str, Any]:
    """Name the columns."""
    data: Any = given
    if isinstance(data, (np.ndarray, Tensor, list, tuple)):
        return _numbered(data)
    if isinstance(data, Mapping):
        return {check_name(name): column for name, column in data.items()}
    if names := getattr(data, "column_names", None):  # datasets.Dataset
        return {check_name(name): data[name] for name in names}
    if hasattr(data, "columns"):  # pandas
        if not data.columns.is_unique:
            raise ValueError(f"`data` has two columns of one name: got {list(data.columns)}.")
        names = {name: f"X{name}" if isinstance(name, int) else name for name in data.columns}
        return {check_name(called): data[name].to_numpy() for name, called in names.items()}
    kind = type(data).__name__
    raise ValueError(f"`data` is a mapping of columns, a frame or an array: got {kind}.")


def _numbered(data: np.ndarray | Tensor | Sequence[Any]) -> dict[str, Tensor]:
    """Name the columns of an array by their numbers."""
    try:
        array = data if isinstance(data, Tensor) else torch.as_tensor(_array(data))
    except (TypeError, ValueError):
        raise ValueError(
            f"`data` without names is an array of numbers: got {_sample(data)!r} first."
        ) from None
    if array.dim() != 2:
        raise ValueError(
            f"`data` without names is an array of shape (n, d): got {tuple(array.shape)}."
        )
    return {f"X{k}": array[:, k] for k in range(array.shape[1])}


def _read(name: str, column: object) -> Tensor:
    """Read a column as doubles of shape (n, k)."""
    try:
        array = column if isinstance(column, Tensor) else _array(column)
        values = torch.as_tensor(array).double()
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f'"{name}" should hold numbers: got {_sample(column)!r}. Encode labels as numbers '
            "where their order means something; leave the column out otherwise."
        ) from None
    if values.dim() > 2:
        values = coarse_features(values.float()).double()
    return values[:, None] if values.dim() == 1 else _principal(values)


def _principal(values: Tensor) -> Tensor:
    """Project vectors to the directions in which they vary most, each with deviation 1."""
    if not values.isfinite().all() or len(values) < 2:
        return values  # refused later, by name
    centred = values - values.mean(dim=0)
    directions = torch.linalg.svd(centred, full_matrices=False)[2][:_COMPONENTS]
    shown = centred @ directions.T
    deviation = shown.std(dim=0)
    varied = deviation > 1e-6 * deviation.max().clamp(min=1e-12)
    return shown[:, varied] / deviation[varied] if varied.any() else shown[:, :1]


def _array(given: object) -> np.ndarray:
    column: Any = given
    if hasattr(_sample(column), "convert"):  # PIL images
        return np.stack([np.atleast_3d(np.asarray(each)).transpose(2, 0, 1) for each in column])
    array = np.array(column)  # a copy: those of pandas cannot be written to
    if array.dtype.kind not in "biuf":
        raise TypeError
    return array


def _sample(column: object) -> object:
    return column[0] if isinstance(column, (Sequence, np.ndarray)) and len(column) else column


def _check(name: str, column: Tensor) -> None:
    if not column.isfinite().all():
        row = int((~column.isfinite()).any(dim=1).nonzero()[0])
        raise ValueError(
            f'"{name}" should hold finite numbers: row {row} does not. Leave out or impute rows '
            "with missing values."
        )
    if (column == column[:1]).all():
        raise ValueError(
            f'"{name}" is constant: {column[0, 0]:g} in every row. Leave it out: nothing can be '
            "said of it."
        )


def _check_duplicates(table: Table) -> None:
    if len(table.values) < 3:
        return
    z = table.values - table.values.mean(dim=0)
    z = z / z.norm(dim=0)
    alike = (z.T @ z).abs().triu(diagonal=1) > _DUPLICATE
    for i, j in alike.nonzero().tolist():
        a, b = (table.variables[int(table.owner[k])] for k in (i, j))
        raise ValueError(
            f'"{a}" and "{b}" are the same column up to a unit. Leave one of them out: no data '
            "can tell which causes what."
        )
