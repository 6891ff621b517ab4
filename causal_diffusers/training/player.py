"""Who moves weights in a stage? The objective, and the opponent if it is a game.

A player has parameters and an Adam of its own. Before each step of the objective its
opponent takes some steps. Processes agree on them by averaging its gradients; what the
opponent computes is small, and always in single precision.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from causal_diffusers.seeding import draw_seed

if TYPE_CHECKING:
    from accelerate import Accelerator

    from causal_diffusers.training.batches import Draw

__all__ = ["Opponent", "Player"]

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # of Adam, for each parameter


class Opponent(abc.ABC):
    """Who plays against an objective.

    Arguments:
        state: Its parameters, by name.
        moves: Its steps for each step of the objective.
        betas: Of its Adam.

    Example:
        >>> class Guess(Opponent):
        ...     def loss(self, batch, seed):
        ...         return (self.state["mean"] - batch["X"]) ** 2
        >>> Guess({"mean": torch.zeros(())}, moves=1).moves
        1
    """

    def __init__(
        self, state: Mapping[str, Tensor], moves: int, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        self.state, self.moves, self.betas = dict(state), moves, betas

    @abc.abstractmethod
    def loss(self, batch: Mapping[str, Tensor], seed: int) -> Tensor:
        """Compute what the opponent minimises; see `Objective.forward`."""


class Player:
    """Parameters, the Adam that moves them, and their place in a checkpoint.

    Arguments:
        state: The parameters, by name.
        adam: Their optimiser, in the order of `state`.
        prefix: Sets apart the tensors of this player.

    Example:
        >>> state = {"w": torch.nn.Parameter(torch.zeros(2))}
        >>> sorted(Player(state, torch.optim.AdamW(state.values())).moments())
        ['exp_avg.w', 'exp_avg_sq.w', 'step.w']
    """

    def __init__(
        self, state: Mapping[str, Tensor], adam: torch.optim.Optimizer, prefix: str = ""
    ) -> None:
        self.state, self.adam, self.prefix = dict(state), adam, prefix

    @classmethod
    def of(cls, opponent: Opponent, learning_rate: float) -> Player:
        """Let an opponent in.

        Arguments:
            opponent: The opponent.
            learning_rate: The peak of its learning rate.

        Returns:
            The player.
        """
        adam = torch.optim.AdamW(
            opponent.state.values(), lr=learning_rate, betas=opponent.betas, weight_decay=0.0
        )
        return cls(opponent.state, adam, prefix="opponent.")

    def set_learning_rate(self, rate: float) -> None:
        """Choose the learning rate of the next step."""
        for group in self.adam.param_groups:
            group["lr"] = rate

    def weights(self) -> dict[str, Tensor]:
        """Name the parameters as a checkpoint does."""
        return {f"{self.prefix}weights.{name}": p for name, p in self.state.items()}

    def moments(self) -> dict[str, Tensor]:
        """Give Adam's moments, which are zero before the first step."""
        moments: dict[str, Tensor] = {}
        for name, parameter in self.state.items():
            known = self.adam.state.get(parameter, {})
            for key in _MOMENTS:
                zero = torch.zeros(()) if key == "step" else torch.zeros_like(parameter)
                moments[f"{self.prefix}{key}.{name}"] = known.get(key, zero)
        return moments

    def adopt(self, moments: Mapping[str, Tensor]) -> None:
        """Let Adam go on from the moments of a checkpoint.

        Arguments:
            moments: What `moments` gave; others are ignored.
        """
        states = {
            index: {key: moments[f"{self.prefix}{key}.{name}"] for key in _MOMENTS}
            for index, name in enumerate(self.state)
        }
        self.adam.load_state_dict({**self.adam.state_dict(), "state": states})

    def answer(
        self, opponent: Opponent, draw: Draw, generator: torch.Generator, accelerator: Accelerator
    ) -> None:
        """Take one step of an opponent.

        Arguments:
            opponent: Whose loss it is.
            draw: Draws a batch.
            generator: The source of the batch and of the seed of the loss.
            accelerator: Knows the other processes, and the precision of the mechanisms.
        """
        values, weights, _ = draw(generator)
        with accelerator.autocast():
            losses = opponent.loss(values, draw_seed(generator) % 2**31)
        loss = (weights * losses).sum() / weights.sum()
        parameters = list(self.state.values())
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(loss, parameters), strict=True
        ):
            mean = accelerator.reduce(gradient, "mean")
            parameter.grad = mean if isinstance(mean, Tensor) else gradient
        self.adam.step()
        self.adam.zero_grad()
