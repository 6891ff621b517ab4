r"""May this query be put to this model?

It may if the graph and the regimes of the data determine the answer, and if every mechanism
that it would sample has seen data. A model that was fitted in these regimes then agrees
with the truth on it, whatever else it may say.

References:
    General identifiability with arbitrary surrogate experiments (Lee, Correa & Bareinboim,
    2019), Thm. 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection

from causal_diffusers.errors import NotIdentifiableError
from causal_diffusers.query import Query
from causal_diffusers.scm import StructuralCausalModel
from causal_diffusers.variables import Experiment

__all__ = ["check_answerable", "check_on_unidentified"]


def check_answerable(
    query: Query,
    scm: StructuralCausalModel,
    experiments: Collection[Experiment],
    on_unidentified: str = "raise",
) -> None:
    """Refuse, or warn of, a query that graph and data do not answer.

    Arguments:
        query: The query.
        scm: The model.
        experiments: What was set by hand in each regime of its data.
        on_unidentified: `"raise"`, or `"warn"` and go on.

    Raises:
        NotIdentifiableError: If the answer is not determined.
        ValueError: If a variable would be sampled that every row sets by hand.

    Example:
        >>> from causal_diffusers.graphs import ADMG
        >>> from causal_diffusers.variables import Categorical
        >>> graph = ADMG.parse("X -> Y; X <-> Y")
        >>> scm = StructuralCausalModel(graph, dict.fromkeys("XY", Categorical([0, 1])), {})
        >>> query = Query(("Y",), do={"X": 1})
        >>> check_answerable(query, scm, [Experiment(), Experiment(("X",))])
        >>> check_answerable(query, scm, [Experiment()])
        Traceback (most recent call last):
        ...
        causal_diffusers.errors.NotIdentifiableError: `P(Y | do(X))` is not identifiable ...
    """
    try:
        if query.do or Experiment() not in experiments:  # else it was observed
            query.estimand(scm.graph, experiments, scm.variables)
    except NotIdentifiableError as error:
        if on_unidentified == "raise":
            raise
        warnings.warn(
            f"{error} Sampling anyway: other models fit the data as well and answer otherwise.",
            stacklevel=4,
        )
    untrained = frozenset.intersection(*(frozenset(e.variables) for e in experiments))
    asked = {*query.outcomes, *query.given}
    if lost := sorted(untrained & scm.needed(asked, query.do)):
        raise ValueError(
            f'"{lost[0]}" was set by hand in every row, so no data say how it is made, and '
            f'`{query}` would sample it. Set it (`do={{"{lost[0]}": ...}}`), or train on rows '
            "in which it is free."
        )


def check_on_unidentified(choice: str) -> None:
    """Refuse what is no answer to: what if the graph does not determine the answer?

    Arguments:
        choice: `"raise"` or `"warn"`.

    Raises:
        ValueError: If it is something else.

    Example:
        >>> check_on_unidentified("ignore")
        Traceback (most recent call last):
        ...
        ValueError: `on_unidentified` is "raise" or "warn": got 'ignore'.
    """
    if choice not in {"raise", "warn"}:
        raise ValueError(f'`on_unidentified` is "raise" or "warn": got {choice!r}.')
