r"""What is a user told whose query has no answer?

Which hedge blocks it in each regime that was observed, and the ways out: an experiment that
would settle it, a confounder to observe, another query.

References:
    General identifiability with arbitrary surrogate experiments (Lee, Correa & Bareinboim,
    2019), Def. 4 (thicket), Thm. 2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import final

from causal_diffusers.errors import NotIdentifiableError
from causal_diffusers.graphs.admg import ADMG
from causal_diffusers.graphs.estimand import write_query
from causal_diffusers.graphs.hedge import Hedge, cut_hedge
from causal_diffusers.graphs.notation import write_set
from causal_diffusers.graphs.regimes import Experiments, read_experiments, write_experiment

__all__ = ["Asked", "refusal"]

Names = frozenset[str]


@final
@dataclasses.dataclass(frozen=True)
class Asked:
    r"""A checked question: what is asked, and in which regimes the system was observed.

    Arguments:
        graph: The graph.
        outcomes: The variables $Y$.
        do: The variables $X$.
        given: The variables $Z$.
        experiments: The variables set in each regime.

    Example:
        >>> print(Asked.of(ADMG.parse("X -> Y"), "Y", "X", (), [()]).query)
        P(Y | do(X))
    """

    graph: ADMG
    outcomes: tuple[str, ...]
    do: tuple[str, ...]
    given: tuple[str, ...]
    experiments: tuple[Names, ...]

    @classmethod
    def of(
        cls,
        G: ADMG,
        outcomes: str | Iterable[str],
        do: str | Iterable[str],
        given: str | Iterable[str],
        experiments: Experiments,
    ) -> Asked:
        """Check a question.

        Arguments:
            G: The graph.
            outcomes: One name or several.
            do: One name or several.
            given: One name or several.
            experiments: The variables set in each regime.

        Returns:
            The question.

        Raises:
            GraphError: If a name is no variable of the graph.
            ValueError: If no outcome or no regime is named, or a variable twice.
        """
        Y, X, Z = (
            _listed(G, *part) for part in (("outcomes", outcomes), ("do", do), ("given", given))
        )
        if not Y:
            raise ValueError(
                "`outcomes` must name at least one variable: got none. Name what is asked for."
            )
        named = Y + X + Z
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(
                "`outcomes`, `do` and `given` must name each variable once: got "
                f"{', '.join(twice)} twice. Leave it in one of them."
            )
        return cls(G, Y, X, Z, read_experiments(experiments, G.variables))

    @property
    def query(self) -> str:
        """The query as text."""
        return write_query(self.outcomes, self.do, self.given)


def refusal(
    asked: Asked,
    S: Names,
    found: Mapping[Names, tuple[Names, Names]],
    is_identifiable: Callable[[Asked], bool],
) -> NotIdentifiableError:
    """Explain why a question has no answer.

    Arguments:
        asked: The question.
        S: The district whose c-factor no regime determines.
        found: For each regime that leaves it alone, the variables of the forests that block
            it there.
        is_identifiable: Whether another question has an answer.

    Returns:
        The error, to be raised.

    Example:
        >>> asked = Asked.of(ADMG.parse("X -> Y; X <-> Y"), "Y", "X", (), [()])
        >>> forests = {frozenset(): (frozenset("XY"), frozenset("Y"))}
        >>> print(refusal(asked, frozenset("Y"), forests, lambda _: False).hedge)
        {X, Y} over {Y}
    """
    do = Names(asked.do)
    thicket = {Z: cut_hedge(asked.graph, *pair, do=do - Z) for Z, pair in found.items()}
    watched = asked.experiments == (Names(),)
    told = _told_of_one(asked, thicket[Names()]) if watched else _told(asked, S, thicket)
    if not watched and (settling := _settling(asked, thicket, is_identifiable)):
        told += f" {settling} would settle it."
    alone = [
        name
        for name in asked.outcomes
        if len(asked.outcomes) > 1
        and is_identifiable(dataclasses.replace(asked, outcomes=(name,)))
    ]
    told += f" Identifiable one at a time: {', '.join(alone)}." if alone else ""
    hedge = thicket.get(Names(), next(iter(thicket.values()), None))
    return NotIdentifiableError(told, query=asked.query, hedge=hedge, thicket=thicket)


def _told_of_one(asked: Asked, hedge: Hedge) -> str:
    """Explain the hedge of somebody who only watched."""
    forced = ", ".join(name for name in asked.do if name in hedge.forest.variables)
    return (
        f"`{asked.query}` is not identifiable from this graph: unobserved confounders join "
        f"{forced} to "
        f"{', '.join(hedge.subforest.variables)} with no observed variable that breaks the tie "
        f"(hedge {hedge}). Add interventional data on {forced}, observe the confounder behind "
        f"{_ties(hedge)}, or ask for `{write_query(asked.outcomes, (), asked.do + asked.given)}`."
    )


def _told(asked: Asked, S: Names, thicket: Mapping[Names, Hedge]) -> str:
    """Say for each regime why it does not determine the c-factor of S."""
    reasons: list[str] = []
    for Z in asked.experiments:
        name = write_experiment(Z)
        reasons.append(
            f"{name} leaves the hedge {thicket[Z]}"
            if Z in thicket
            else f"{name} sets {', '.join(sorted(Z & S)) or ', '.join(sorted(Z))} by hand"
        )
    listed = ", ".join(map(write_experiment, asked.experiments))
    return (
        f"`{asked.query}` is not identifiable from this graph and these regimes ({listed}): the "
        f"answer needs how {write_set(S)} is made, and {'; '.join(reasons)}."
    )


def _settling(
    asked: Asked, thicket: Mapping[Names, Hedge], is_identifiable: Callable[[Asked], bool]
) -> str:
    """Find the experiments, on one variable or else on all of `do`, that would suffice."""
    blocking = {name for hedge in thicket.values() for name in hedge.forest.variables}
    single = [Names({name}) for name in asked.graph.variables if name in blocking | {*asked.do}]
    for candidates in (single, [Names(asked.do)], [Names()]):
        settling = [
            write_set(Z)
            for Z in candidates
            if is_identifiable(dataclasses.replace(asked, experiments=(*asked.experiments, Z)))
        ]
        if settling and any(candidates):
            return f"An experiment on {' or on '.join(settling)}"
    return "Observation, with nothing set," if settling else ""


def _ties(hedge: Hedge) -> str:
    """Name the bidirected edges between the inner forest and the rest of the outer one."""
    inner = set(hedge.subforest.variables)
    edges = [sorted(edge) for edge in hedge.forest.bidirected if len(edge & inner) == 1]
    return " or ".join(f"{a} <-> {b}" for a, b in sorted(edges))


def _listed(G: ADMG, argument: str, names: str | Iterable[str]) -> tuple[str, ...]:
    listed = (names,) if isinstance(names, str) else tuple(names)
    G.select(listed, argument)
    return listed
