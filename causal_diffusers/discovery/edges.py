r"""What does the network say of the edges?

The three states of a pair are exclusive: one way, the other way, no edge,

$$ P(i \to j) = \frac{e^{\ell_{ij}}}{1 + e^{\ell_{ij}} + e^{\ell_{ji}}} . $$
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Edges", "pair_probabilities"]


@dataclasses.dataclass(frozen=True, eq=False)
class Edges:
    """What a layer says of the edges of some data sets.

    Arguments:
        logits: Of each edge against none between the two, with shape (B, d, d).
        weights: The weight of each edge if it exists, in units of the summary, likewise.
        deviation: The log deviation of each variable's noise, with shape (B, d).

    Example:
        >>> edges = Edges(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), torch.zeros(1, 2))
        >>> edges.probabilities.sum().item() < 1
        True
    """

    logits: Tensor
    weights: Tensor
    deviation: Tensor

    @classmethod
    def cat(cls, parts: Sequence[Edges]) -> Edges:
        """Join what was said of several batches.

        Arguments:
            parts: Of data sets with the same variables.

        Returns:
            All of it.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    @property
    def probabilities(self) -> Tensor:
        """The probability of each edge, with shape (B, d, d)."""
        return pair_probabilities(self.logits)


def pair_probabilities(logits: Tensor) -> Tensor:
    """Turn logits against no edge into probabilities.

    Arguments:
        logits: With shape (B, d, d).

    Returns:
        Probabilities, of which those of a pair add up to less than 1; 0 on the diagonal.

    Example:
        >>> pair_probabilities(torch.zeros(1, 2, 2)).diagonal(dim1=1, dim2=2).tolist()
        [[0.0, 0.0]]
    """
    three = torch.stack([logits, logits.mT, torch.zeros_like(logits)])
    off = 1 - torch.eye(logits.shape[-1], device=logits.device)
    return three.softmax(dim=0)[0] * off
