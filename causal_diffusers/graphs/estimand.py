r"""What is the answer to an identifiable query, as a functional of what was observed?

An estimand is an equation

$$ P(y \mid do(x), z) = e\big(P(V)\big) \qquad \text{or} \qquad
   P(y \mid do(x), z) = e\big(P_{z_1}(V), P_{z_2}(V), \dots\big) $$

that holds in every model of the graph in which the conditional probabilities on the right
exist. It can be printed, and it can be *evaluated*: exactly, for all values of $y$, $x$
and $z$ at once, on the discrete joint distribution of each regime that it names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from causal_diffusers.errors import GraphError
from causal_diffusers.graphs.admg import ADMG
from causal_diffusers.graphs.expression import Expression, Joints
from causal_diffusers.graphs.names import check_known
from causal_diffusers.graphs.notation import LATEX, TEXT, Notation
from causal_diffusers.graphs.regimes import read_experiments, write_experiment
from causal_diffusers.graphs.table import Table

__all__ = ["Estimand", "write_query"]

Array = npt.NDArray[np.float64]


def write_query(
    outcomes: Iterable[str],
    do: Iterable[str] = (),
    given: Iterable[str] = (),
    notation: Notation = TEXT,
) -> str:
    """Write a query as text.

    Arguments:
        outcomes: The variables asked for.
        do: The variables intervened on.
        given: The variables conditioned on.
        notation: The signs to write it with.

    Returns:
        The query.

    Example:
        >>> write_query(["Y"], do=["X"], given=["A", "B"])
        'P(Y | do(X), A, B)'
    """
    left, forced, seen = (", ".join(map(notation.spell, side)) for side in (outcomes, do, given))
    right = [notation.do.format(forced)] if forced else []
    right += [seen] if seen else []
    return f"P({notation.bar.join([left, ', '.join(right)] if right else [left])})"


@final
@dataclass(frozen=True, repr=False)
class Estimand:
    r"""An identified query: what it asks, and the expression that answers it.

    `identify` makes these. Nothing but the query's own variables is free in the
    expression: where the answer holds for any value of some other variable (as in the
    napkin graph), the expression averages over it, $\sum_w P(w) \, e(w)$.

    Arguments:
        graph: The graph.
        outcomes: The variables asked for.
        do: The variables intervened on.
        given: The variables conditioned on.
        expression: The functional of the observed joint.

    Example:
        >>> from causal_diffusers.graphs import ADMG, identify
        >>> G = ADMG.parse("D -> I -> A; D <-> A")
        >>> estimand = identify(G, outcomes=["A"], do=["D"])
        >>> print(estimand)
        sum_{I} P(I | D) sum_{D'} P(A | D', I) P(D')
        >>> estimand.query
        'P(A | do(D))'
        >>> joint = np.full((2, 2, 2), 1 / 8)
        >>> estimand.evaluate(joint).variables
        ('A', 'D')
    """

    graph: ADMG
    outcomes: tuple[str, ...]
    do: tuple[str, ...]
    given: tuple[str, ...]
    expression: Expression

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables of the query: outcomes, then interventions, then conditions."""
        return self.outcomes + self.do + self.given

    @property
    def experiments(self) -> tuple[tuple[str, ...], ...]:
        """The regimes whose joints the expression needs, by what is set in them."""
        order = self.graph.variables
        listed = (tuple(v for v in order if v in regime) for regime in self.expression.regimes)
        return tuple(sorted(listed, key=lambda names: (len(names), names)))

    @property
    def query(self) -> str:
        """The query as text."""
        return write_query(self.outcomes, self.do, self.given)

    def __str__(self) -> str:
        """Write the expression as text."""
        return self._write(TEXT)

    def __repr__(self) -> str:
        """Write query and expression as an equation."""
        return f"<Estimand {self.query} = {self}>"

    def to_latex(self) -> str:
        r"""Write the expression in LaTeX, without dollar signs.

        Returns:
            The right-hand side of the equation.

        Example:
            >>> from causal_diffusers.graphs import ADMG, identify
            >>> print(identify(ADMG.parse("X -> Y"), ["Y"], ["X"]).to_latex())
            P(Y \mid X)
        """
        return self._write(LATEX)

    def _repr_latex_(self) -> str:
        """Show the equation in a notebook."""
        query = write_query(self.outcomes, self.do, self.given, LATEX)
        return f"$$ {query} = {self.to_latex()} $$"

    def _write(self, notation: Notation) -> str:
        ordered = notation.in_order(self.graph.topological_order())
        return self.expression.write(ordered, {name: name for name in self.variables})

    def evaluate(
        self,
        joint: npt.ArrayLike | Mapping[str | tuple[str, ...], npt.ArrayLike],
        variables: Sequence[str] | None = None,
    ) -> Table:
        r"""Answer the query exactly on discrete joint distributions.

        A probability that is conditional on an event of probability zero is undefined,
        and so is an answer that needs it: such cells are nan. A condition that carries no
        weight (a summand multiplied by zero) is not needed.

        Arguments:
            joint: The joint distribution, or counts, with one axis per variable; no
                entry is negative. With several regimes, one for each, by the variables
                that are set in it (`()` for none), which have axes too: how often each
                of their values was chosen does not matter.
            variables: The name of each axis; the graph's variables in their order if left
                out. It must have those of the query and of the expression, and may lack
                others.

        Returns:
            $P(y \mid do(x), z)$ for all values: axes `outcomes`, `do`, `given`.

        Raises:
            ValueError: If a joint has another number of axes, is no distribution, or is
                missing.
            GraphError: If a name is unknown or a variable is missing.

        Example:
            >>> from causal_diffusers.graphs import ADMG, identify
            >>> estimand = identify(ADMG.parse("Z -> X -> Y <- Z"), ["Y"], ["X"])
            >>> table = estimand.evaluate(np.full((2, 3, 4), 1 / 24), ["Z", "X", "Y"])
            >>> table.variables, table.values.shape
            (('Y', 'X'), (4, 3))
            >>> bool(np.allclose(table.values, 1 / 4))
            True
            >>> bow = identify(ADMG.parse("X -> Y; X <-> Y"), "Y", "X", experiments=["X"])
            >>> table = bow.evaluate({"X": np.array([[30, 10], [5, 15]])})
            >>> table.at({"X": 1}).values.tolist()
            [0.25, 0.75]
        """
        names = tuple(self.graph.variables if variables is None else variables)
        joints = self._joints(joint, names)
        check_known(names, self.graph.variables)
        if missing := self.expression.mentioned.union(self.variables).difference(names):
            raise GraphError(
                f"`joint` needs an axis for each variable of `{self.query}` and of its estimand: "
                f"got none for {', '.join(sorted(missing))}. Pass the joint of all of them."
            )
        axes = {name: axis for axis, name in enumerate(names)}
        kept = [axes[name] for name in self.variables]
        shape = next(iter(joints.values())).shape
        answer = self.expression.evaluate(joints, axes)
        return Table(_project(answer, kept, shape), self.variables)

    def _joints(
        self,
        joint: npt.ArrayLike | Mapping[str | tuple[str, ...], npt.ArrayLike],
        names: tuple[str, ...],
    ) -> Joints:
        """Give the joint of each regime, in one shape."""
        listed = joint if isinstance(joint, Mapping) else {(): joint}
        regimes = [read_experiments([key], self.graph.variables)[0] for key in listed]
        arrays = [np.asarray(array, dtype=np.float64) for array in listed.values()]
        joints = {Z: _check_joint(P, names) for Z, P in zip(regimes, arrays, strict=True)}
        if missing := sorted(map(write_experiment, self.expression.regimes - joints.keys())):
            raise ValueError(
                f"`joint` needs the distribution of each regime that answers `{self.query}`: got "
                f"none for {', '.join(missing)}. Pass a mapping, such as "
                '`{(): joint, ("X",): joint_under_do}`.'
            )
        if len({P.shape for P in arrays}) > 1:
            raise ValueError(
                "`joint` needs one shape in every regime: got "
                f"{', '.join(str(P.shape) for P in arrays)}. Values that do not occur are zeros."
            )
        return joints


def _project(answer: Array, kept: list[int], shape: tuple[int, ...]) -> Array:
    """Keep some axes, in that order and at their full length; the others have length one."""
    spent = [axis for axis in range(len(shape)) if axis not in kept]
    answer = answer.transpose(kept + spent)[(..., *(0 for _ in spent))]
    return np.broadcast_to(answer, [shape[axis] for axis in kept]).copy()


def _check_joint(joint: Array, names: tuple[str, ...]) -> Array:
    """Refuse an array that is no distribution over these variables."""
    if joint.ndim != len(names) or len(set(names)) < len(names):
        raise ValueError(
            f"`joint` needs one axis for each of {', '.join(names)}: got shape {joint.shape}. "
            "Pass `variables=` with one name per axis if its order or its variables differ."
        )
    if not np.isfinite(joint).all() or (joint < 0).any() or not joint.sum() > 0:
        raise ValueError(
            "`joint` must be a distribution or counts: got entries that are negative, not "
            "finite, or all zero."
        )
    return joint
