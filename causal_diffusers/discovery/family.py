r"""What do tasks of one family share, and how does the network dream of them?

Fitting takes data sets and no graph: `pooling` finds the shared order or graph, how likely
each edge is and the deviation of the noise. The dreams of a family are tasks drawn from
what was found; learning from them makes the network sure of what the family is sure of.

A family with a shared order or graph is tied to its variables, by name. A general one has
only a density.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from causal_diffusers.discovery.dreams import Dream
from causal_diffusers.discovery.pooling import shared_variances
from causal_diffusers.discovery.regression import SLAB
from causal_diffusers.discovery.summary import Summary
from causal_diffusers.systems.sem import SETTINGS, Tasks, draw_weights, solve_linear

__all__ = ["Family"]

_LEAST, _MOST = 0.5, 2.0  # absolute weights; their mean square is SLAB
_FLOOR, _COUNT = 0.01, 64


@dataclasses.dataclass(frozen=True)
class Family:
    """What was learned of a family of tasks.

    Arguments:
        setting: `"heterogeneous"`, `"order-consistent"` or `"general"`.
        chances: How likely each edge is, a matrix of lists; 0 where it is ruled out.
        deviation: The standard deviation of the noise, in units of the data.
        samples: The smallest and the largest number of samples of a task.
        variables: The names; None for a general family.

    Raises:
        ValueError: If a field is of another kind.

    Example:
        >>> family = Family("general", [[0.0, 0.2], [0.2, 0.0]], 1.0, (10, 30))
        >>> family.dream(torch.Generator().manual_seed(0)).tasks.weights.shape
        torch.Size([64, 2, 2])
    """

    setting: str
    chances: Sequence[Sequence[float]]
    deviation: float
    samples: tuple[int, int]
    variables: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.setting not in SETTINGS:
            raise ValueError(f"`setting` is one of {list(SETTINGS)}: got {self.setting!r}.")
        chances = self.matrix
        if chances.dim() != 2 or chances.shape[0] != chances.shape[1]:
            raise ValueError(f"`chances` is a square matrix: got shape {tuple(chances.shape)}.")
        if not ((chances >= 0) & (chances < 1)).all() or not self.deviation > 0:
            raise ValueError("`chances` are in [0, 1) and `deviation` is positive.")
        low, high = self.samples
        if not 2 <= low <= high:
            raise ValueError(f"`samples` is a range, from at least 2: got {self.samples}.")
        if self.variables is not None and len({*self.variables}) != len(chances):
            raise ValueError(f"`variables` names {len(chances)}: got {list(self.variables)}.")

    @classmethod
    def fit(
        cls,
        tasks: Sequence[Tensor],
        setting: str,
        variables: Sequence[str],
        *,
        guess: Callable[[Tensor], Tensor],
        generator: torch.Generator,
    ) -> Family:
        """Learn what tasks share from their data alone.

        Arguments:
            tasks: Data sets, each with shape (n, d).
            setting: What they share.
            variables: The names of the columns.
            guess: Gives the edge probabilities of data sets with shape (T, n, d); asked in
                the general setting, for the density.
            generator: Draws minibatches.

        Returns:
            The family.
        """
        if setting not in SETTINGS:
            raise ValueError(f"`setting` is one of {list(SETTINGS)}: got {setting!r}.")
        sizes = [len(task) for task in tasks]
        samples, d = (min(sizes), max(sizes)), tasks[0].shape[1]
        if setting == "general":
            found = torch.cat([guess(task[None]) for task in tasks])
            density = float(found.sum((1, 2)).mean()) / (d * (d - 1))
            even = (density * (1 - torch.eye(d))).clamp(0, 0.45).tolist()
            noise = torch.stack([task.var(dim=0).min() for task in tasks]).mean().sqrt()
            return cls(setting, even, float(noise), samples)
        covariance = torch.stack([torch.cov(task.T) for task in tasks]).float()
        unit = covariance.diagonal(dim1=1, dim2=2).mean(dim=0).min()
        count = sum(sizes) / len(sizes) - 1
        v, noise = shared_variances(covariance / unit, count, generator=generator)
        chances = torch.where(v > 0, (v / SLAB).clamp(_FLOOR, 1 - _FLOOR), 0)
        deviation = float((noise * unit).sqrt())
        return cls(setting, chances.tolist(), deviation, samples, tuple(variables))

    @property
    def matrix(self) -> Tensor:
        """The chances as a tensor, with shape (d, d)."""
        return torch.tensor(self.chances, device="cpu")  # wherever a module is planned

    @property
    def possible(self) -> Tensor:
        """Which edges are not ruled out, booleans with shape (d, d)."""
        return self.matrix > 0

    @property
    def knows_noise(self) -> bool:
        """Whether the deviation holds for every task."""
        return self.setting != "general"

    def odds(self) -> Tensor:
        """Give the log odds of each edge against none, with shape (d, d)."""
        chances = self.matrix
        both = chances + chances.T
        return (chances.clamp(min=1e-6) / (1 - both).clamp(min=_FLOOR)).log()

    def dream(self, generator: torch.Generator) -> Dream:
        """Draw tasks of the family, and what is told of them.

        Arguments:
            generator: The source of the randomness.

        Returns:
            The tasks.
        """
        d = len(self.chances)
        count = max(4, min(_COUNT, 6400 // d**2))
        low, high = self.samples
        n = round(low * (high / low) ** float(torch.rand((), generator=generator)))
        graphs = self._graphs(count, generator)
        weights = draw_weights(graphs, _LEAST, _MOST, generator)
        errors = self.deviation * torch.randn(count, n, d, generator=generator)
        data = solve_linear(errors, weights)
        tasks = Tasks(data, weights, torch.full((count, d), self.deviation))
        summary = Summary.of(data, self.deviation if self.knows_noise else None)
        possible, odds = (each.expand(count, d, d) for each in (self.possible, self.odds()))
        return Dream(tasks, summary, possible, odds, torch.ones(count, dtype=torch.bool))

    def _graphs(self, count: int, generator: torch.Generator) -> Tensor:
        d = len(self.chances)
        drawn = torch.rand(count, d, d, generator=generator)
        if self.setting != "general":
            return (drawn < self.matrix).float()
        order = torch.rand(count, d, generator=generator).argsort(dim=1)
        forward = order[:, :, None] < order[:, None, :]
        return ((drawn < 2 * self.matrix) & forward).float()

    def to_dict(self) -> dict[str, Any]:
        """Describe the family in plain JSON.

        Returns:
            The fields by name.

        Example:
            >>> family = Family("general", [[0.0, 0.25], [0.25, 0.0]], 1.0, (10, 30))
            >>> Family.from_dict(family.to_dict()) == family
            True
        """
        fields = dataclasses.asdict(self)
        fields["chances"] = [list(row) for row in self.chances]
        fields["samples"] = list(self.samples)
        fields["variables"] = None if self.variables is None else list(self.variables)
        return fields

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Family:
        """Read what `to_dict` wrote.

        Arguments:
            record: The fields by name.

        Returns:
            The family.

        Raises:
            ValueError: If a field is missing, unknown or of another kind.
        """
        try:
            fields = dict(record)
            names = fields.pop("variables")
            low, high = fields.pop("samples")
            return cls(**fields, samples=(low, high), variables=names and tuple(names))
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"this is no family of tasks: {error}.") from None
