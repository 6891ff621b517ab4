"""What are trained weights made from? The data, the config and the components.

Two runs that agree in these, and start from the same weights, end in the same weights. So
this is what a checkpoint is known by.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from causal_diffusers.mechanisms import Component, PretrainedMechanism
from causal_diffusers.training.config import TrainingConfig
from causal_diffusers.training.data import Rows
from causal_diffusers.training.objective import Objective

__all__ = ["describe", "made_from"]

_WITHOUT_EFFECT = {"checkpoint_every", "objective"}  # beyond the objective that is made of it


def made_from(objective: Objective, rows: Rows, config: TrainingConfig) -> dict[str, Any]:
    """Say what the weights of a stage are made from, in plain JSON.

    Arguments:
        objective: What is minimised.
        rows: The data.
        config: How to train.

    Returns:
        The configs of the components, how they are trained, and the hash of the data.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> from causal_diffusers.training import LikelihoodObjective
        >>> from causal_diffusers.variables import Categorical
        >>> f = CategoricalMechanism().bind(Categorical([0, 1]), {}, {})
        >>> rows = Rows({"X": [0, 1]}, {"X": Categorical([0, 1])})
        >>> sorted(made_from(LikelihoodObjective({"X": f}, {}, {}), rows, TrainingConfig()))
        ['components', 'config', 'data']
    """
    chosen = dataclasses.asdict(config.descent(objective.defaults))
    fields = {**dataclasses.asdict(config), **chosen}
    return {
        "components": {name: describe(c) for name, c in objective.components.items()},
        "config": {name: value for name, value in fields.items() if name not in _WITHOUT_EFFECT},
        "data": objective.derive(rows).fingerprint(objective.columns),
        **objective.made_from,
    }


def describe(component: Component) -> dict[str, Any]:
    """Say how a component is built, in plain JSON, wherever its base was found.

    Arguments:
        component: The component.

    Returns:
        Its class and its config, with the hash of a frozen base in place of its address.

    Example:
        >>> from causal_diffusers.mechanisms import ConfounderPrior
        >>> describe(ConfounderPrior(states=3))
        {'class': 'ConfounderPrior', 'states': 3}
    """
    config = {key: value for key, value in component.config.items() if not key.startswith("_")}
    if (encoder := config.pop("image_encoder", None)) is not None:
        config["image_encoder"] = encoder["sha256"]
    if isinstance(component, PretrainedMechanism):
        config["base"] = component.base_reference.sha256
    return {"class": type(component).__name__, **config}
