r"""How can a draw from a finite set have a gradient?

$$ k = \arg\max_k \{\log p_k + \varepsilon_k\}, \quad \varepsilon_k \sim \mathrm{Gumbel},
   \qquad y = \mathrm{softmax}\big((\log p + \varepsilon) / \tau\big) . $$

The value is the vertex $k$ itself, the gradient that of the smooth $y$ (straight-through).

References:
    Categorical reparameterization with Gumbel-softmax (Jang, Gu & Poole, 2017), Sec. 2.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

__all__ = ["gumbel", "relaxed_one_hot"]


def gumbel(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard Gumbel noise.

    Arguments:
        like: Gives the shape, and where the noise lives in the end.
        generator: The source; the noise is drawn on its device.

    Returns:
        The noise.

    Example:
        >>> gumbel(torch.zeros(2, 3), torch.Generator()).shape
        torch.Size([2, 3])
    """
    uniform = torch.rand(like.shape, generator=generator, device=generator.device)
    return -(-uniform.clamp(min=1e-20).log()).clamp(min=1e-20).log().to(like.device)


def relaxed_one_hot(logits: Tensor, generator: torch.Generator, temperature: float) -> Tensor:
    """Draw one-hot vectors whose gradient is that of a Gumbel-softmax.

    Arguments:
        logits: Unnormalised log-probabilities with shape (N, K).
        generator: The source of the Gumbel noise.
        temperature: The temperature of the softmax, positive.

    Returns:
        One-hot vectors with shape (N, K).

    Raises:
        ValueError: If the temperature is not positive.

    Example:
        >>> relaxed_one_hot(torch.zeros(4, 2), torch.Generator(), 0.5).sum(dim=1).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    if not temperature > 0:
        raise ValueError(f"`temperature` must be positive: got {temperature}.")
    noisy = logits + gumbel(logits, generator)
    soft = (noisy / temperature).softmax(dim=-1)
    hard = one_hot(noisy.argmax(dim=-1), noisy.shape[-1]).to(soft.dtype)
    return hard + (soft - soft.detach())
