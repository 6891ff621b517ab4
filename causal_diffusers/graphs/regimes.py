r"""Which regimes was a system observed in, and what was set in each?

A *regime* is a way in which rows came about: somebody watched, or somebody set some
variables $Z$ by hand, whatever their causes said. It is known by the set $Z$, empty for
whoever only watched, and its rows come from $P_z(V) = P(V \mid do(z))$. How often each value
$z$ was chosen is the experimenter's business and never asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from causal_diffusers.graphs.names import check_known

__all__ = ["Experiments", "read_experiments", "write_experiment"]

Names = frozenset[str]
Experiments = str | Iterable[str | Iterable[str]]


def read_experiments(experiments: Experiments, variables: Collection[str]) -> tuple[Names, ...]:
    """Read regimes as users write them.

    Arguments:
        experiments: For each regime the variables that are set: one name, or several; `()`
            for none.
        variables: The variables of the graph.

    Returns:
        The sets, each once, in the order given.

    Raises:
        GraphError: If a name is unknown.
        ValueError: If there is no regime.

    Example:
        >>> [sorted(Z) for Z in read_experiments([(), "X", ("Z", "X")], ["X", "Y", "Z"])]
        [[], ['X'], ['X', 'Z']]
    """
    listed = [experiments] if isinstance(experiments, str) else list(experiments)
    read = [check_known(names or (), variables, "experiments") for names in listed]
    if not read:
        raise ValueError(
            "`experiments` must name at least one regime: got none. `[()]` is to watch and set "
            "nothing."
        )
    return tuple(dict.fromkeys(read))


def write_experiment(names: Iterable[str]) -> str:
    """Write what is set in a regime.

    Arguments:
        names: The variables that are set.

    Returns:
        The regime as text.

    Example:
        >>> print(write_experiment(["X", "A"]), "and", write_experiment([]))
        do(A, X) and observation
    """
    listed = ", ".join(sorted(names))
    return f"do({listed})" if listed else "observation"
