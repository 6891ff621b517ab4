r"""Which tasks does the network learn from? Dreams: tasks whose graphs are known, being made up.

The network learns $P(i \to j \mid X)$ by predicting the edges of tasks drawn from a prior
over families, so that its probabilities are calibrated for data that the prior makes. The
prior is wide: few or many variables, samples and edges, random and scale-free graphs, equal
and unequal noises of several laws, columns in any unit. Half of the dreams tell something
of the graph beforehand: the order, tiers, or edges that are not there.

References:
    Amortized inference for causal structure learning (Lorch et al., 2022), Sec. 4.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from causal_diffusers.discovery.beforehand import UNKNOWN_DENSITY, edge_odds
from causal_diffusers.discovery.summary import Summary
from causal_diffusers.systems.sem import NOISES, AdditiveFamily, LinearFamily, Tasks

__all__ = ["Dream", "WidePrior"]


@dataclasses.dataclass(frozen=True, eq=False)
class Dream:
    """Tasks, and what the network is told of them.

    Arguments:
        tasks: The tasks.
        summary: Of their data.
        possible: Which edges are not ruled out, with shape (T, d, d).
        prior: The log odds of each edge against none, likewise.
        knows_prior: Whether that is to be trusted, with shape (T,).
        is_linear: Whether the weights of the tasks are slopes.

    Example:
        >>> WidePrior().dream(torch.Generator().manual_seed(0)).is_linear
        True
    """

    tasks: Tasks
    summary: Summary
    possible: Tensor
    prior: Tensor
    knows_prior: Tensor
    is_linear: bool = True


@dataclasses.dataclass(frozen=True)
class WidePrior:
    """A prior over families of linear models.

    Arguments:
        least_variables: The smallest number of variables.
        most_variables: The largest.
        least_samples: The smallest number of samples.
        most_samples: The largest.
        budget: Tasks times pairs of variables in a dream, about.
        bent: Whether causes act through bent functions.

    Example:
        >>> dream = WidePrior(5, 5, 10, 10).dream(torch.Generator().manual_seed(0))
        >>> dream.tasks.data.shape
        torch.Size([64, 10, 5])
    """

    least_variables: int = 5
    most_variables: int = 50
    least_samples: int = 10
    most_samples: int = 1000
    budget: int = 6400
    bent: bool = False

    def dream(self, generator: torch.Generator) -> Dream:
        """Draw a family, tasks of it, and what is told of them."""
        u = torch.rand(12, generator=generator).tolist()
        # small tasks are cheap and more of them are drawn; the large ones come now and then
        d = round(_between(self.least_variables, self.most_variables, u[0] ** 1.7))
        n = round(_between(self.least_samples, self.most_samples, u[1] ** 1.3))
        count = max(2, min(64, self.budget // d**2))
        family = self._family(d, u[2:8], generator)
        make = AdditiveFamily(family) if self.bent else family
        tasks = make.sample(count, n, generator=generator)
        if u[8] < 0.15:
            tasks = _rescaled(tasks, u[8] < 0.08, generator)
        told = 1.0 if u[8] >= 0.15 and family.deviations == (1.0, 1.0) and u[9] < 0.35 else None
        possible = _told(tasks, family, u[10], generator)
        knows = torch.full((count,), u[11] < 0.7)
        density = min(max(family.density, 0.02), 0.9) if u[11] < 0.7 else UNKNOWN_DENSITY
        prior = edge_odds(density, possible)
        return Dream(tasks, Summary.of(tasks.data, told), possible, prior, knows, not self.bent)

    def _family(self, d: int, u: list[float], generator: torch.Generator) -> LinearFamily:
        pairs = d * (d - 1) / 2
        degree = 0.4 + 2.2 * u[0]
        edges = min(degree * d, 0.6 * pairs) if u[1] < 0.8 else min(0.3 * pairs, 4 * d)
        least, most = (0.5, 2.0) if u[2] < 0.6 else (0.1 + 0.5 * u[5], 1 + 1.5 * u[4])
        spread = (1.0, 1.0) if u[3] < 0.6 else (0.4 + 0.5 * u[4], 1.1 + 1.4 * u[5])
        noise = "gaussian" if u[4] < 0.55 else NOISES[1 + int(u[5] * 3.999)]
        seed = int(torch.randint(2**31, (), generator=generator))
        return LinearFamily(
            d,
            edges,
            "order-consistent" if u[5] < 0.4 else "general",
            "scale-free" if (u[1] * 10) % 1 < 0.25 else "erdos-renyi",
            least,
            most,
            noise,
            spread,
            seed,
        )


def _between(low: float, high: float, share: float) -> float:
    return low * (high / low) ** share


def _rescaled(tasks: Tasks, standard: bool, generator: torch.Generator) -> Tasks:
    """Give each column another unit: that of its own deviation, or any."""
    T, _, d = tasks.data.shape
    scale = torch.exp(torch.randn(T, d, generator=generator) * 0.7)
    if standard:
        scale = 1 / tasks.data.std(dim=1).clamp(min=1e-6)
    weights = tasks.weights * scale[:, None, :] / scale[:, :, None]
    return Tasks(tasks.data * scale[:, None, :], weights, tasks.deviations * scale)


def _told(tasks: Tasks, family: LinearFamily, u: float, generator: torch.Generator) -> Tensor:
    """Say which edges are possible: all, those of the order, of tiers, or not some."""
    graphs = tasks.graphs
    T, d, _ = graphs.shape
    possible = ~torch.eye(d, dtype=torch.bool).expand(T, d, d).clone()
    if u < 0.5:
        return possible
    if family.setting == "order-consistent" and u < 0.9:
        place = family.order.argsort()
        if u > 0.75:  # tiers
            place = place * 3 // d
            return possible & (place[:, None] <= place[None, :])
        return possible & (place[:, None] < place[None, :])
    ruled_out = torch.rand(T, d, d, generator=generator) < 0.4
    return possible & (graphs | ~ruled_out)
