r"""What is the truth, in a system small enough to enumerate?

A discrete SCM over an ADMG gives every confounder a finite distribution and every
variable a table:

$$ P(v \mid do(x)) = \sum_u \prod_c P(u_c)
   \prod_{V_i \notin X} P\big(v_i \mid pa(V_i), u_{c \ni V_i}\big) . $$

The sum is the truncated factorisation itself, evaluated as one tensor contraction. It
knows nothing of identification, so the two can check each other.

References:
    Causality, 2nd ed. (Pearl, 2009), Def. 1.3.1 and Eq. 1.37.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from causal_diffusers.errors import ShapeError
from causal_diffusers.graphs import ADMG
from causal_diffusers.graphs.table import Table

__all__ = ["DiscreteSCM"]

Array = npt.NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class DiscreteSCM:
    r"""A structural causal model of discrete variables, with exact answers.

    References:
        Causality, 2nd ed. (Pearl, 2009), Def. 1.3.1.

    Arguments:
        graph: The graph.
        priors: $P(u_c)$ for each confounder, with shape (states,).
        tables: $P(v_i \mid pa(V_i), u_{c \ni V_i})$ for each variable, with the axes of
            `inputs(variable)` and then its own; sums over the last axis are 1.

    Raises:
        ShapeError: If a table lacks an axis or its axes disagree with those of the others.
        ValueError: If a prior or a table is missing, or is no distribution.

    Example:
        >>> G = ADMG.parse("D -> I -> A; D <-> A")
        >>> scm = DiscreteSCM.random(G, generator=torch.Generator().manual_seed(0))
        >>> scm.joint().shape
        (2, 2, 2)
        >>> scm.interventional(["A"], do=["D"]).variables
        ('A', 'D')
    """

    graph: ADMG
    priors: Mapping[str, Array]
    tables: Mapping[str, Array]

    def __post_init__(self) -> None:
        _check_names(self.priors, self.graph.confounders, "priors")
        _check_names(self.tables, self.graph.variables, "tables")
        for name, table in {**self.priors, **self.tables}.items():
            _check_table(name, table, self._shape(name))

    @classmethod
    def random(
        cls,
        graph: ADMG,
        cardinalities: int | Mapping[str, int] = 2,
        *,
        states: int = 2,
        uniform_share: float = 0.2,
        generator: torch.Generator,
    ) -> DiscreteSCM:
        r"""Draw a system: each distribution is $\lambda$ uniform plus $1 - \lambda$ Dirichlet.

        With $\lambda = 0.2$ the entries of a binary variable's table are uniform on
        [0.1, 0.9].

        Arguments:
            graph: The graph.
            cardinalities: The number of values, of all variables or of each; 2 for
                those left out.
            states: The number of values of each confounder.
            uniform_share: The share $\lambda$ of the uniform distribution, in [0, 1].
            generator: The source of randomness.

        Returns:
            The system.

        Raises:
            ValueError: If `uniform_share` is not in [0, 1].

        Example:
            >>> G = ADMG.parse("X -> Y; X <-> Y")
            >>> scm = DiscreteSCM.random(
            ...     G, {"Y": 3}, states=4, generator=torch.Generator().manual_seed(0)
            ... )
            >>> scm.tables["Y"].shape  # X, the confounder, Y
            (2, 4, 3)
        """
        if not 0 <= uniform_share <= 1:
            raise ValueError(f"`uniform_share` must be in [0, 1]: got {uniform_share}.")
        sizes = dict.fromkeys(graph.confounders, states)
        for name in graph.variables:
            every = isinstance(cardinalities, int)
            sizes[name] = cardinalities if every else cardinalities.get(name, 2)

        def draw(*names: str) -> Array:
            shape = [sizes[name] for name in names]
            weights = torch.empty(shape, dtype=torch.float64).exponential_(generator=generator)
            simplex = weights / weights.sum(dim=-1, keepdim=True)  # Dirichlet(1, ..., 1)
            return ((1 - uniform_share) * simplex + uniform_share / shape[-1]).numpy()

        priors = {name: draw(name) for name in graph.confounders}
        tables = {name: draw(*_inputs(graph, name), name) for name in graph.variables}
        return cls(graph, priors, tables)

    def inputs(self, variable: str) -> tuple[str, ...]:
        """List what a variable listens to: parents, then confounders.

        Arguments:
            variable: The variable.

        Returns:
            The names, each group in the order of the graph.

        Example:
            >>> G = ADMG.parse("Z -> Y <- X; X <-> Y")
            >>> DiscreteSCM.random(G, generator=torch.Generator()).inputs("Y")
            ('Z', 'X', 'U_Y_X')
        """
        return _inputs(self.graph, variable)

    def joint(self) -> Array:
        """Enumerate $P(V)$.

        Returns:
            The distribution, with one axis per variable in the order of the graph.

        Example:
            >>> scm = DiscreteSCM.random(ADMG.parse("X -> Y"), 3, generator=torch.Generator())
            >>> bool(np.isclose(scm.joint().sum(), 1))
            True
        """
        return self.interventional(self.graph.variables).values

    def interventional(
        self,
        outcomes: str | Iterable[str],
        do: str | Iterable[str] = (),
        given: str | Iterable[str] = (),
    ) -> Table:
        r"""Enumerate $P(y \mid do(x), z)$ for all values of its variables.

        Arguments:
            outcomes: The variables $Y$.
            do: The variables $X$ intervened on.
            given: The variables $Z$ conditioned on, after the intervention.

        Returns:
            The truth, with axes `outcomes`, `do`, `given`, as `Estimand.evaluate` has them.

        Raises:
            GraphError: If a name is unknown.
            ValueError: If a variable is named twice.

        Example:
            >>> G = ADMG.parse("X -> Y; X <-> Y")
            >>> scm = DiscreteSCM.random(G, generator=torch.Generator())
            >>> bool(np.allclose(scm.interventional("Y", do="X").values.sum(axis=0), 1))
            True
        """
        Y, X, Z = (_listed(self.graph, names) for names in (outcomes, do, given))
        named = Y + X + Z
        if len(set(named)) < len(named):
            raise ValueError(f"a query names each variable once: got {', '.join(named)}.")
        values = self._contract(named, X)
        summed = tuple(range(len(Y)))
        return Table(values / values.sum(axis=summed, keepdims=True) if Z else values, named)

    def sample(
        self,
        num_samples: int,
        *,
        do: Mapping[str, int] | None = None,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Draw rows of the observed variables; the confounders stay hidden.

        Arguments:
            num_samples: The number of rows N.
            do: Variables held at a value.
            generator: The source of randomness.

        Returns:
            The columns, integers with shape (N,).

        Raises:
            GraphError: If `do` names an unknown variable.

        Example:
            >>> scm = DiscreteSCM.random(ADMG.parse("X -> Y"), generator=torch.Generator())
            >>> rows = scm.sample(5, do={"X": 1}, generator=torch.Generator().manual_seed(0))
            >>> rows["X"].tolist(), rows["Y"].shape
            ([1, 1, 1, 1, 1], torch.Size([5]))
        """
        held = do or {}
        self.graph.select(held, "do")
        rows: dict[str, Tensor] = {}
        for name, prior in self.priors.items():
            weights = torch.as_tensor(prior).expand(num_samples, -1)
            rows[name] = torch.multinomial(weights, 1, generator=generator).squeeze(1)
        for name in self.graph.topological_order():
            weights = torch.as_tensor(self.tables[name])[tuple(rows[i] for i in self.inputs(name))]
            weights = weights.expand(num_samples, -1)
            drawn = torch.multinomial(weights, 1, generator=generator).squeeze(1)
            rows[name] = torch.full_like(drawn, held[name]) if name in held else drawn
        return {name: rows[name] for name in self.graph.variables}

    def _contract(self, kept: Sequence[str], do: Sequence[str]) -> Array:
        """Multiply all tables but those of `do`, and sum over what is not kept."""
        free = self.graph.mutilate(incoming=do).ancestors(kept).difference(do)
        parts = {name: self.tables[name] for name in free}
        parts |= {c: self.priors[c] for name in free for c in self.graph.confounders_of(name)}
        parts |= {name: np.ones(self._size(name)) for name in do}
        axis = {name: i for i, name in enumerate([*self.graph.variables, *self.graph.confounders])}
        operands: list[Any] = []
        for name, table in parts.items():
            inputs = self.inputs(name) if name in free else ()
            operands += [table, [axis[i] for i in (*inputs, name)]]
        return np.einsum(*operands, [axis[name] for name in kept], optimize="greedy")

    def _size(self, name: str) -> int:
        return {**self.priors, **self.tables}[name].shape[-1]

    def _shape(self, name: str) -> tuple[int, ...]:
        inputs = self.inputs(name) if name in self.tables else ()
        return tuple(self._size(part) for part in (*inputs, name))


def _inputs(graph: ADMG, variable: str) -> tuple[str, ...]:
    parents = graph.parents(variable)
    ordered = tuple(name for name in graph.variables if name in parents)
    return ordered + graph.confounders_of(variable)


def _listed(graph: ADMG, names: str | Iterable[str]) -> tuple[str, ...]:
    listed = (names,) if isinstance(names, str) else tuple(names)
    graph.select(listed)
    return listed


def _check_names(given: Iterable[str], expected: Iterable[str], argument: str) -> None:
    if set(given) != set(expected):
        raise ValueError(
            f"`{argument}` needs one entry for each of {', '.join(sorted(expected))}: got "
            f"{', '.join(sorted(given))}."
        )


def _check_table(name: str, table: Array, expected: tuple[int, ...]) -> None:
    if table.shape != expected:
        raise ShapeError(
            f'the table of "{name}" should have shape {expected}: got {table.shape}. Its axes '
            "are those of its parents, of its confounders and its own.",
            variable=name,
            expected=expected,
            received=table.shape,
        )
    if (table < 0).any() or not np.allclose(table.sum(axis=-1), 1):
        raise ValueError(
            f'the table of "{name}" must hold distributions along its last axis: got an entry '
            "below 0 or a sum other than 1."
        )
