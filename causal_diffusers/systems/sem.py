r"""Which data sets does a family of linear structural equation models make?

A task is one graph with its weights, and a data set drawn from

$$ X_j = \sum_i A_{ij} X_i + E_j , \qquad \mathrm{i.e.} \quad X = E (I - A)^{-1} , $$

rows of $X$ being samples. `A[i, j]` is the weight of the edge $i \to j$. The tasks of a
family differ in weights and data; a setting says what they have in common:

| setting | shared by all tasks |
|---|---|
| `"heterogeneous"` | one graph |
| `"order-consistent"` | one causal order |
| `"general"` | nothing |

References:
    Learning causal graphs at scale (Yin, Gao & Yu, 2025).
    DAGs with NO TEARS (Zheng et al., 2018), Sec. 5: random graphs and weights.
"""

from __future__ import annotations

import dataclasses
import math
from typing import final

import torch
from torch import Tensor

__all__ = ["AdditiveFamily", "LinearFamily", "Tasks"]

SETTINGS = "heterogeneous", "order-consistent", "general"
GRAPHS = "erdos-renyi", "scale-free"
NOISES = "gaussian", "laplace", "exponential", "uniform", "gumbel"


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Tasks:
    """Data sets, and the weighted graphs that made them.

    Arguments:
        data: The samples, with shape (T, n, d).
        weights: The weights, with shape (T, d, d); `weights[t, i, j]` belongs to i -> j.
        deviations: The standard deviation of the noise of each variable, with shape (T, d).

    Example:
        >>> tasks = LinearFamily(5).sample(3, 10, generator=torch.Generator().manual_seed(0))
        >>> tasks.data.shape, tasks.graphs.dtype
        (torch.Size([3, 10, 5]), torch.bool)
    """

    data: Tensor
    weights: Tensor
    deviations: Tensor

    @property
    def graphs(self) -> Tensor:
        """The edges, booleans with shape (T, d, d)."""
        return self.weights != 0


@final
@dataclasses.dataclass(frozen=True)
class LinearFamily:
    r"""A family of linear structural equation models.

    Arguments:
        variables: How many variables a task has, $d$.
        edges: How many edges a graph has on average.
        setting: What the tasks share.
        graph: How graphs are drawn: `"erdos-renyi"` or `"scale-free"`.
        least: The smallest absolute weight; weights are uniform, of either sign.
        most: The largest.
        noise: The law of $E_j$: `"gaussian"`, `"laplace"`, `"exponential"`, `"uniform"` or
            `"gumbel"`, centred.
        deviations: The range that the standard deviation of each $E_j$ is drawn from,
            uniformly; equal ends make all equal.
        seed: Draws what the tasks share.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> family = LinearFamily(5, 4, "order-consistent")
        >>> tasks = family.sample(100, 2, generator=torch.Generator().manual_seed(0))
        >>> place = family.order.argsort()
        >>> start, end = tasks.graphs.any(dim=0).nonzero(as_tuple=True)
        >>> bool((place[start] < place[end]).all())
        True
    """

    variables: int
    edges: float | None = None
    setting: str = "general"
    graph: str = "erdos-renyi"
    least: float = 0.5
    most: float = 2.0
    noise: str = "gaussian"
    deviations: tuple[float, float] = (1.0, 1.0)
    seed: int = 0

    def __post_init__(self) -> None:
        _check("setting", self.setting, SETTINGS)
        _check("graph", self.graph, GRAPHS)
        _check("noise", self.noise, NOISES)
        if self.variables < 2 or not 0 <= self.density <= 1:
            raise ValueError(
                "a family has at least 2 variables and at most every pair of them joined: got "
                f"{self.variables} variables and {self.edges} edges."
            )
        low, high = self.deviations
        if not 0 < self.least <= self.most or not 0 < low <= high:
            raise ValueError(
                "weights and deviations are ranges of positive numbers: got "
                f"{(self.least, self.most)} and {self.deviations}."
            )

    @property
    def pairs(self) -> int:
        """How many pairs of variables there are."""
        return self.variables * (self.variables - 1) // 2

    @property
    def density(self) -> float:
        """The probability that two variables are joined; two edges a variable by default."""
        edges = min(2 * self.variables, self.pairs / 2) if self.edges is None else self.edges
        return edges / self.pairs

    @property
    def order(self) -> Tensor:
        """The shared order, causes first, with shape (d,)."""
        return torch.randperm(self.variables, generator=self._shared())

    def sample(self, count: int, n: int, *, generator: torch.Generator) -> Tasks:
        """Draw tasks.

        Arguments:
            count: How many, T.
            n: Samples of each.
            generator: The source of the randomness, on the CPU.

        Returns:
            The tasks.
        """
        d = self.variables
        graphs = self._graphs(count, generator)
        weights = draw_weights(graphs, self.least, self.most, generator)
        low, high = self.deviations
        scale = low + (high - low) * torch.rand(count, 1, d, generator=generator)
        errors = scale * draw_noise(self.noise, (count, n, d), generator)
        return Tasks(solve_linear(errors, weights), weights, scale[:, 0])

    def _graphs(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw graphs, with shape (T, d, d), zeros and ones."""
        d = self.variables
        make = _scale_free if self.graph == "scale-free" else _erdos_renyi
        if self.setting == "heterogeneous":
            shared = self._shared()
            order = torch.randperm(d, generator=shared)
            above = make(1, d, self.density, shared).expand(count, d, d)
            orders = order.expand(count, d)
        else:
            above = make(count, d, self.density, generator)
            drawn = torch.rand(count, d, generator=generator).argsort(dim=1)
            orders = self.order.expand(count, d) if self.setting == "order-consistent" else drawn
        place = orders.argsort(dim=1)
        rows = above.gather(1, place[:, :, None].expand(count, d, d))
        return rows.gather(2, place[:, None, :].expand(count, d, d))

    def _shared(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


@final
@dataclasses.dataclass(frozen=True)
class AdditiveFamily:
    r"""A family whose causes act through bent functions, and add up.

    $X_j = \sum_i A_{ij} f_{ij}(X_i) + E_j$, each $f_{ij}$ a small random network of one
    hidden layer.

    References:
        Nonlinear causal discovery with additive noise models (Hoyer et al., 2008).

    Arguments:
        linear: Draws graphs, weights and noise.
        units: Hidden units of each function.

    Example:
        >>> family = AdditiveFamily(LinearFamily(5))
        >>> family.sample(3, 10, generator=torch.Generator().manual_seed(0)).data.shape
        torch.Size([3, 10, 5])
    """

    linear: LinearFamily
    units: int = 3

    def sample(self, count: int, n: int, *, generator: torch.Generator) -> Tasks:
        """Draw tasks; see `LinearFamily.sample`.

        Arguments:
            count: How many, T.
            n: Samples of each.
            generator: The source of the randomness, on the CPU.

        Returns:
            The tasks; a weight is what multiplies the function of its edge.
        """
        drawn = self.linear.sample(count, n, generator=generator)
        d, weights = self.linear.variables, drawn.weights
        errors = drawn.data - drawn.data @ weights
        shape = self.units, count, d, d
        slope, shift, size = (torch.randn(shape, generator=generator) for _ in range(3))
        x = errors
        for _ in range(d):  # after as many rounds as the longest path nothing moves
            moved = torch.zeros_like(x)
            for a, b, c in zip(slope, shift, size, strict=True):
                bent = torch.tanh(a[:, None] * x[..., None] + 1.5 * b[:, None])
                moved = moved + (bent * (c * weights)[:, None]).sum(dim=2)
            x = moved + errors
        return Tasks(x, weights, drawn.deviations)


def draw_weights(graphs: Tensor, least: float, most: float, generator: torch.Generator) -> Tensor:
    """Draw weights of either sign, uniform in size, for the edges of graphs.

    Arguments:
        graphs: Zeros and ones, with shape (T, d, d).
        least: The smallest absolute weight.
        most: The largest.
        generator: The source of the randomness.

    Returns:
        The weights, with the shape of `graphs`, 0 where there is no edge.

    Example:
        >>> drawn = draw_weights(torch.ones(1, 2, 2), 0.5, 2.0, torch.Generator().manual_seed(0))
        >>> bool((drawn.abs() >= 0.5).all())
        True
    """
    size = torch.rand(graphs.shape, generator=generator)
    sign = torch.randint(2, graphs.shape, generator=generator) * 2 - 1
    return graphs * sign * (least + (most - least) * size)


def solve_linear(errors: Tensor, weights: Tensor) -> Tensor:
    """Let noise run through linear models, $X = E (I - A)^{-1}$.

    Arguments:
        errors: $E$, with shape (T, n, d).
        weights: $A$, acyclic, with shape (T, d, d).

    Returns:
        $X$, in the shape of `errors`.

    Example:
        >>> solve_linear(torch.ones(1, 1, 2), torch.tensor([[[0.0, 3.0], [0.0, 0.0]]])).tolist()
        [[[1.0, 4.0]]]
    """
    inverse = torch.linalg.inv((torch.eye(weights.shape[-1]) - weights).double())
    return (errors.double() @ inverse).float()


def draw_noise(law: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw noise with mean 0 and variance 1.

    Arguments:
        law: One of the laws of a `LinearFamily`.
        shape: The shape of the noise.
        generator: The source of the randomness.

    Returns:
        The noise, with shape `shape`.

    Example:
        >>> draw_noise("laplace", (2, 3), torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3])
    """
    if law == "gaussian":
        return torch.randn(shape, generator=generator)
    u = torch.rand(shape, generator=generator).clamp(1e-6, 1 - 1e-6)
    if law == "uniform":
        return (u - 0.5) * math.sqrt(12)
    if law == "exponential":
        return -u.log() - 1
    if law == "laplace":
        away = u - 0.5
        return -away.sign() * torch.log1p(-2 * away.abs()) / math.sqrt(2)
    euler = 0.5772156649015329
    return (-(-u.log()).log() - euler) * math.sqrt(6) / math.pi


def _erdos_renyi(count: int, d: int, density: float, generator: torch.Generator) -> Tensor:
    """Join each pair independently; the upper triangle."""
    return (torch.rand(count, d, d, generator=generator) < density).float().triu(diagonal=1)


def _scale_free(count: int, d: int, density: float, generator: torch.Generator) -> Tensor:
    """Let each variable choose its parents among the earlier ones, the popular ones rather."""
    expected = density * (d - 1) / 2  # edges a variable
    graph = torch.zeros(count, d, d)
    for j in range(1, d):
        popularity = 1 + graph[:, :j].sum(dim=2)
        chance = expected * popularity * j / (popularity.sum(1, keepdim=True) * (d - 1) / 2)
        graph[:, :j, j] = (torch.rand(count, j, generator=generator) < chance).float()
    return graph


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"`{name}` is one of {list(known)}: got {value!r}.")
