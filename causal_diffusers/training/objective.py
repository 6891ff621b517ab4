"""What a stage minimises: the interface of every objective."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping

from torch import Tensor, nn

from causal_diffusers.mechanisms import Component

__all__ = ["Defaults", "Objective"]


@dataclasses.dataclass(frozen=True)
class Defaults:
    """How a stage is trained where the user does not say.

    Arguments:
        steps: Optimiser steps.
        batch_size: Rows a step, or None for all of them, collapsed to counts.
        learning_rate: The peak of the learning rate.
        weight_decay: AdamW's weight decay.
        ema_decay: Decay of the moving average that is kept in the end; 0 for none.
    """

    steps: int
    batch_size: int | None
    learning_rate: float
    weight_decay: float = 0.0
    ema_decay: float = 0.0


class Objective(nn.Module, abc.ABC):
    """A loss for each row of data, and the components whose weights it moves.

    Arguments:
        components: The components that are trained, by name.
        parents: The columns that are given, beside those of the trained variables.
    """

    name: str

    def __init__(self, components: Mapping[str, Component], columns: tuple[str, ...]) -> None:
        super().__init__()
        self.components = nn.ModuleDict(components)
        self.columns = columns

    @property
    @abc.abstractmethod
    def defaults(self) -> Defaults:
        """How this objective is best trained."""

    @property
    def is_discrete(self) -> bool:
        """Whether the data matter only through counts of distinct rows."""
        return self.defaults.batch_size is None

    def trainable_state(self) -> dict[str, nn.Parameter]:
        """Give the parameters that the stage moves, by component and name."""
        return {
            f"{owner}.{name}": parameter
            for owner, component in self.components.items()
            for name, parameter in component.trainable_state().items()
        }

    @abc.abstractmethod
    def forward(self, batch: Mapping[str, Tensor], seed: int) -> Tensor:
        """Compute the loss of each row.

        Arguments:
            batch: Encoded columns, each with shape (B, *shape).
            seed: Where the randomness of this step comes from.

        Returns:
            Losses with shape (B,).
        """
