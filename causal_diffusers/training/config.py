"""How to train: what the user may choose, and what is left to the objective."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

__all__ = ["Descent", "TrainingConfig"]


@dataclasses.dataclass(frozen=True)
class Descent:
    """How an objective is brought to its minimum.

    Arguments:
        steps: Optimiser steps.
        batch_size: Rows a step, or None for all of them, collapsed to counts; where too
            many are distinct, as many are drawn as a step can hold.
        learning_rate: The peak of the learning rate.
        weight_decay: AdamW's weight decay.
        ema_decay: Decay of the moving average that is kept in the end; 0 for none.

    Example:
        >>> Descent(steps=800, batch_size=None, learning_rate=1e-2).batch_size is None
        True
    """

    steps: int
    batch_size: int | None
    learning_rate: float
    weight_decay: float = 0.0
    ema_decay: float = 0.0


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How to train; None leaves a choice to the objective.

    Arguments:
        steps: Optimiser steps of each stage.
        batch_size: Rows a step, on each process.
        learning_rate: The peak of the learning rate, which warms up and decays to zero
            along a cosine.
        weight_decay: AdamW's weight decay.
        ema_decay: Decay of the moving average of the weights that is kept in the end;
            0 keeps the weights themselves.
        gradient_accumulation_steps: Batches a step.
        mixed_precision: `"no"`, `"bf16"` or, on a GPU, `"fp16"`.
        checkpoint_every: Steps between two checkpoints.
        draws: Points of the Sobol set of Gaussian confounders.
        seed: Where all randomness of training comes from.
        objective: `"likelihood"`, `"denoising"`, `"posterior"`, `"representation"` or
            `"adversarial"`; None takes what suits the mechanism.
        temperature: Of the relaxed draws of categorical variables, if adversarial.
        critic_steps: Steps of the critic for each step of the mechanisms, if adversarial.
        bank_size: Images of a frozen mechanism that are drawn beforehand for each
            configuration of its parents, if adversarial.

    Raises:
        ValueError: If a value is out of range.

    Example:
        >>> TrainingConfig(steps=0)
        Traceback (most recent call last):
        ...
        ValueError: `TrainingConfig.steps` is an integer of at least 1: got 0. ...
    """

    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    ema_decay: float | None = None
    gradient_accumulation_steps: int = 1
    mixed_precision: str = "no"
    checkpoint_every: int = 500
    draws: int = 256
    seed: int = 0
    objective: str | None = None
    temperature: float | None = None
    critic_steps: int | None = None
    bank_size: int | None = None

    def __post_init__(self) -> None:
        may_be_open = {field.name for field in dataclasses.fields(self) if field.default is None}
        for name, (rule, holds) in _RULES.items():
            value = getattr(self, name)
            left_open = value is None and name in may_be_open
            if not left_open and not holds(value):
                way_out = " None leaves it to the objective." if name in may_be_open else ""
                raise ValueError(f"`TrainingConfig.{name}` is {rule}: got {value!r}.{way_out}")

    def descent(self, defaults: Descent) -> Descent:
        """Fill in what was left to the objective.

        Arguments:
            defaults: What the objective would choose.

        Returns:
            The choice of the user where there is one, else that of the objective.

        Example:
            >>> chosen = TrainingConfig(steps=100).descent(Descent(9, None, 1e-2))
            >>> chosen.steps, chosen.batch_size
            (100, None)
        """
        chosen = {name: getattr(self, name) for name in _OPEN}
        return dataclasses.replace(
            defaults, **{name: value for name, value in chosen.items() if value is not None}
        )


_OPEN = tuple(field.name for field in dataclasses.fields(Descent))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_in(low: float, high: float) -> Callable[[object], bool]:
    return lambda value: isinstance(value, (int, float)) and low <= value < high


_COUNT = "an integer of at least 1", _is_count
_POSITIVE = "a positive number", _is_in(math.ulp(0.0), math.inf)
_RULES: dict[str, tuple[str, Callable[[object], bool]]] = {
    "objective": ("the name of an objective", lambda value: isinstance(value, str)),
    "steps": _COUNT,
    "batch_size": _COUNT,
    "learning_rate": _POSITIVE,
    "weight_decay": ("a number of at least 0", _is_in(0, math.inf)),
    "ema_decay": ("a number in [0, 1)", _is_in(0, 1)),
    "gradient_accumulation_steps": _COUNT,
    "mixed_precision": ('"no", "bf16" or "fp16"', lambda value: value in ("no", "bf16", "fp16")),
    "checkpoint_every": _COUNT,
    "draws": _COUNT,
    "seed": ("an integer", lambda value: isinstance(value, int)),
    "temperature": _POSITIVE,
    "critic_steps": _COUNT,
    "bank_size": _COUNT,
}
