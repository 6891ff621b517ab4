r"""What is a model made for? A graph, and what its variables and confounders look like.

Everything about a model but its weights: it is read before any weight is, written in
plain JSON, and decides which components a model has.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from causal_diffusers.errors import GraphError
from causal_diffusers.graphs import ADMG
from causal_diffusers.variables import Confounder, Experiment, Image, Variable, variable_from_dict

if TYPE_CHECKING:
    from causal_diffusers.mechanisms import Mechanism

__all__ = ["Blueprint"]

_LARGEST_IMAGE, _LARGEST_SIZE = 2**26, 2**20
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Blueprint:
    """What a pipeline is made for: a graph, and what its variables look like.

    Arguments:
        graph: Who listens to whom.
        variables: What each variable looks like.
        confounders: What each confounder looks like.
        experiments: What was set by hand in each regime of the data that it was trained on.

    Example:
        >>> from causal_diffusers.variables import Categorical
        >>> two, U = Categorical([0, 1]), Confounder(states=4)
        >>> blueprint = Blueprint.of(ADMG.parse("X <-> Y"), {"X": two, "Y": two}, {"U_X_Y": U})
        >>> blueprint.components
        ('X', 'Y', 'U_X_Y')
        >>> Blueprint.from_dict(blueprint.to_dict()) == blueprint
        True
    """

    graph: ADMG
    variables: Mapping[str, Variable]
    confounders: Mapping[str, Confounder]
    experiments: tuple[Experiment, ...] = (Experiment(),)

    @classmethod
    def of(
        cls,
        graph: ADMG,
        variables: Mapping[str, Variable],
        confounders: Mapping[str, Confounder] | None = None,
    ) -> Blueprint:
        """Describe every variable and every confounder of a graph.

        Arguments:
            graph: Who listens to whom.
            variables: What each variable looks like.
            confounders: What each confounder looks like; `Confounder()` where left out.

        Returns:
            The blueprint, its names in the order of the graph.

        Raises:
            GraphError: If a variable is not described, or a name is not in the graph.
            TypeError: If a description is no `Variable` or no `Confounder`.
        """
        latent = {**dict.fromkeys(graph.confounders, Confounder()), **(confounders or {})}
        described = _one_each(variables, graph.variables, "variables")
        latent = _one_each(latent, tuple(graph.confounders), "confounders")
        for name, variable in described.items():
            _check_kind(
                name,
                variable,
                Variable,
                "`Categorical([...])`, `Continuous()` or `Image(C, H, W)`",
            )
        for name, confounder in latent.items():
            _check_kind(name, confounder, Confounder, "`Confounder(dim=2)`")
        return cls(graph, described, latent)

    @property
    def components(self) -> tuple[str, ...]:
        """The names of the components: variables, then finite confounders."""
        return (*self.graph.variables, *self.finite)

    @property
    def finite(self) -> tuple[str, ...]:
        """The finite confounders, whose distribution is learned."""
        return tuple(u for u, c in self.confounders.items() if c.states is not None)

    def bind(self, name: str, mechanism: Mechanism) -> None:
        """Tell the mechanism of a variable what it is made from.

        Arguments:
            name: The variable.
            mechanism: Its mechanism; one that is bound to the same stays as it is.

        Raises:
            ValueError: If the mechanism cannot make the variable from what the graph
                gives it.
        """
        parents = {parent: self.variables[parent] for parent in self.graph.parents(name)}
        confounders = {u: self.confounders[u] for u in self.graph.confounders_of(name)}
        try:
            mechanism.bind(self.variables[name], parents, confounders)
        except ValueError as error:
            raise ValueError(f'"{name}": {error}') from None

    def to_dict(self) -> dict[str, Any]:
        """Describe the blueprint in plain JSON, as the index has it."""
        children = self.graph.confounders
        experiments = [each.to_dict() for each in self.experiments]
        return {
            "variables": {name: self.variables[name].to_dict() for name in self.graph.variables},
            "directed": [list(edge) for edge in self.graph.to_dict()["directed"]],
            "confounders": {
                name: {"children": list(children[name]), **self.confounders[name].to_dict()}
                for name in children
            },
            **({"experiments": experiments} if self.experiments != (Experiment(),) else {}),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Blueprint:
        """Read a blueprint from plain JSON, strictly.

        Raises:
            GraphError: If a field is missing, unknown or malformed.
        """
        try:
            return cls._read(**record)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise GraphError(f"`graph` does not describe a graph: {error}") from None

    @classmethod
    def _read(
        cls,
        variables: dict[str, dict[str, Any]],
        directed: Sequence[Sequence[str]],
        confounders: dict[str, dict[str, Any]],
        experiments: Sequence[dict[str, Any]] = ({"set": [], "tried": None},),
    ) -> Blueprint:
        latent = {name: dict(fields) for name, fields in confounders.items()}
        children = {name: fields.pop("children") for name, fields in latent.items()}
        for name, fields in {**variables, **latent}.items():
            _check_fields(name, fields)
        graph = ADMG(tuple(variables), [tuple(e) for e in directed], confounders=children)
        described = {name: variable_from_dict(fields) for name, fields in variables.items()}
        for name, variable in described.items():
            _check_image(name, variable)
        blueprint = cls.of(graph, described, {n: Confounder(**f) for n, f in latent.items()})
        read = tuple(_experiment(described, **each) for each in experiments)
        if not read or len({frozenset(each.variables) for each in read}) < len(read):
            raise ValueError("`experiments` lists each regime once, and at least one.")
        return dataclasses.replace(blueprint, experiments=read)


def _experiment(
    variables: Mapping[str, Variable],
    set: Sequence[str],
    tried: Sequence[Sequence[int | None]] | None,
) -> Experiment:
    """Read an experiment, strictly."""
    names = tuple(name for name in variables if name in set)
    if not isinstance(set, list) or len(names) != len(set):
        raise ValueError(f"`experiments` set variables, each once: got {str(set)[:80]!r}.")
    if tried is None:
        return Experiment(names)
    sizes = [len(getattr(variables[name], "labels", ())) for name in set]
    for codes in tried:
        if len(codes) != len(sizes) or not all(
            type(code) is int and 0 <= code < size if size else code is None
            for code, size in zip(codes, sizes, strict=True)
        ):
            raise ValueError(f"`tried` lists codes of {set}: got {str(codes)[:80]!r}.")
    order = [list(set).index(name) for name in names]
    return Experiment(names, tuple(tuple(codes[i] for i in order) for codes in tried))


def _one_each(given: Mapping[str, _T], wanted: tuple[str, ...], argument: str) -> dict[str, _T]:
    """Put a mapping in the graph's order, refusing missing and foreign names."""
    if missing := [name for name in wanted if name not in given]:
        raise GraphError(
            f"`{argument}` must describe each of the graph's: got none for {', '.join(missing)}. "
            "Add it, or leave it out of the graph."
        )
    if foreign := [name for name in given if name not in wanted]:
        raise GraphError(
            f"`{argument}` must be those of the graph: got {', '.join(foreign)}, and the graph "
            f"has {', '.join(wanted) or 'none'}. Check the spelling."
        )
    return {name: given[name] for name in wanted}


def _check_kind(name: str, received: object, kind: type, advice: str) -> None:
    if not isinstance(received, kind):
        got = received.__name__ if isinstance(received, type) else f"{received!r:.60}"
        raise TypeError(f'"{name}" must be a `{kind.__name__}`: got {got}. Write {advice}.')


def _check_fields(name: str, fields: Mapping[str, Any]) -> None:
    """Refuse what is not plain or absurdly large, before anything is built from it."""
    for key, value in fields.items():
        plain = {
            "type": isinstance(value, str),
            "labels": isinstance(value, list) and all(isinstance(v, (str, int)) for v in value),
            "states": value is None or _is_size(value),
            "mean": _is_numbers(value),
            "scale": _is_numbers(value),
        }
        if not plain.get(key, _is_size(value)):
            raise ValueError(f'`{key}` of "{name}" cannot be {str(value)[:80]!r}.')


def _is_size(value: object) -> bool:
    return type(value) is int and 0 < value <= _LARGEST_SIZE


def _is_numbers(value: object) -> bool:
    """Tell finite numbers: one, or a list of them."""
    numbers: list[Any] = value if isinstance(value, list) else [value]
    plain = all(type(n) in (int, float) and abs(n) < math.inf for n in numbers)
    return plain and len(numbers) <= _LARGEST_SIZE


def _check_image(name: str, variable: Variable) -> None:
    if isinstance(variable, Image) and math.prod(variable.shape) > _LARGEST_IMAGE:
        raise ValueError(f'"{name}" has more than {_LARGEST_IMAGE} values: {variable.shape}.')
