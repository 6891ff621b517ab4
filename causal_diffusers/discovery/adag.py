r"""Which graph made the data? One forward pass of an attention model.

A pair of variables has a state; every layer looks at the data again through the present
edge probabilities (`regression`), lets the candidate causes of a variable attend to each
other and the candidate effects likewise, and revises the probabilities. They are
exclusive: of two variables the first causes the second, the second the first, or neither,

$$ P(i \to j) = \frac{e^{\ell_{ij}}}{1 + e^{\ell_{ij}} + e^{\ell_{ji}}} . $$

No parameter belongs to a variable, hence to permute the columns is to permute the answer.
What is known beforehand, which edges are possible and how likely any edge is, is an input.

References:
    Learning causal graphs at scale: a foundation model approach (Yin, Gao & Yu, 2025).
    Amortized inference for causal structure learning (Lorch et al., 2022), Sec. 4.
"""

from __future__ import annotations

import dataclasses

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from causal_diffusers.discovery.regression import SLAB, Evidence, regress
from causal_diffusers.discovery.summary import Summary
from causal_diffusers.mechanisms.component import Component

__all__ = ["ADAG", "Edges"]

_NEVER = -30.0
_TOLD = 18


@dataclasses.dataclass(frozen=True, eq=False)
class Edges:
    """What the network says of the edges of some data sets.

    Arguments:
        logits: With shape (B, d, d), against no edge between the two.
        weights: The mean weight of each edge if it exists, in units of the data.
        deviation: The log deviation of each variable's noise, in units of the summary,
            with shape (B, d).

    Example:
        >>> Edges(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), torch.zeros(1, 2)).probabilities
        tensor([[[0.0000, 0.3333],
                 [0.3333, 0.0000]]])
    """

    logits: Tensor
    weights: Tensor
    deviation: Tensor

    @property
    def probabilities(self) -> Tensor:
        """The probability of each edge, with shape (B, d, d)."""
        return pair_probabilities(self.logits)


def pair_probabilities(logits: Tensor) -> Tensor:
    """Turn logits against no edge into probabilities, zero on the diagonal."""
    none = torch.zeros_like(logits)
    p = torch.stack([logits, logits.mT, none]).softmax(dim=0)[0]
    return p * (1 - torch.eye(logits.shape[-1], device=p.device))


class ADAG(Component):
    """The attention model.

    Arguments:
        width: The length of the state of a pair.
        layers: How often the probabilities are revised.
        heads: Heads of attention; divides `width`.
    """

    @register_to_config
    def __init__(self, width: int = 32, layers: int = 4, heads: int = 2) -> None:
        super().__init__()
        self.first = nn.Linear(_TOLD, width)
        self.guess = nn.Linear(_TOLD, 1)
        nn.init.zeros_(self.guess.weight)
        nn.init.zeros_(self.guess.bias)
        self.blocks = nn.ModuleList(_Layer(width, heads) for _ in range(layers))

    def forward(
        self, summary: Summary, possible: Tensor, prior: Tensor, knows_prior: Tensor
    ) -> list[Edges]:
        B, d, _ = summary.covariance.shape
        eye = torch.eye(d, dtype=torch.bool, device=possible.device)
        possible = possible & ~eye
        told = torch.stack(
            [possible.float(), possible.mT.float(), knows_prior.float()[:, None, None].expand(B, d, d)], -1
        )
        static = torch.cat([summary.features(), told], dim=-1)
        state = self.first(static)
        logits = torch.where(possible, prior + self.guess(static)[..., 0], _NEVER)
        deviation = torch.zeros_like(summary.covariance[:, 0])
        found = [Edges(logits, torch.zeros_like(logits), deviation)]
        for block in self.blocks:
            with torch.no_grad():
                p = pair_probabilities(logits.detach())
                p = torch.where(possible, p.clamp(min=1e-6), 0)
                evidence = regress(
                    summary.covariance, summary.count, p, (2 * deviation.detach()).exp()
                )
                seen = _features(evidence, p, logits.detach(), deviation.detach(), prior)
            state, change, weights, deviation = block(state, seen, deviation)
            logits = torch.where(possible, change + prior, _NEVER)
            found.append(Edges(logits, weights, deviation))
        return found


def _features(evidence: Evidence, p: Tensor, logits: Tensor, deviation: Tensor, prior: Tensor) -> Tensor:
    """What a layer is told of each ordered pair."""
    tau = evidence.precision
    z = evidence.mean * tau.sqrt()
    gain = 0.5 * (evidence.mean * tau) ** 2 / (tau + 1 / SLAB) - 0.5 * (1 + SLAB * tau).log()
    reach = p + p @ p
    reach = 1 - torch.exp(-(reach + reach @ reach))
    own = torch.stack(
        [
            (evidence.mean).asinh(),
            (z).asinh(),
            (tau + 1e-3).log() / 3,
            gain.asinh() / 3,
            evidence.posterior.asinh(),
            p,
            logits.clamp(-10, 10) / 5,
            reach,
            prior.clamp(-10, 10) / 5,
        ],
        -1,
    )
    ratio = evidence.residual.log() / 2 - deviation
    node = torch.stack([evidence.residual.log() / 4, ratio, p.sum(1), p.sum(2), deviation], -1)
    d = p.shape[-1]
    return torch.cat(
        [own, own.transpose(1, 2), node[:, :, None].expand(-1, d, d, -1), node[:, None].expand(-1, d, d, -1)], -1
    )


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.see = nn.Sequential(nn.Linear(28, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.causes, self.effects = _Attention(width, heads), _Attention(width, heads)
        self.norm = nn.LayerNorm(width)
        self.think = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2))
        self.node = nn.Linear(width, 1)
        nn.init.zeros_(self.node.weight)

    def forward(self, state: Tensor, seen: Tensor, deviation: Tensor):
        state = state + self.see(seen)
        state = state + self.causes(state)  # over i, for each j
        state = state + self.effects(state.transpose(1, 2)).transpose(1, 2)
        h = self.norm(state)
        state = state + self.think(torch.cat([h, h.transpose(1, 2)], -1))
        out = self.out(state)
        mean = seen[..., 0].sinh()
        tau = (seen[..., 2] * 3).exp()
        weights = mean * tau / (tau + 1 / SLAB) + out[..., 1]
        deviation = deviation + self.node(state.diagonal(dim1=1, dim2=2).mT)[..., 0]
        gain = (seen[..., 3] * 3).sinh()
        return state, out[..., 0] + gain.clamp(-10, 10), weights, deviation


class _Attention(nn.Module):
    """Attention along the first of two axes: (B, i, j, c), over i."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        B, n, m, c = x.shape
        qkv = self.qkv(self.norm(x)).view(B, n, m, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(3, 0, 2, 4, 1, 5).flatten(1, 2)  # (B m, heads, n, c)
        y = scaled_dot_product_attention(q, k, v)
        y = y.view(B, m, self.heads, n, c // self.heads).permute(0, 3, 1, 2, 4)
        return self.out(y.reshape(B, n, m, c))
