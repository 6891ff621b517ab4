"""Read a variable back from plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from causal_diffusers.errors import GraphError
from causal_diffusers.variables.base import Variable
from causal_diffusers.variables.categorical import Categorical
from causal_diffusers.variables.continuous import Continuous
from causal_diffusers.variables.image import Image

__all__ = ["variable_from_dict"]


def variable_from_dict(description: Mapping[str, Any]) -> Variable:
    """Rebuild a variable from its plain JSON description.

    Arguments:
        description: What `Variable.to_dict` gave.

    Raises:
        GraphError: If the type is unknown or a field is missing or ill-typed.

    Example:
        >>> variable_from_dict({"type": "categorical", "labels": ["a", "b"]})
        Categorical(labels=('a', 'b'))
    """
    kinds: dict[str, type[Variable]] = {
        "categorical": Categorical,
        "continuous": Continuous,
        "image": Image,
    }
    if not isinstance(description, Mapping):
        raise GraphError(f"A variable is described by a mapping: got {description!r}.")
    fields = dict(description)
    kind = fields.pop("type", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise GraphError(f"A variable's type is one of {sorted(kinds)}: got {kind!r}.")
    try:
        return kinds[kind](**fields)
    except (TypeError, ValueError) as error:
        raise GraphError(f"A {kind} variable cannot be read from {fields}: {error}.") from None
