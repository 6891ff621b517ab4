"""Columns that are computed from others, once for all rows: the codes of images."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from causal_diffusers.training.data import Rows
from causal_diffusers.training.intervened import mask_of
from causal_diffusers.variables import Variable

__all__ = ["derive"]

_NUMBERS = 2**22  # that are computed from at once


def derive(
    rows: Rows, name: str, variable: Variable, source: str, compute: Callable[[Tensor], Tensor]
) -> Rows:
    """Add a column that is computed from another, as soon as it is needed.

    Arguments:
        rows: The data.
        name: The new column.
        variable: What its values look like.
        source: The column that it is computed from.
        compute: Gives its encoded values from those of the source, row by row.

    Returns:
        The rows with the new column; it is known again by its source, and was set where
        that was.

    Example:
        >>> from causal_diffusers.variables import Categorical
        >>> rows = Rows({"X": [0, 1]}, {"X": Categorical([0, 1])})
        >>> more = derive(rows, "Y", Categorical([0, 1]), "X", lambda x: 1 - x)
        >>> more.batch(torch.tensor([0, 1]))["Y"].tolist()
        [1, 0]
    """

    def column() -> Tensor:
        size = torch.Size(rows.variables[source].shape).numel()
        chunks = torch.arange(len(rows)).split(max(1, _NUMBERS // size))
        return torch.cat([compute(rows.batch(some, [source])[source]) for some in chunks])

    more = copy.copy(rows)
    more.variables = {**rows.variables, name: variable}
    more._columns, more._derived = {**rows._columns}, {**rows._derived, name: column}
    if isinstance(mask := rows._columns.get(mask_of(source)), Tensor):
        more._add_masks({name: mask})
    more._digests = {**rows._digests, name: f"from {rows.fingerprint([source])}"}
    return more
