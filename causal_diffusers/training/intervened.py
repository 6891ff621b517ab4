r"""Which variables were set by hand in which rows?

A data set of several regimes has a column `intervened`. In each row it names the variables
that an experimenter set there: `""` for none, `"X"`, `"X,Y"`, or a list of names. Such a row
comes from $P(V \mid do(x))$: it says nothing of how $X$ is made, and all that it used to say
of the others. Its district contributes

$$ \log \int p(u) \prod_{V \in D \setminus X} p(v \mid pa(V), u_V) \, du , $$

the factors of $X$ dropped, the shared $u$ kept.

Only a *hard* experiment is such a row: $X$ stops listening to its causes. An experiment
that makes X listen otherwise (an inhibitor that lowers it, a prompt that is not always
followed) is a cause of X: give it a variable of its own with an edge to X.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from causal_diffusers.training.distinct import distinct_rows
from causal_diffusers.variables import Categorical, Experiment, Variable

__all__ = ["INTERVENED", "experiments_in", "mask_of", "read_masks"]

INTERVENED = "intervened"


def mask_of(name: str) -> str:
    """Name the column that says in which rows a variable was set; no variable has that name.

    Arguments:
        name: The variable.

    Returns:
        The name of the column.

    Example:
        >>> mask_of("X")
        'do(X)'
    """
    return f"do({name})"


def read_masks(column: Iterable[Any], variables: Collection[str]) -> dict[str, Tensor]:
    """Read the column `intervened`.

    Arguments:
        column: For each row the variables that were set: a word, or a sequence of names.
        variables: The variables of the graph, in their order.

    Returns:
        For each variable that was ever set, integers with shape (N,): 1 where it was.

    Raises:
        ValueError: If a name is no variable of the graph; the row is named.

    Example:
        >>> read_masks(["", "X", "X,Y"], ["X", "Y"])["X"].tolist()
        [0, 1, 1]
    """
    rows = [_names(value) for value in column]
    known = set(variables)
    for names in set(rows):
        if foreign := sorted(set(names) - known):
            raise ValueError(
                f"`{INTERVENED}` names variables of the graph that were set by hand: got "
                f'"{foreign[0]}" in row {rows.index(names)}. Separate names by commas; for a '
                "treatment that only changes how a variable is made, give the treatment a "
                "variable of its own."
            )
    members = {name: {names for names in set(rows) if name in names} for name in variables}
    return {
        name: torch.tensor([int(names in held) for names in rows])
        for name, held in members.items()
        if held
    }


def experiments_in(
    masks: Mapping[str, Tensor], columns: Mapping[str, object], variables: Mapping[str, Variable]
) -> tuple[Experiment, ...]:
    """List the experiments that rows come from, and the values that were tried in each.

    Arguments:
        masks: Where each variable was set; those that never were are left out.
        columns: The encoded columns.
        variables: What each variable looks like.

    Returns:
        The experiments; that which sets nothing is first if it occurs.

    Example:
        >>> masks, columns = read_masks(["", "X"], "X"), {"X": torch.tensor([0, 1])}
        >>> for each in experiments_in(masks, columns, {"X": Categorical([0, 1])}):
        ...     each.variables, each.tried
        ((), None)
        (('X',), ((1,),))
    """
    if not masks:
        return (Experiment(),)
    where, which = distinct_rows(list(masks.values()))
    patterns = torch.stack(list(masks.values()), dim=1)[where].tolist()
    found = []
    for number, pattern in enumerate(patterns):
        names = tuple(name for name, is_set in zip(masks, pattern, strict=True) if is_set)
        index = (which == number).nonzero()[:, 0]
        listed = [_listed(columns[name], variables[name], index) for name in names]
        rows = set(zip(*listed, strict=True)) if listed else None
        found.append(Experiment.of(names, rows, variables))
    return tuple(sorted(found, key=lambda each: len(each.variables)))


def _listed(column: object, variable: Variable, index: Tensor) -> list[int | None]:
    """List the codes in some rows; numbers and images have none."""
    if isinstance(column, Tensor) and isinstance(variable, Categorical):
        return column[index].tolist()
    return [None] * len(index)


def _names(value: object) -> tuple[str, ...]:
    """Read one cell: a word, a sequence of names, or nothing."""
    if value is None or value != value:  # nan, as pandas writes an empty cell
        return ()
    if isinstance(value, str):
        return tuple(filter(None, (name.strip() for name in value.split(","))))
    listed: Any = getattr(value, "tolist", lambda: value)()
    return tuple(map(str, listed))
