r"""How one variable is made: the interface of every mechanism.

A mechanism is the structural assignment

$$ v = f_V\big(pa(V), u_{c \ni V}, \varepsilon_V\big) $$

of one variable. It is created on its own (`CategoricalMechanism()`), then *bound* to a
variable of a graph, which fixes what its parents and confounders look like and builds
the network. Parents and confounders are always named, never positional.
"""

from __future__ import annotations

import abc
import dataclasses
import math
import numbers
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from causal_diffusers.mechanisms.component import Component
from causal_diffusers.mechanisms.seeing import Seeing
from causal_diffusers.variables import Confounder, Variable, variable_from_dict

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "InvertibleMechanism",
    "LikelihoodMechanism",
    "Mechanism",
    "RelaxedMechanism",
    "SamplingOptions",
    "check_components",
    "check_count",
]


@dataclasses.dataclass(frozen=True)
class SamplingOptions:
    """What a caller may ask of the mechanisms that sample in steps.

    Arguments:
        num_inference_steps: Denoising steps, at least 1; None for the mechanism's default.
        guidance_scale: Weight of classifier-free guidance, at least 0. 1 samples the
            causal conditional; more changes the distribution; 0 ignores the parents.
        batch_size: How many samples a frozen network sees at once, at least 1.
        progress_bar: Wraps an iterable to show progress.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> SamplingOptions().guidance_scale == 1
        True
        >>> SamplingOptions(num_inference_steps=0)
        Traceback (most recent call last):
        ...
        ValueError: `num_inference_steps` must be an integer of at least 1: got 0...
    """

    num_inference_steps: int | None = None
    guidance_scale: float = 1.0
    batch_size: int = 256
    progress_bar: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        for name in ("num_inference_steps", "batch_size"):
            count = getattr(self, name)
            if count is not None:
                check_count(name, count)
        if not 0 <= self.guidance_scale < math.inf:
            raise ValueError(
                f"`guidance_scale` must be a number of at least 0: got {self.guidance_scale}. 1 "
                "samples the causal conditional."
            )


def check_components(components: Mapping[str, Any]) -> None:
    """Refuse components of another kind, and one that two names share.

    Arguments:
        components: Mechanisms and priors by name; None stands for one that was left out.

    Raises:
        TypeError: If one is something else, such as a class.
        ValueError: If two names share one: they would share their weights.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> check_components(dict.fromkeys("XY", CategoricalMechanism()))
        Traceback (most recent call last):
        ...
        ValueError: "X" and "Y" share one CategoricalMechanism...
    """
    owners: dict[int, str] = {}
    for name, component in components.items():
        if component is None:
            continue
        if not isinstance(component, Component):
            raise TypeError(_no_mechanism(name, component))
        owner = owners.setdefault(id(component), name)
        if owner != name:
            kind = type(component).__name__
            raise ValueError(
                f'"{owner}" and "{name}" share one {kind}, and would share its weights. Create '
                f"one for each: `{{name: {kind}(...) for name in names}}`."
            )


def check_count(name: str, count: object) -> None:
    """Refuse what is no positive whole number.

    Arguments:
        name: What the caller calls it.
        count: The number.

    Raises:
        ValueError: If it is no integer, or less than 1.

    Example:
        >>> check_count("num_samples", 3)
    """
    if not isinstance(count, numbers.Integral) or isinstance(count, bool) or count < 1:
        raise ValueError(
            f"`{name}` must be an integer of at least 1: got {count!r}. Pass a whole number."
        )


def _no_mechanism(name: str, component: object) -> str:
    if isinstance(component, type):
        got, advice = f"the class {component.__name__}", f"Write `{component.__name__}(...)`."
    else:
        got = f"{component!r:.60} of type {type(component).__name__}"
        advice = "Pass one, such as `CategoricalMechanism()`."
    return f'"{name}" needs a mechanism: got {got}. {advice}'


class Mechanism(Seeing, abc.ABC):
    r"""The structural assignment $f_V$ of one variable.

    A subclass decorates its `__init__` with `register_to_config`, takes plain JSON and an
    image encoder only, begins it with `self._see_with(image_encoder)` and ends it with
    `self._build_if_bound()`. Its config then holds `variable`,
    `parents` and `confounders`, each None until the mechanism is bound.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> from causal_diffusers.variables import Categorical
        >>> f = CategoricalMechanism()
        >>> f.is_bound
        False
        >>> f.bind(Categorical("ab"), {"X": Categorical("cd")}, {}).parents
        {'X': Categorical(labels=('c', 'd'))}
    """

    @property
    def is_bound(self) -> bool:
        """Whether the mechanism knows its variable, parents and confounders."""
        return self.config["variable"] is not None

    @property
    def variable(self) -> Variable:
        """The variable that is made."""
        return variable_from_dict(self.config["variable"])

    @property
    def parents(self) -> dict[str, Variable]:
        """The observed parents, by name."""
        return {name: variable_from_dict(v) for name, v in self.config["parents"].items()}

    @property
    def confounders(self) -> dict[str, Confounder]:
        """The confounders that the variable listens to, by name."""
        return {name: Confounder(**u) for name, u in self.config["confounders"].items()}

    def bind(
        self,
        variable: Variable,
        parents: Mapping[str, Variable],
        confounders: Mapping[str, Confounder],
    ) -> Self:
        """Fix what is made from what, and build the network.

        Binding twice to the same signature changes nothing.

        Arguments:
            variable: The variable that is made.
            parents: Its observed parents, by name.
            confounders: The confounders that it listens to, by name.

        Returns:
            The mechanism itself.

        Raises:
            ValueError: If the mechanism is bound to another signature, or cannot make
                this variable from these parents and confounders.
        """
        signature = {
            "variable": variable.to_dict(),
            "parents": {name: parents[name].to_dict() for name in sorted(parents)},
            "confounders": {name: confounders[name].to_dict() for name in sorted(confounders)},
        }
        if self.is_bound and signature != {key: self.config[key] for key in signature}:
            raise ValueError(
                f"`{type(self).__name__}` is bound to another variable or other parents: "
                f"it makes {self.config['variable']} from {sorted(self.config['parents'])} "
                f"and {sorted(self.config['confounders'])}. Create a mechanism of its own "
                "for each variable."
            )
        if not self.is_bound:
            self._check_signature(variable, parents, confounders)
            self.register_to_config(**signature)
            try:
                self._build()
            except Exception:
                self.register_to_config(**dict.fromkeys(signature))  # still unbound
                raise
        return self

    @abc.abstractmethod
    def sample(
        self,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
        *,
        num_samples: int,
        generator: torch.Generator,
        options: SamplingOptions,
    ) -> Tensor:
        r"""Draw $v = f_V(pa, u, \varepsilon)$ with fresh $\varepsilon$.

        Arguments:
            parents: Encoded values of the parents, each with shape (N, *shape).
            confounders: Values of the confounders: (N, dim) floats if Gaussian, (N,)
                integers if finite.
            num_samples: N.
            generator: The source of the exogenous noise.
            options: Steps, guidance, batch size.

        Returns:
            Encoded values with shape (N, *shape).
        """

    def _build_if_bound(self) -> None:
        """Build the network of a mechanism that is loaded from its config."""
        if self.is_bound:
            self._check_signature(self.variable, self.parents, self.confounders)
            self._build()

    @abc.abstractmethod
    def _check_signature(
        self,
        variable: Variable,
        parents: Mapping[str, Variable],
        confounders: Mapping[str, Confounder],
    ) -> None:
        """Raise a ValueError where this kind of mechanism cannot serve."""

    @abc.abstractmethod
    def _build(self) -> None:
        """Create the modules; `variable`, `parents` and `confounders` are known."""


class LikelihoodMechanism(Mechanism):
    """A mechanism that knows the probability of a value given parents and confounders.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> issubclass(CategoricalMechanism, LikelihoodMechanism)
        True
    """

    @abc.abstractmethod
    def log_prob(
        self,
        values: Tensor,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
        *,
        outer: bool = False,
    ) -> Tensor:
        r"""Compute $\log p(v \mid pa, u)$.

        Arguments:
            values: Encoded values with shape (B, *shape).
            parents: Encoded parents, each with shape (B, *shape).
            confounders: One draw a row, (B, ...); or, if `outer`, M draws (M, ...) that
                every row is to be combined with.
            outer: Whether to combine every row with every draw.

        Returns:
            Log-probabilities with shape (B,), or (B, M) if `outer`.
        """


class InvertibleMechanism(LikelihoodMechanism):
    r"""A mechanism whose noise can be read off its value: $v \leftrightarrow \varepsilon$.

    For every value, `assign(abduct(v, pa, u), pa, u)` is `v` again.

    Example:
        >>> issubclass(InvertibleMechanism, LikelihoodMechanism)
        True
    """

    @abc.abstractmethod
    def abduct(
        self,
        values: Tensor,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
    ) -> Tensor:
        r"""Read off the exogenous noise $\varepsilon = f_V^{-1}(v; pa, u)$.

        Arguments:
            values: Encoded values with shape (N, *shape).
            parents: Encoded parents, each with shape (N, *shape).
            confounders: One draw a row, (N, ...).

        Returns:
            The noise, with shape (N, *shape); standard normal if the model is true.
        """

    @abc.abstractmethod
    def assign(
        self,
        exogenous: Tensor,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
    ) -> Tensor:
        r"""Compute $v = f_V(pa, u, \varepsilon)$ from given noise.

        Arguments:
            exogenous: The noise, with shape (N, *shape).
            parents: Encoded parents, each with shape (N, *shape).
            confounders: One draw a row, (N, ...).

        Returns:
            Encoded values with shape (N, *shape).
        """


class RelaxedMechanism(Mechanism):
    """A mechanism whose draws have a gradient, as adversarial training needs.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> issubclass(CategoricalMechanism, RelaxedMechanism)
        True
    """

    @abc.abstractmethod
    def relaxed_sample(
        self,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
        *,
        num_samples: int,
        generator: torch.Generator,
        temperature: float = 0.5,
    ) -> Tensor:
        """Draw samples whose gradient reaches the weights, the parents and the confounders.

        Arguments:
            parents: Encoded parents, (N, *shape); categorical ones may be one-hot.
            confounders: One draw a row, (N, ...).
            num_samples: N.
            generator: The source of the exogenous noise.
            temperature: How smooth a relaxed categorical draw is, positive; what is
                smooth by nature ignores it.

        Returns:
            Samples: one-hot with shape (N, K) for a categorical variable, else
            (N, *shape).
        """
