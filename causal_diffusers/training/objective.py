"""What a stage minimises: the interface of every objective."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from causal_diffusers.mechanisms import Component
from causal_diffusers.training.config import Descent
from causal_diffusers.training.data import Rows
from causal_diffusers.training.intervened import INTERVENED
from causal_diffusers.training.player import Opponent
from causal_diffusers.variables import Experiment

__all__ = ["Objective"]


class Objective(nn.Module, abc.ABC):
    """A loss for each row of data, and the components whose weights it moves.

    Arguments:
        components: The components that are trained, by name.
        columns: The columns of the data that it reads.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> from causal_diffusers.training import LikelihoodObjective
        >>> from causal_diffusers.variables import Categorical
        >>> f = CategoricalMechanism().bind(Categorical("ab"), {"X": Categorical("ab")}, {})
        >>> objective = LikelihoodObjective({"Y": f}, {}, {})
        >>> objective.columns, sorted(objective.components)
        (('X', 'Y'), ['Y'])
    """

    name: str
    betas: tuple[float, float] = (0.9, 0.999)  # of Adam

    def __init__(self, components: Mapping[str, Component], columns: tuple[str, ...]) -> None:
        super().__init__()
        self.components = dict(components)
        self.parts = nn.ModuleList(components.values())  # not by name: "children" is a method
        self.columns = columns

    @property
    def most_rows(self) -> int | None:
        """The most distinct rows that a step should hold at once; None for no limit."""
        return None

    @property
    @abc.abstractmethod
    def defaults(self) -> Descent:
        """How this objective is best brought to its minimum."""

    @property
    def opponent(self) -> Opponent | None:
        """Who plays against it, if it is a game; known once it is prepared."""
        return None

    @property
    def made_from(self) -> dict[str, Any]:
        """What its minimum depends on besides components, config and data, in JSON."""
        return {}

    def select(self, rows: Rows) -> Rows:
        """Keep the rows that it learns from: what was set does not tell how it is made.

        Arguments:
            rows: The data, of one regime or several.

        Returns:
            Those rows, which say `do(X)` of what it trains only.

        Raises:
            ValueError: If there is none, or if it cannot learn from rows of experiments.
        """
        if rows.experiments != (Experiment(),):
            raise ValueError(
                f"`{INTERVENED}` is not understood by every objective: got rows in which "
                f"something was set, for {self.name} training of {', '.join(self.components)}. "
                "Choose "
                '`objective="likelihood"`, or drop those rows.'
            )
        return rows

    def prepare(self, rows: Rows, seed: int, device: torch.device) -> None:
        """Look at the data and at what is already trained, before the first step.

        A run that continues is prepared again, to the same end.

        Arguments:
            rows: The data.
            seed: Where randomness comes from.
            device: Where the stage is trained.
        """

    def derive(self, rows: Rows) -> Rows:
        """Add the columns that are computed from others when the stage begins.

        Arguments:
            rows: The data.

        Returns:
            The data, with all of `columns`.
        """
        return rows

    def trainable_state(self) -> dict[str, Tensor]:
        """Give the parameters that the stage moves, by component and name.

        Returns:
            The parameters themselves, not copies.
        """
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

    @abc.abstractmethod
    def culprits(self, batch: Mapping[str, Tensor], seed: int) -> tuple[str, ...]:
        """Name the variables to blame for a loss that is not finite.

        Arguments:
            batch: The one row that has it; each column has shape (1, *shape).
            seed: The seed of the step.

        Returns:
            The variables, at least one.
        """
