r"""What does Bayes know of a graph when the law of the tasks and the causal order are told?

Given the order, every variable is a regression on its predecessors with known noise, and the
regressions are independent. A coefficient is zero with probability 1 - p, and else uniform on
$\pm[a, b]$. With $r$ the residual without predecessor $i$, $A = x_i^\top x_i$ and
$B = x_i^\top r$, the coefficient is integrated out of its own indicator,

$$ \frac{P(w_i \in \pm[a, b] \mid \cdot)}{P(w_i = 0 \mid \cdot)} = \frac{p}{1 - p} \,
   \frac{1}{2 (b - a)} \int_{\pm[a, b]} e^{B w - A w^2 / 2} \, dw , $$

which is a matter of normal distribution functions. So the Gibbs sampler draws the interval
(none, negative or positive), then the coefficient in it, for all tasks, variables and chains
at once. Predecessors that resemble each other would hold a chain for long: each is the coldest
of a ladder of chains whose likelihoods are raised to powers down to .0003, and that exchange
their states. Half of the ladders start without edges and half from the prior: where they
agree, the chains have forgotten their start.

    python benchmarks/structure_posterior.py

compares the sampler with quadrature over every coefficient, on tasks with 4 variables. One
minute.

References:
    Variable selection via Gibbs sampling (George & McCulloch, 1993).
    Exchange Monte Carlo method and application to spin glass simulations
        (Hukushima & Nemoto, 1996).
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import torch
from torch import Tensor

from causal_diffusers.systems.sem import LinearFamily

POWERS = 0.4 ** torch.arange(10, dtype=torch.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class Posterior:
    """Probabilities of edges, with shape (T, d, d), by both halves of the chains, (2, T, d, d)."""

    halves: Tensor

    @property
    def probabilities(self) -> Tensor:
        return self.halves.mean(dim=0)

    @property
    def disagreement(self) -> dict[str, float]:
        """The largest and the root mean square difference of the halves, over possible edges."""
        gap = self.halves[0] - self.halves[1]
        edges = gap[:, (self.halves.sum(dim=(0, 1)) > 0)]
        return {"largest": gap.abs().max().item(), "rms": edges.square().mean().sqrt().item()}


def edge_posterior(
    data: Tensor,
    family: LinearFamily,
    *,
    generator: torch.Generator,
    order: Tensor | None = None,
    ladders: int = 4,
    sweeps: int = 600,
    warm: int = 200,
) -> Posterior:
    """Sample the posterior of the graphs of tasks whose data, (T, n, d), have unit noise.

    `order` is that of `family` unless given. The probabilities are means of the conditional
    ones, over the sweeps after the first `warm` and the chains that are not heated.
    """
    order = family.order if order is None else order
    x = data[..., order].double()
    gram = x.mT @ x
    T, d = gram.shape[:2]
    W = _prior(family, (ladders, len(POWERS), T, d, d), generator)
    W[: ladders // 2] = 0
    total = torch.zeros(2, T, d, d, dtype=torch.float64)
    for sweep in range(sweeps):
        for i in range(d - 1):
            weights, included = _update(gram, W, i, family, generator)
            W[..., i, i + 1 :] = weights
            if sweep >= warm:
                total[..., i, i + 1 :] += included[:, 0].unflatten(0, (2, -1)).mean(dim=1)
        _exchange(gram, W, sweep % 2, generator)
    total /= sweeps - warm
    halves = torch.zeros_like(total)
    halves[:, :, order[:, None], order] = total
    return Posterior(halves)


def _prior(family: LinearFamily, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    size = torch.rand(shape, generator=generator, dtype=torch.float64)
    sign = torch.randint(2, shape, generator=generator) * 2 - 1
    edges = (torch.rand(shape, generator=generator) < family.density).triu(diagonal=1)
    return edges * sign * (family.least + (family.most - family.least) * size)


def _update(gram: Tensor, W: Tensor, i: int, family: LinearFamily, generator: torch.Generator):
    """Draw the coefficients of predecessor i anew; give them and P(not zero | the others)."""
    a, b, p = family.least, family.most, family.density
    A, row, rest = gram[:, i, i, None], W[..., i, i + 1 :], W[..., i + 1 :]
    B = gram[:, i, i + 1 :] - torch.einsum("ti,lktij->lktj", gram[:, i], rest) + A * row
    mean, heated = B / A, A * POWERS[:, None, None]
    deviation = heated.rsqrt()
    ends = torch.stack([-mean - b, -mean - a, a - mean, b - mean]) / deviation
    mass = torch.stack([_log_mass(ends[0], ends[1]), _log_mass(ends[2], ends[3])])
    scale = math.log(p / (1 - p) / (2 * (b - a))) + 0.5 * (2 * math.pi / heated).log()
    mass = mass + scale + 0.5 * heated * mean.square()
    odds = mass.logsumexp(dim=0)
    included = odds.sigmoid()
    u = torch.rand(3, *B.shape, generator=generator, dtype=torch.float64)
    positive = u[0] < (mass[1] - odds).exp()
    low = torch.where(positive, ends[2], ends[0])
    high = torch.where(positive, ends[3], ends[1])
    drawn = mean + deviation * _truncated_normal(low, high, u[1])
    size = drawn.abs().clamp(a, b)  # rounding only
    return torch.where(u[2] < included, torch.where(positive, size, -size), 0.0), included


def _exchange(gram: Tensor, W: Tensor, first: int, generator: torch.Generator) -> None:
    """Let neighbours on the ladders exchange regressions, each variable on its own."""
    d = W.shape[-1]
    fit = (W * gram).sum(dim=-2) - 0.5 * (W * (gram @ W)).sum(dim=-2)  # log-likelihoods
    cold = torch.arange(first, len(POWERS) - 1, 2)
    hot = cold + 1
    gain = (POWERS[cold] - POWERS[hot])[:, None, None] * (fit[:, hot] - fit[:, cold])
    u = torch.rand(gain.shape, generator=generator, dtype=torch.float64)
    swap = (u.log() < gain)[..., None, :].expand(*gain.shape[:-1], d, d)
    W[:, cold], W[:, hot] = (
        torch.where(swap, W[:, hot], W[:, cold]),
        torch.where(swap, W[:, cold], W[:, hot]),
    )


def _log_mass(low: Tensor, high: Tensor) -> Tensor:
    """Compute the log of the standard normal probability of an interval, far tails included."""
    flip = low > 0
    low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
    top, bottom = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    return top + torch.log1p(-(bottom - top).exp())


def _truncated_normal(low: Tensor, high: Tensor, u: Tensor) -> Tensor:
    """Turn uniform u into a standard normal between low and high."""
    flip = low > 0
    left, right = torch.where(flip, -high, low), torch.where(flip, -low, high)
    p, q = torch.special.ndtr(left), torch.special.ndtr(right)
    x = torch.special.ndtri(p + u * (q - p))
    rate = -right  # beyond 30 deviations the tail is exponential, to one in a thousand
    tail = right + torch.log1p(-u * -torch.expm1(rate * (left - right))) / rate
    x = torch.where(right < -30, tail, x)
    x = torch.minimum(torch.maximum(x, left), right)
    return torch.where(flip, -x, x)


def exact_posterior(x: Tensor, family: LinearFamily, order: Tensor, nodes: int = 24) -> Tensor:
    """Integrate over the coefficients of one task by quadrature, for few variables."""
    import numpy as np

    points, mass = (torch.as_tensor(v) for v in np.polynomial.legendre.leggauss(nodes))
    half = (family.most - family.least) / 2
    size, mass = family.least + half * (points + 1), mass / 4 * family.density
    values = torch.cat([torch.zeros(1), -size, size]).double()
    prior = torch.cat([torch.tensor([1 - family.density]), mass, mass]).double()
    d, x = len(order), x.double()
    answer = torch.zeros(d, d, dtype=torch.float64)
    for j in range(1, d):
        index = torch.cartesian_prod(*[torch.arange(len(values))] * j).view(-1, j)
        residual = x[:, order[j]] - values[index] @ x[:, order[:j]].T
        weight = prior[index].log().sum(dim=1) - residual.square().sum(dim=1) / 2
        answer[order[:j], order[j]] = weight.softmax(dim=0) @ (index > 0).double()
    return answer


def main() -> None:
    torch.set_num_threads(1)
    worst = 0.0
    for n, edges in itertools.product((2, 5, 20), (1.5, 4)):
        family = LinearFamily(4, edges, "order-consistent", seed=2)
        data = family.sample(10, n, generator=torch.Generator().manual_seed(n)).data
        generator = torch.Generator().manual_seed(0)
        found = edge_posterior(data, family, generator=generator, sweeps=2000)
        exact = torch.stack([exact_posterior(x, family, family.order) for x in data])
        error = (found.probabilities - exact).abs().max().item()
        worst = max(worst, error)
        print(f"n={n:2} edges={edges}: off by {error:.4f} at most, halves {found.disagreement}")
    print(f"worst: {worst:.4f}")


if __name__ == "__main__":
    main()
