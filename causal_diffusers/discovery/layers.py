r"""What does one layer of the network do?

It is told what the data say now (`look`), attends along the candidate causes of each
variable and along the candidate effects, weighs the two ways of each pair, and says how much
an edge has gained over its prior odds.

References:
    Attention is all you need (Vaswani et al., 2017), Sec. 3.2.
    Axial attention in multidimensional transformers (Ho et al., 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from causal_diffusers.discovery.regression import SLAB, Evidence

__all__ = ["Layer", "look"]

_OWN, _NODE = 9, 5
_LOOK = 2 * (_OWN + _NODE)
_MEAN, _PRECISION, _GAIN = 0, 2, 3  # where `look` puts them
_MOST_GAIN = 10.0


def look(
    evidence: Evidence, p: Tensor, logits: Tensor, deviation: Tensor, prior: Tensor
) -> Tensor:
    r"""Say what the data say of each ordered pair, in numbers of order 1.

    Among them the gain of an edge, the log Bayes factor of a Gaussian weight against none,
    $\tfrac12 \mu^2 \tau^2 / (\tau + 1/s^2) - \tfrac12 \log(1 + s^2 \tau)$.

    Arguments:
        evidence: What the data say of each weight.
        p: The present edge probabilities, with shape (B, d, d).
        logits: Likewise.
        deviation: The log deviation of each noise, with shape (B, d).
        prior: The log odds before the data, with shape (B, d, d).

    Returns:
        Features with shape (B, d, d, 28).

    Example:
        >>> x = torch.zeros(1, 3, 3)
        >>> seen = Evidence(x, x, x, torch.ones(1, 3))
        >>> look(seen, x, x, torch.zeros(1, 3), x).shape
        torch.Size([1, 3, 3, 28])
    """
    mu, tau = evidence.mean, evidence.precision
    gain = 0.5 * (mu * tau) ** 2 / (tau + 1 / SLAB) - 0.5 * (1 + SLAB * tau).log()
    paths = p + p @ p
    reach = 1 - torch.exp(-(paths + paths @ paths))
    columns = [
        mu.asinh(),
        (mu * tau.sqrt()).asinh(),
        (tau + 1e-3).log() / 3,
        gain.asinh() / 3,
        evidence.posterior.asinh(),
        p,
        logits.clamp(-10, 10) / 5,
        reach,
        prior.clamp(-10, 10) / 5,
    ]
    own = torch.stack(columns, dim=-1)
    left = evidence.residual.log() / 2
    node = torch.stack([left / 2, left - deviation, p.sum(1), p.sum(2), deviation], dim=-1)
    d = p.shape[-1]
    cause = node[:, :, None].expand(-1, d, d, -1)
    effect = node[:, None].expand(-1, d, d, -1)
    return torch.cat([own, own.transpose(1, 2), cause, effect], dim=-1)


class Layer(nn.Module):
    """One revision of the edge probabilities.

    Arguments:
        width: The length of the state of a pair.
        heads: Heads of attention.

    Example:
        >>> x = torch.zeros(1, 3, 3, 4), torch.zeros(1, 3, 3, 28), torch.zeros(1, 3)
        >>> [y.shape[1] for y in Layer(4, 2)(*x)]
        [3, 3, 3, 3]
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.see = nn.Sequential(
            nn.Linear(_LOOK, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )
        self.causes, self.effects = _Attention(width, heads, 1), _Attention(width, heads, 2)
        self.norm = nn.LayerNorm(width)
        self.think = nn.Sequential(
            nn.Linear(2 * width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )
        self.out = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
        )
        self.node = nn.Linear(width, 1)
        nn.init.zeros_(self.node.weight)

    def forward(
        self, state: Tensor, news: Tensor, deviation: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Revise.

        Arguments:
            state: Of each pair, with shape (B, d, d, width).
            news: What the data say now, from `look`.
            deviation: The log deviation of each noise, with shape (B, d).

        Returns:
            The state; by how much the log odds of each edge exceed its prior odds; the
            weights; the log deviations.
        """
        state = state + self.see(news)
        state = state + self.causes(state)  # over i, for each j
        state = state + self.effects(state)  # over j, for each i
        h = self.norm(state)
        state = state + self.think(torch.cat([h, h.transpose(1, 2)], dim=-1))
        change, correction = self.out(state).unbind(dim=-1)
        tau = (3 * news[..., _PRECISION]).exp()
        weights = news[..., _MEAN].sinh() * tau / (tau + 1 / SLAB) + correction
        gain = (3 * news[..., _GAIN]).sinh().clamp(-_MOST_GAIN, _MOST_GAIN)
        own = state.diagonal(dim1=1, dim2=2).mT
        return state, change + gain, weights, deviation + self.node(own)[..., 0]


class _Attention(nn.Module):
    """Attention along one of the two axes of pairs."""

    def __init__(self, width: int, heads: int, axis: int) -> None:
        super().__init__()
        self.heads, self.axis = heads, axis
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        B, n, m, c = x.shape
        qkv = self.qkv(self.norm(x)).view(B, n, m, 3, self.heads, c // self.heads)
        q, k, v = qkv.movedim(3, 0).movedim(self.axis + 1, -2)  # (B, other axis, heads, axis, c)
        # written out, which is faster than the fused kernel where n is small
        y = (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1) @ v
        return self.out(y.movedim(-2, self.axis).reshape(B, n, m, c))
