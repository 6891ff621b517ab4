r"""What happens when every variable listens to its parents, in the graph's order?

A structural causal model is a graph with a mechanism for each variable,

$$ u_c \sim P(u_c), \qquad v = f_v\big(pa(v), u_{c \ni v}, \varepsilon_v\big) , $$

and $do(X = x)$ replaces $f_X$ by the constant $x$; nothing else changes. Each variable
and each confounder reads a random stream of its own, so an intervention, or leaving a
variable out, moves the noise of no other variable.

References:
    Causality, 2nd ed. (Pearl, 2009), Sec. 1.4 and 7.1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from causal_diffusers.blueprint import Blueprint
from causal_diffusers.errors import ShapeError
from causal_diffusers.graphs import ADMG
from causal_diffusers.mechanisms.base import (
    LikelihoodMechanism,
    Mechanism,
    SamplingOptions,
    check_components,
    check_count,
)
from causal_diffusers.mechanisms.confounder import ConfounderPrior
from causal_diffusers.seeding import draw_seed, spawn
from causal_diffusers.variables import Confounder, Variable

__all__ = ["StructuralCausalModel", "Units"]

OnVariableEnd = Callable[[str, Tensor], object]


@dataclasses.dataclass(frozen=True)
class Units:
    """N draws from a model, filled in variable by variable.

    Arguments:
        seed: Where the streams of all variables and confounders start.
        num_samples: N.
        values: Encoded values so far, each with shape (N, *shape).
        confounders: The confounders drawn so far: (N, dim) floats or (N,) states.

    Example:
        >>> units = Units(seed=0, num_samples=3, values={"X": torch.arange(3)})
        >>> units.take(torch.tensor([2, 2])).values["X"].tolist()
        [2, 2]
    """

    seed: int
    num_samples: int
    values: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    confounders: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)

    def take(self, rows: Tensor) -> Units:
        """Select units by row; one that is selected twice becomes two units.

        Arguments:
            rows: Which units to keep, integers with shape (M,).

        Returns:
            M units. What is not yet sampled is drawn for each of them apart.
        """
        return Units(
            self.seed,
            len(rows),
            {name: _select(v, rows) for name, v in self.values.items()},
            {name: _select(u, rows) for name, u in self.confounders.items()},
        )


class StructuralCausalModel:
    """A graph and a mechanism for each of its variables.

    It has no weights of its own: it is a view of the mechanisms. Mechanisms that are not
    bound yet are bound here.

    Arguments:
        graph: Who listens to whom.
        variables: What each variable looks like.
        mechanisms: How each variable is made. A variable without one cannot be sampled.
        confounders: What each confounder looks like; `Confounder()` where it is missing.
        priors: The learned distribution of each finite confounder.

    Raises:
        GraphError: If the names differ from those of the graph.
        TypeError: If a mechanism, a variable or a confounder is something else.
        ValueError: If a mechanism cannot make its variable from what the graph gives it,
            two variables share one, or a finite confounder has no prior of as many states.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> from causal_diffusers.variables import Categorical
        >>> scm = StructuralCausalModel(
        ...     ADMG.parse("X -> Y; X <-> Y"),
        ...     variables={"X": Categorical([0, 1]), "Y": Categorical("abc")},
        ...     mechanisms={"X": CategoricalMechanism(), "Y": CategoricalMechanism()},
        ... )
        >>> scm.sample(4, do={"X": 1})["X"].tolist()
        [1, 1, 1, 1]
    """

    def __init__(
        self,
        graph: ADMG,
        variables: Mapping[str, Variable],
        mechanisms: Mapping[str, Mechanism],
        confounders: Mapping[str, Confounder] | None = None,
        priors: Mapping[str, ConfounderPrior] | None = None,
    ) -> None:
        blueprint = Blueprint.of(graph, variables, confounders)
        check_components({**mechanisms, **(priors or {})})
        self.graph = graph
        self.variables = blueprint.variables
        self.confounders = blueprint.confounders
        self.mechanisms = dict(mechanisms)
        self.priors = dict(priors or {})
        graph.select(self.mechanisms, "mechanisms")
        for name, mechanism in self.mechanisms.items():
            blueprint.bind(name, mechanism)
        self._check_priors()

    def sample(
        self,
        num_samples: int,
        *,
        do: Mapping[str, Any] | None = None,
        outcomes: Collection[str] | None = None,
        generator: torch.Generator | None = None,
        options: SamplingOptions = SamplingOptions(),  # noqa: B008 (frozen)
    ) -> dict[str, Tensor]:
        r"""Draw from $P(v \mid do(X = x))$.

        Under one generator, `do={}` equals no `do` bit for bit, and only descendants of
        X move when `do` changes.

        Arguments:
            num_samples: N.
            do: Encoded values of the intervened variables: one value, or N of them with
                shape (N, *shape).
            outcomes: What is wanted; only its ancestors in the mutilated graph are
                sampled. None samples every variable.
            generator: The source of randomness, advanced by one step.
            options: What the mechanisms that sample in steps are asked.

        Returns:
            Encoded values, with shape (N, *shape), of every sampled or intervened
            variable, in topological order.

        Raises:
            GraphError: If a name is not a variable of the graph.
            ShapeError: If a value of `do` has another shape.
            ValueError: If `num_samples` is no positive integer, a value of `do` is no code
                of its variable, or a variable that is needed has no mechanism.
        """
        check_count("num_samples", num_samples)
        do = self.clamp(do or {}, num_samples, "do")
        units = Units(draw_seed(generator), num_samples, do)
        values = self.extend(units, self.needed(outcomes, do), options).values
        return {name: values[name] for name in self.graph.topological_order() if name in values}

    def needed(self, outcomes: Collection[str] | None, fixed: Collection[str]) -> frozenset[str]:
        r"""Find the variables that must be sampled: $An(Y)_{G_{\overline X}} \setminus X$.

        Arguments:
            outcomes: Y; None is every variable.
            fixed: X, whose values are known.

        Returns:
            The names.
        """
        outcomes = self.graph.variables if outcomes is None else outcomes
        self.graph.select(outcomes, "outcomes")
        return self.graph.mutilate(incoming=fixed).ancestors(outcomes).difference(fixed)

    def clamp(
        self, values: Mapping[str, Any], num_samples: int, argument: str
    ) -> dict[str, Tensor]:
        """Give fixed variables one value for each unit.

        Arguments:
            values: Encoded values: one, or one for each unit.
            num_samples: N.
            argument: What the caller calls them, for errors.

        Returns:
            Values with shape (N, *shape), one value repeated without copying.
        """
        self.graph.select(values, argument)
        return {name: self._repeat(name, value, num_samples) for name, value in values.items()}

    def extend(
        self,
        units: Units,
        variables: Collection[str],
        options: SamplingOptions = SamplingOptions(),  # noqa: B008 (frozen)
        on_variable_end: OnVariableEnd | None = None,
    ) -> Units:
        """Sample further variables of the same units, causes before effects.

        Arguments:
            units: What is known so far.
            variables: What to sample; parents must be known or in it.
            options: What the mechanisms that sample in steps are asked.
            on_variable_end: Called with the name and the values of each variable.

        Returns:
            The units with these variables, and the confounders behind them, filled in.
        """
        order = [name for name in self.graph.topological_order() if name in variables]
        for name in order:
            if name not in units.values:
                units = self._sample_one(name, units, options)
                if on_variable_end is not None:
                    on_variable_end(name, units.values[name])
        return units

    def log_prob(self, name: str, units: Units) -> Tensor:
        r"""Compute $\log p(v \mid pa, u)$ of values the units already have.

        Arguments:
            name: The variable $V$.
            units: Units that know the value, its parents and its confounders.

        Returns:
            Log-probabilities with shape (N,).

        Raises:
            ValueError: If the mechanism has no likelihood.
        """
        mechanism = self.mechanism(name)
        if not isinstance(mechanism, LikelihoodMechanism):
            raise ValueError(  # noqa: TRY004 (a wrong query, not a wrong type)
                f'"{name}" has no likelihood: {type(mechanism).__name__} can only sample. '
                "Give it a mechanism that knows the probability of a value."
            )
        value = _move(units.values[name], mechanism.device)
        parents, confounders = self.inputs(name, units)
        if not all(map(_is_repeated, [value, *parents.values()])):
            return mechanism.log_prob(value, parents, confounders)
        one = {parent: values[:1] for parent, values in parents.items()}
        found = mechanism.log_prob(value[:1], one, confounders, outer=True)
        return found.squeeze(0).expand(units.num_samples)

    def mechanism(self, name: str) -> Mechanism:
        """Look up the mechanism of a variable.

        Raises:
            ValueError: If the variable has none.
        """
        found = self.mechanisms.get(name)
        if found is None:
            raise ValueError(
                f'"{name}" has no mechanism, and this query needs to sample it. Give it one, '
                f'intervene on it (`do={{"{name}": ...}}`), or ask for `outcomes` that do not '
                "depend on it."
            )
        return found

    def inputs(self, name: str, units: Units) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Collect what a mechanism listens to, on its own device.

        Arguments:
            name: The variable that the mechanism makes.
            units: Units that know its parents and confounders.

        Returns:
            The parents and the confounders, by name.
        """
        device = self.mechanism(name).device
        parents, confounders = self.graph.parents(name), self.graph.confounders_of(name)
        return (
            {parent: _move(units.values[parent], device) for parent in sorted(parents)},
            {u: _move(units.confounders[u], device) for u in sorted(confounders)},
        )

    def with_confounders(self, units: Units, variables: Collection[str]) -> Units:
        """Draw the confounders behind some variables, unless the units have them.

        Arguments:
            units: What is known so far.
            variables: The variables whose confounders are needed.

        Returns:
            The units with these confounders filled in.
        """
        needed = {u for name in variables for u in self.graph.confounders_of(name)}
        drawn = {u: self._draw(u, units) for u in sorted(needed.difference(units.confounders))}
        return dataclasses.replace(units, confounders={**units.confounders, **drawn})

    def _sample_one(self, name: str, units: Units, options: SamplingOptions) -> Units:
        mechanism = self.mechanism(name)
        units = self.with_confounders(units, [name])
        value = mechanism.sample(
            *self.inputs(name, units),
            num_samples=units.num_samples,
            generator=spawn(units.seed, name),
            options=options,
        )
        self.variables[name].check(value, name=name)
        return dataclasses.replace(units, values={**units.values, name: value})

    def _draw(self, name: str, units: Units) -> Tensor:
        confounder, generator = self.confounders[name], spawn(units.seed, name)
        if confounder.states is None:
            return torch.randn(units.num_samples, confounder.dim, generator=generator)
        return self.priors[name].sample(units.num_samples, generator=generator)

    def _repeat(
        self, name: str, value: Tensor | float | Sequence[float], num_samples: int
    ) -> Tensor:
        shape = (num_samples, *self.variables[name].shape)
        value = torch.as_tensor(value)
        if tuple(value.shape) not in {shape, shape[1:], (1, *shape[1:])}:
            raise ShapeError(
                f'"{name}" should have one value or one for each of the {num_samples} samples, '
                f"shape {shape}: got {tuple(value.shape)}. Pass a single value, or as many "
                "values as `num_samples`.",
                variable=name,
                expected=shape,
                received=tuple(value.shape),
            )
        self.variables[name].check_range(value, name=name)
        return value.expand(shape)

    def _check_priors(self) -> None:
        for name, confounder in self.confounders.items():
            prior = self.priors.get(name)
            states = None if prior is None else prior.config["states"]
            if states != confounder.states:
                raise ValueError(
                    f'The confounder "{name}" has {confounder.states} states and its prior '
                    f"{states}. A finite confounder needs `ConfounderPrior(states=K)` with the "
                    "same K, a Gaussian one has none."
                )


def _move(values: Tensor, device: torch.device) -> Tensor:
    """Move values to a device; a single value repeated without copying stays so."""
    return values[:1].to(device).expand_as(values) if _is_repeated(values) else values.to(device)


def _is_repeated(values: Tensor) -> bool:
    return values.stride(0) == 0


def _select(values: Tensor, rows: Tensor) -> Tensor:
    """Select rows; a single value is repeated without copying."""
    if len(values) == 1 or _is_repeated(values):
        return values[:1].expand(len(rows), *values.shape[1:])
    return values[rows.to(values.device)]
