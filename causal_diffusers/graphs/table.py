"""What does a query answer, for every value of its variables at once?

A table holds one number per configuration of some discrete variables, an axis for each.
Estimands and systems with a known truth answer in the same tables, so that the two can be
compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from causal_diffusers.errors import GraphError
from causal_diffusers.graphs.names import check_known

__all__ = ["Table"]


@final
@dataclass(frozen=True, eq=False)
class Table:
    """Numbers with one named axis per discrete variable.

    Arguments:
        values: The numbers, with one axis per variable.
        variables: The names of the axes, in order.

    Raises:
        ValueError: If the number of axes and of names differ.

    Example:
        >>> table = Table(np.array([[0.1, 0.9], [0.4, 0.6]]), ("X", "Y"))
        >>> table.at({"X": 1}).variables
        ('Y',)
    """

    values: npt.NDArray[np.float64]
    variables: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.values.ndim != len(self.variables):
            raise ValueError(
                f"`values` needs one axis for each of {len(self.variables)} variables "
                f"({', '.join(self.variables)}): got shape {self.values.shape}."
            )

    def at(self, codes: Mapping[str, int]) -> Table:
        """Fix some variables at a value.

        Arguments:
            codes: The value of each variable to fix, as its place on the axis.

        Returns:
            The table over the other variables.

        Raises:
            GraphError: If a name is not a variable of the table.

        Example:
            >>> table = Table(np.zeros((2, 3, 4)), ("X", "Y", "Z"))
            >>> table.at({"Y": 2, "X": 0}).values.shape
            (4,)
        """
        check_known(codes, self.variables, "codes")
        place = tuple(codes.get(name, slice(None)) for name in self.variables)
        rest = tuple(name for name in self.variables if name not in codes)
        return Table(np.asarray(self.values[place], dtype=np.float64), rest)

    def order(self, *variables: str) -> Table:
        """Put the axes in another order.

        Arguments:
            variables: All the names, in the new order.

        Returns:
            The same numbers with the axes in that order.

        Raises:
            GraphError: If the names are not those of the table, each once.

        Example:
            >>> Table(np.zeros((2, 3)), ("X", "Y")).order("Y", "X").values.shape
            (3, 2)
        """
        if sorted(variables) != sorted(self.variables):
            raise GraphError(
                f"`order` must name {', '.join(self.variables)}, each once: got "
                f"{', '.join(variables)}."
            )
        axes = [self.variables.index(name) for name in variables]
        return Table(self.values.transpose(axes), variables)
