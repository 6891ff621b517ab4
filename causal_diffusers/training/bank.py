"""How is a frozen image variable sampled in every step, when a denoiser is slow?

From a bank: for each configuration of its discrete parents some images are drawn once,
before training, and a step draws from these. No gradient passes through a bank.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from causal_diffusers.mechanisms import Mechanism, SamplingOptions
from causal_diffusers.variables import Categorical

__all__ = ["Bank", "check_bank"]

_MOST_CONFIGURATIONS = 1024


class Bank:
    """Samples of one mechanism, for each configuration of its parents.

    Arguments:
        mechanism: The mechanism; its parents are categorical, and it has no confounders.
        size: Samples for each configuration.
        generator: The source of the samples.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> two = Categorical([0, 1])
        >>> f = CategoricalMechanism().bind(two, {"X": two}, {})
        >>> bank = Bank(f, size=8, generator=torch.Generator())
        >>> bank.sample({"X": torch.tensor([0, 1, 1])}, 3, generator=torch.Generator()).shape
        torch.Size([3])
    """

    def __init__(self, mechanism: Mechanism, size: int, generator: torch.Generator) -> None:
        labels = {name: len(v.labels) for name, v in _parents(mechanism).items()}
        configurations = torch.tensor(list(itertools.product(*map(range, labels.values()))))
        codes = configurations.repeat_interleave(size, dim=0).to(mechanism.device)
        samples = mechanism.sample(
            dict(zip(labels, codes.unbind(dim=1), strict=True)),
            {},
            num_samples=len(codes),
            generator=generator,
            options=SamplingOptions(),
        )
        self.labels, self.samples = labels, samples.view(-1, size, *samples.shape[1:])

    def sample(
        self, parents: Mapping[str, Tensor], num_samples: int, *, generator: torch.Generator
    ) -> Tensor:
        """Draw from the bank.

        Arguments:
            parents: Codes (N,), or one-hot (N, K), of each parent.
            num_samples: N.
            generator: The source of randomness.

        Returns:
            Samples with shape (N, *shape).
        """
        row = torch.zeros(num_samples, dtype=torch.long, device=self.samples.device)
        for name, labels in self.labels.items():
            value = parents[name]
            codes = value.argmax(dim=1) if value.is_floating_point() else value
            row = row * labels + codes.to(row.device)
        chosen = torch.randint(self.samples.shape[1], (num_samples,), generator=generator)
        return self.samples[row, chosen.to(row.device)]


def check_bank(name: str, mechanism: Mechanism) -> None:
    """Refuse a mechanism of which no bank can be made.

    Arguments:
        name: The variable that it makes.
        mechanism: The mechanism.

    Raises:
        ValueError: If it listens to something that is not categorical, or to too much.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> check_bank("Y", CategoricalMechanism().bind(Categorical([0, 1]), {}, {}))
    """
    discrete = _parents(mechanism)
    others = sorted((mechanism.parents.keys() - discrete.keys()) | mechanism.confounders.keys())
    count = math.prod(len(v.labels) for v in discrete.values())
    if others or count > _MOST_CONFIGURATIONS:
        received = f"it listens to {', '.join(others)}" if others else f"got {count}"
        raise ValueError(
            f'Adversarial training samples the frozen "{name}" in every step, from images drawn '
            f"beforehand for each configuration of categorical parents, at most "
            f"{_MOST_CONFIGURATIONS}: {received}. Train the district by likelihood, or give "
            f'"{name}" a mechanism whose draws have a gradient.'
        )


def _parents(mechanism: Mechanism) -> dict[str, Categorical]:
    return {n: v for n, v in mechanism.parents.items() if isinstance(v, Categorical)}
