r"""What is asked: outcomes, interventions and conditions.

A query is $P(Y \mid do(X = x), Z = z)$. This file reads it as users write it (labels,
codes, numbers, images; one value, or one for each sample) and turns its values into tensors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from causal_diffusers.errors import GraphError, ShapeError
from causal_diffusers.graphs import ADMG
from causal_diffusers.graphs.identify import identify
from causal_diffusers.variables import Categorical, Continuous, Experiment, Image, Variable

if TYPE_CHECKING:
    from causal_diffusers.graphs.estimand import Estimand

__all__ = ["Query", "encode", "read_values"]


@dataclasses.dataclass(frozen=True)
class Query:
    r"""The question $P(Y \mid do(X = x), Z = z)$.

    Arguments:
        outcomes: $Y$, the names of the variables that are asked about.
        do: The values $x$ by name; None stands for any value.
        given: The values $z$ by name; None stands for any value.

    Example:
        >>> print(Query(("A",), do={"D": 3}, given={"Z": "yes"}))
        P(A | do(D=3), Z=yes)
        >>> print(Query(("A", "B")))
        P(A, B)
    """

    outcomes: tuple[str, ...]
    do: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def ask(
        cls,
        graph: ADMG,
        outcomes: str | Iterable[str] | None = None,
        do: Mapping[str, Any] | str | Iterable[str] | None = None,
        given: Mapping[str, Any] | str | Iterable[str] | None = None,
    ) -> Query:
        """Read a query about the variables of a graph.

        Arguments:
            graph: The graph.
            outcomes: Names; None asks for all that is neither in `do` nor in `given`.
            do: Values by name, or names alone.
            given: Values by name, or names alone.

        Returns:
            The query, with its names in the order of the graph.

        Raises:
            GraphError: If a name is unknown, or in two of the three places.
            ValueError: If `outcomes` is empty.

        Example:
            >>> print(Query.ask(ADMG.parse("D -> W -> A"), do={"W": 3}))
            P(D, A | do(W=3))
            >>> print(Query.ask(ADMG.parse("D -> W -> A"), outcomes="A", do="D"))
            P(A | do(D))
        """
        do, given = _values_by_name(do), _values_by_name(given)
        graph.select(do, "do")
        graph.select(given, "given")
        rest = [name for name in graph.variables if name not in {*do, *given}]
        chosen = rest if outcomes is None else graph.select(outcomes, "outcomes")
        if outcomes is not None and not chosen:
            raise ValueError(
                "`outcomes` must name at least one variable: got none. Leave it out to ask for "
                "all that is neither in `do` nor in `given`."
            )
        _check_disjoint(chosen, do, given)
        order = graph.variables
        return cls(
            tuple(name for name in order if name in chosen),
            {name: do[name] for name in order if name in do},
            {name: given[name] for name in order if name in given},
        )

    def estimand(
        self,
        graph: ADMG,
        experiments: Iterable[Experiment] = (Experiment(),),
        variables: Mapping[str, Variable] | None = None,
    ) -> Estimand:
        """Express the query by what is observed.

        Arguments:
            graph: The graph.
            experiments: What was set by hand in each regime of the data. One that tried some
                values only counts if the query needs no others.
            variables: What each variable looks like, to read the values of `do`.

        Returns:
            The estimand.

        Raises:
            NotIdentifiableError: If the graph does not determine the answer; the message
                names the outcomes that are identifiable alone, if it is their joint that
                is not.

        Example:
            >>> G = ADMG.parse("X -> Y")
            >>> print(Query.ask(G, "Y", do={"X": 1}).estimand(G))
            P(Y | X)
        """
        usable = [e.variables for e in experiments if self._is_tried(e, graph, variables or {})]
        do, given = list(self.do), list(self.given)
        return identify(graph, self.outcomes, do, given, usable or [()])

    def _is_tried(
        self, experiment: Experiment, graph: ADMG, variables: Mapping[str, Variable]
    ) -> bool:
        """Tell whether an experiment tried all values that matter to the query."""
        if experiment.tried is None:
            return True
        matter = graph.ancestors([*self.outcomes, *self.given])
        asked: dict[str, set[int] | None] = {}
        for name in matter.intersection(experiment.variables):
            value = self.do.get(name) if isinstance(variables[name], Categorical) else None
            codes = None if value is None else read_values(variables[name], value, name)
            asked[name] = None if codes is None else set(codes.tolist())
        return experiment.covers(asked, variables)

    def encode(
        self, variables: Mapping[str, Variable], num_samples: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Turn the values of `do` and `given` into tensors.

        Arguments:
            variables: What each variable looks like.
            num_samples: N.

        Returns:
            `do` and `given`, encoded, each value with shape (N, *shape).

        Raises:
            ShapeError: If there are neither one nor N values, or of another shape.
            ValueError: If a value is none of its variable.

        Example:
            >>> from causal_diffusers.variables import Categorical
            >>> do, given = Query(("A",), do={"D": "yes"}).encode(
            ...     {"A": Categorical([0, 1]), "D": Categorical(["no", "yes"])}, 2
            ... )
            >>> do["D"].tolist(), given
            ([1, 1], {})
        """
        return (
            {n: encode(variables[n], v, n, num_samples) for n, v in self.do.items()},
            {n: encode(variables[n], v, n, num_samples) for n, v in self.given.items()},
        )

    def __str__(self) -> str:
        do = f"do({', '.join(map(_equation, self.do.items()))})" if self.do else ""
        conditions = ", ".join(filter(None, [do, *map(_equation, self.given.items())]))
        return f"P({', '.join(self.outcomes)}{' | ' if conditions else ''}{conditions})"


def encode(variable: Variable, value: object, name: str, num_samples: int) -> Tensor:
    """Encode the value of a variable: one for all samples, or one for each.

    Arguments:
        variable: What the variable looks like.
        value: A label, a code, a number or vector, an image, or a sequence of them.
        name: The variable's name, for errors.
        num_samples: N.

    Returns:
        Encoded values with shape (N, *shape); a single one is repeated without copying.

    Raises:
        ShapeError: If there are neither one nor N values, or of another shape.
        ValueError: If a value is none of the variable, or is missing.

    Example:
        >>> from causal_diffusers.variables import Categorical
        >>> encode(Categorical(["no", "yes"]), "yes", "X", 3).tolist()
        [1, 1, 1]
        >>> encode(Categorical(["no", "yes"]), [1, 0, 1], "X", 3).tolist()
        [1, 0, 1]
    """
    if value is None:
        raise ValueError(
            f'"{name}" needs a value to be sampled under: got None. Write `{{"{name}": value}}`.'
        )
    encoded = read_values(variable, value, name)
    if len(encoded) not in {1, num_samples}:
        raise ShapeError(
            f'"{name}" should have one value, or one for each of the {num_samples} samples: got '
            f"{len(encoded)}. Pass `num_samples={len(encoded)}`, or a single value.",
            variable=name,
            expected=(num_samples, *variable.shape),
            received=tuple(encoded.shape),
        )
    return encoded.expand(num_samples, *variable.shape)


def read_values(variable: Variable, value: object, name: str) -> Tensor:
    """Read what a user wrote as the value of a variable: one, or a sequence of them.

    Arguments:
        variable: What the variable looks like.
        value: A label, a code, a number or vector, an image, or a sequence of them; numpy's
            and torch's too.
        name: The variable's name, for errors.

    Returns:
        Encoded values with shape (M, *shape); M is 1 for a single one.

    Raises:
        ValueError: If a value is none of the variable.

    Example:
        >>> from causal_diffusers.variables import Categorical
        >>> read_values(Categorical(["no", "yes"]), "yes", "X").tolist()
        [1]
        >>> read_values(Categorical([0, 1]), np.int64(1), "X").tolist()
        [1]
    """
    return variable.encode(_as_column(variable, value), name=name)


def _as_column(variable: Variable, value: object) -> Iterable[Any]:
    """Wrap one value into a column; leave a sequence of values as it is."""
    if isinstance(variable, Image) and isinstance(value, (Tensor, np.ndarray)):
        channels, *size = variable.shape
        one = {(channels, *size), (*size, channels), tuple(size)}
        return value[None] if tuple(value.shape) in one else value
    if isinstance(variable, Continuous) and variable.dim > 1 and np.ndim(value) == 1:  # type: ignore[arg-type]
        return [value]
    if isinstance(value, str) or not isinstance(value, Iterable) or _is_scalar(value):
        return [value]
    return value


def _is_scalar(value: object) -> bool:
    """Tell a number that numpy or torch has wrapped."""
    return getattr(value, "shape", None) == () and hasattr(value, "item")


def _values_by_name(names: Mapping[str, Any] | str | Iterable[str] | None) -> dict[str, Any]:
    if names is None or isinstance(names, Mapping):
        return dict(names or {})
    return dict.fromkeys([names] if isinstance(names, str) else names)


def _check_disjoint(
    outcomes: Collection[str], do: Collection[str], given: Collection[str]
) -> None:
    for name in outcomes:
        if name in do or name in given:
            place = "do" if name in do else "given"
            raise GraphError(
                f'`outcomes` are unknown, `{place}` is known: got "{name}" in both. Leave it '
                "out of one of them."
            )
    if both := [name for name in do if name in given]:
        raise GraphError(
            f'`do` and `given` must name different variables: got "{both[0]}" in both. After '
            f'an intervention on "{both[0]}" there is nothing left to condition on.'
        )


def _equation(item: tuple[str, Any]) -> str:
    """Write `X=x` where x is one label, else only `X`."""
    name, value = item
    value = value.item() if _is_scalar(value) else value
    return f"{name}={value}" if isinstance(value, (str, int, float)) else name
