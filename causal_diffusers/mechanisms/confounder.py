r"""The distribution of a finite confounder, which is learned with its district.

A Gaussian confounder is drawn from $N(0, I)$ and needs no file of its own. A finite one
has a probability for each of its $K$ states.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from causal_diffusers.mechanisms.component import Component
from causal_diffusers.mechanisms.relaxation import relaxed_one_hot

__all__ = ["ConfounderPrior"]


class ConfounderPrior(Component):
    r"""A learned distribution over the $K$ states of a finite confounder.

    Arguments:
        states: The number of states K, at least 2.

    Raises:
        ValueError: If there are fewer.

    Example:
        >>> prior = ConfounderPrior(states=4)
        >>> prior.sample(3, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([3])
    """

    @register_to_config
    def __init__(self, states: int = 2) -> None:
        super().__init__()
        if states < 2:
            raise ValueError(
                f"`ConfounderPrior` needs at least two states: got {states}. A confounder that "
                "never varies is none."
            )
        self.logits = nn.Parameter(torch.zeros(states))

    def log_weights(self) -> Tensor:
        r"""Give $\log P(u = k)$, with shape (K,).

        Example:
            >>> ConfounderPrior(states=4).log_weights().exp().tolist()
            [0.25, 0.25, 0.25, 0.25]
        """
        return self.logits.float().log_softmax(dim=0)

    @torch.no_grad()
    def sample(self, num_samples: int, *, generator: torch.Generator) -> Tensor:
        """Draw states.

        Arguments:
            num_samples: N.
            generator: The source of randomness.

        Returns:
            States, integers with shape (N,).

        Example:
            >>> ConfounderPrior(states=2).sample(5, generator=torch.Generator()).shape
            torch.Size([5])
        """
        weights = self.log_weights().exp().to(generator.device)
        drawn = torch.multinomial(weights, num_samples, replacement=True, generator=generator)
        return drawn.to(self.logits.device)

    def relaxed_sample(
        self, num_samples: int, *, generator: torch.Generator, temperature: float = 0.5
    ) -> Tensor:
        """Draw states whose gradient reaches the prior.

        Arguments:
            num_samples: N.
            generator: The source of randomness.
            temperature: How smooth the gradient is, positive.

        Returns:
            One-hot states with shape (N, K).

        Example:
            >>> u = ConfounderPrior(states=2).relaxed_sample(5, generator=torch.Generator())
            >>> u.shape, u.requires_grad
            (torch.Size([5, 2]), True)
        """
        logits = self.log_weights().expand(num_samples, -1)
        return relaxed_one_hot(logits, generator, temperature)
