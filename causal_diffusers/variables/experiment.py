r"""What was set by hand in some rows, and to which values?

An experiment sets variables $Z$ at values $z$, whatever their causes say. A proof of
identification takes every value to be tried. Where only some were, it still holds for the
queries that ask of no others.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Mapping
from typing import Any

from causal_diffusers.variables.base import Variable
from causal_diffusers.variables.categorical import Categorical

__all__ = ["Experiment"]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The variables that were set together, and the values that were tried.

    Arguments:
        variables: The variables; none for rows in which nothing was set.
        tried: The combinations of codes that occur, in which a variable that is not
            categorical has None; None if all combinations do.

    Example:
        >>> two = {"X": Categorical([0, 1])}
        >>> Experiment(("X",), ((1,),)).covers({"X": {1}}, two)
        True
        >>> Experiment(("X",), ((1,),)).covers({"X": None}, two)
        False
    """

    variables: tuple[str, ...] = ()
    tried: tuple[tuple[int | None, ...], ...] | None = None

    @classmethod
    def of(
        cls,
        names: tuple[str, ...],
        rows: Collection[tuple[int | None, ...]] | None,
        variables: Mapping[str, Variable],
    ) -> Experiment:
        """Describe an experiment by the codes that occur in its rows.

        Arguments:
            names: The variables that were set.
            rows: The combinations of their codes, as in `tried`; None for all.
            variables: What each variable looks like.

        Returns:
            The experiment.

        Example:
            >>> two = {"X": Categorical([0, 1])}
            >>> Experiment.of(("X",), {(0,), (1,)}, two) == Experiment(("X",))
            True
        """
        if rows is None or len(set(rows)) == _count(names, variables):
            return cls(names)
        return cls(names, tuple(sorted(set(rows), key=str)))

    def covers(
        self, asked: Mapping[str, Collection[int] | None], variables: Mapping[str, Variable]
    ) -> bool:
        """Tell whether the values that a query needs were tried, in all combinations.

        Arguments:
            asked: The codes that are needed of some variables, None for all; a variable
                that is left out may have any value.
            variables: What each variable looks like.

        Returns:
            Whether they were.
        """
        if self.tried is None:
            return True
        listed = [i for i, n in enumerate(self.variables) if isinstance(variables[n], Categorical)]
        places = [i for i in listed if self.variables[i] in asked]
        tried = {tuple(codes[i] for i in places) for codes in self.tried}
        needed = [_codes(asked[self.variables[i]], variables[self.variables[i]]) for i in places]
        return set(itertools.product(*needed)) <= tried

    def to_dict(self) -> dict[str, Any]:
        """Describe the experiment in plain JSON.

        Example:
            >>> Experiment(("X",)).to_dict()
            {'set': ['X'], 'tried': None}
        """
        tried = None if self.tried is None else [list(codes) for codes in self.tried]
        return {"set": list(self.variables), "tried": tried}


def _codes(asked: Collection[int] | None, variable: Variable) -> Collection[int]:
    if asked is not None:
        return asked
    return range(len(variable.labels)) if isinstance(variable, Categorical) else ()


def _count(names: tuple[str, ...], variables: Mapping[str, Variable]) -> int:
    """Count the combinations of codes of some categorical variables."""
    total = 1
    for name in names:
        variable = variables[name]
        total *= len(variable.labels) if isinstance(variable, Categorical) else 1
    return total
