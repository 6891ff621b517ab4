r"""Match a district by maximum likelihood.

The districts of a graph factorise its likelihood, so each is trained on its own. A
district $D$ maximises the logarithm of its c-factor,

$$ \log Q[D](v) = \log \int p(u) \prod_{V \in D} p(v \mid pa(V), u_V) \, du
   \approx \log \frac1M \sum_{m=1}^M \prod_{V \in D} p(v \mid pa(V), u_V^{(m)}) , $$

with the logarithm outside the mean: the mean of the logarithms would be maximised by
mechanisms that ignore $u$. Finite confounders are summed exactly, with learned weights.
Gaussian ones use one scrambled Sobol set for the whole batch, scrambled anew at every
step, for a fixed set would be overfitted. Where the district and its parents are all
categorical the rows matter only through their counts, and every step sees all of them.
A factor is computed once for the distinct rows of what it sees, its own parents. If there
are too many distinct rows for that, for a step has up to as many probabilities as rows
times M, it sees rows drawn at random instead: its gradient is then that of
all rows in expectation, and no longer exactly.

In a row where a variable was set by hand its factor is 1: see `intervened`.

A confounded image enters by its code $r = \phi(\text{image})$ (`mechanisms/representation`),
which is read once from every row: what is matched here is $p(r \mid pa, u)$.

References:
    A general identification condition for causal effects (Tian & Pearl, 2002), Sec. 3.
    Importance weighted autoencoders (Burda, Grosse & Salakhutdinov, 2016), Sec. 3.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import TypeGuard

import torch
from torch import Tensor

from causal_diffusers.mechanisms import (
    ConfounderPrior,
    DiffusionMechanism,
    LikelihoodMechanism,
    Mechanism,
)
from causal_diffusers.mechanisms.representation import code_of
from causal_diffusers.training.config import Descent
from causal_diffusers.training.data import Rows
from causal_diffusers.training.derived import derive
from causal_diffusers.training.distinct import distinct_rows
from causal_diffusers.training.intervened import mask_of
from causal_diffusers.training.objective import Objective
from causal_diffusers.variables import Categorical, Confounder, Continuous

__all__ = ["LikelihoodObjective", "confounder_grid"]

_MOST_TERMS = 2**17  # probabilities a step: 0.15 s and 0.3 GB on one core, ten labels each
_MOST_STATES = 2**20  # combinations of finite confounders
_FEWEST_ROWS = 64  # fewer would drown the gradient in noise
_FLOW_TERMS, _FLOW_ROWS = 2**14, 512  # densities a step, of one number each, and rows at most


class LikelihoodObjective(Objective):
    r"""Minus $\log Q[D]$ of one district.

    Arguments:
        mechanisms: The mechanisms of the district, by variable.
        confounders: The confounders that they listen to, by name.
        priors: The priors of the finite ones, by name.
        draws: The size M of the Sobol set, if a confounder is Gaussian.

    Raises:
        TypeError: If a mechanism has no likelihood.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> two, u = Categorical("ab"), {"U": Confounder(states=2)}
        >>> f, g = (CategoricalMechanism().bind(two, {}, u) for _ in "XY")
        >>> district = LikelihoodObjective({"X": f, "Y": g}, u, {"U": ConfounderPrior(states=2)})
        >>> cells = {"X": torch.tensor([0, 0, 1, 1]), "Y": torch.tensor([0, 1, 0, 1])}
        >>> probabilities = (-district(cells, seed=0)).exp()
        >>> probabilities.shape, bool(probabilities.sum().isclose(torch.tensor(1.0)))
        (torch.Size([4]), True)
    """

    name = "likelihood"

    def __init__(
        self,
        mechanisms: Mapping[str, Mechanism],
        confounders: Mapping[str, Confounder],
        priors: Mapping[str, ConfounderPrior],
        draws: int = 256,
    ) -> None:
        images = {name: m for name, m in mechanisms.items() if _is_coded(m)}
        coded = {code_of(n) if n in images else n: _density(m) for n, m in mechanisms.items()}
        known = {name: _known(name, m, mechanisms) for name, m in coded.items()}
        parents = {p: v for m in known.values() for p, v in m.parents.items()}
        super().__init__({**known, **priors}, tuple(sorted({*known, *parents})))
        self.mechanisms, self.priors, self.images = known, dict(priors), images
        self.variables = tuple(mechanisms)
        self.confounders, self.draws = dict(confounders), draws
        seen = [*parents.values(), *(m.variable for m in known.values())]
        self._is_discrete = all(isinstance(v, Categorical) for v in seen)
        self._has_numbers = any(isinstance(v, Continuous) for v in seen)

    @property
    def defaults(self) -> Descent:
        """All rows at once if they are counts (up to `most_rows`), else batches.

        A density costs more than a probability: with more draws of the confounders there
        are fewer rows.
        """
        if self._is_discrete:
            return Descent(steps=800, batch_size=None, learning_rate=1e-2)
        if self._has_numbers:
            rows = min(_FLOW_ROWS, max(_FEWEST_ROWS, _FLOW_TERMS // self._grid_size))
            return Descent(1000, rows, learning_rate=5e-3, weight_decay=1e-2, ema_decay=0.99)
        return Descent(
            steps=2000, batch_size=512, learning_rate=2e-3, weight_decay=1e-2, ema_decay=0.99
        )

    @property
    def most_rows(self) -> int:
        r"""The most distinct rows for which a step computes every $p(v \mid pa, u^{(m)})$."""
        terms = sum(self._grid_size if m.confounders else 1 for m in self.mechanisms.values())
        return max(_FEWEST_ROWS, _MOST_TERMS // terms)

    @property
    def _grid_size(self) -> int:
        """How many values of the confounders each row meets."""
        states = math.prod(u.states or 1 for u in self.confounders.values())
        is_finite = all(u.states for u in self.confounders.values())
        return states * (1 if is_finite else self.draws)

    def select(self, rows: Rows) -> Rows:
        """Keep the rows in which not all variables were set; see `Objective.select`."""
        return rows.free(self.variables)

    def derive(self, rows: Rows) -> Rows:
        """Read the codes of the confounded images; see `Objective.derive`."""
        for name, mechanism in self.images.items():
            code = code_of(name)
            rows = derive(rows, code, mechanism.head.variable, name, mechanism.reader.read)
        return rows

    def forward(self, batch: Mapping[str, Tensor], seed: int) -> Tensor:
        r"""Compute $-\log Q[D]$ of each row; see `Objective.forward`."""
        draws, log_weights = self._lay_out(seed)
        joint = log_weights[None]
        for _, term in self._terms(batch, draws):
            joint = joint + term
        return -joint.logsumexp(dim=1)

    @torch.no_grad()
    def culprits(self, batch: Mapping[str, Tensor], seed: int) -> tuple[str, ...]:
        """Name the variables that are impossible by themselves; see `Objective.culprits`."""
        draws, _ = self._lay_out(seed)
        terms = self._terms(batch, draws)
        guilty = [name for name, term in terms if not torch.isfinite(term.logsumexp(dim=1)).all()]
        return tuple(guilty or self.mechanisms)

    def _lay_out(self, seed: int) -> tuple[dict[str, Tensor], Tensor]:
        """Give the values of the confounders, and the logarithm of their weights."""
        device = next(self.parameters()).device
        draws, log_weights = confounder_grid(self.confounders, self.draws, seed, device)
        for name, prior in self.priors.items():
            log_weights = log_weights + prior.log_weights()[draws[name]]
        return draws, log_weights

    def _terms(
        self, batch: Mapping[str, Tensor], draws: Mapping[str, Tensor]
    ) -> Iterator[tuple[str, Tensor]]:
        r"""Give $\log p(v \mid pa, u)$ for each variable, with shape (B, M) or (B, 1)."""
        for name, mechanism in self.mechanisms.items():
            own = {u: draws[u] for u in mechanism.confounders}
            seen, place = self._distinct({n: batch[n] for n in (name, *mechanism.parents)})
            parents = {p: seen[p] for p in mechanism.parents}
            term = mechanism.log_prob(seen[name], parents, own, outer=bool(own))
            term = term if own else term[:, None]
            term = term if place is None else term.index_select(0, place)
            is_set = batch.get(mask_of(name))
            yield name, term if is_set is None else term.masked_fill(is_set[:, None] == 1, 0.0)

    def _distinct(self, seen: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], Tensor | None]:
        """Keep the distinct rows of what one factor sees, and say which one each row was.

        A factor sees few of the district's variables, so that it has few distinct rows.
        """
        if not self._is_discrete:
            return seen, None
        where, which = distinct_rows(list(seen.values()))
        return {name: labels[where] for name, labels in seen.items()}, which


def confounder_grid(
    confounders: Mapping[str, Confounder], draws: int, seed: int, device: torch.device
) -> tuple[dict[str, Tensor], Tensor]:
    r"""Lay out the values of the confounders over which a likelihood is summed.

    Every combination of the finite states meets every point of one scrambled Sobol set,
    mapped to $N(0, I)$.

    Arguments:
        confounders: What they look like, by name.
        draws: The size of the Sobol set, if a confounder is Gaussian.
        seed: The scramble.
        device: Where the result lives.

    Returns:
        Values by name, with shapes (M, dim) or (M,), and log-weights with shape (M,)
        that leave out the priors of the finite confounders.

    Raises:
        ValueError: If the finite ones have too many combinations.

    Example:
        >>> u = {"U": Confounder(states=3), "V": Confounder(dim=2)}
        >>> values, log_weights = confounder_grid(u, 8, 0, torch.device("cpu"))
        >>> values["U"].shape, values["V"].shape, log_weights.shape
        (torch.Size([24]), torch.Size([24, 2]), torch.Size([24]))
    """
    finite = {name: u.states for name, u in confounders.items() if u.states is not None}
    if math.prod(finite.values()) > _MOST_STATES:
        raise ValueError(
            f"The states of {', '.join(finite)} are summed over together: got "
            f"{math.prod(finite.values()):,} combinations, more than {_MOST_STATES:,}. Give "
            "their `Confounder` fewer states, or a Gaussian `dim`."
        )
    gaussian = {name: u.dim for name, u in confounders.items() if u.states is None}
    points = _sobol_normal(sum(gaussian.values()), draws, seed) if gaussian else torch.zeros(1, 0)
    states = torch.tensor(list(itertools.product(*map(range, finite.values()))))
    size = len(states) * len(points)
    values = dict(zip(finite, states.repeat_interleave(len(points), 0).unbind(1), strict=True))
    chunks = points.repeat(len(states), 1).split(list(gaussian.values()), dim=1)
    values.update(zip(gaussian, chunks, strict=bool(gaussian)))
    log_weights = torch.full((size,), -torch.tensor(float(len(points))).log().item())
    return {name: v.to(device) for name, v in values.items()}, log_weights.to(device)


def _sobol_normal(dim: int, draws: int, seed: int) -> Tensor:
    """Draw a scrambled Sobol set and map it to the standard normal, (draws, dim)."""
    engine = torch.quasirandom.SobolEngine(dim, scramble=True, seed=seed)
    uniform = engine.draw(draws, dtype=torch.float64).clamp(1e-6, 1 - 1e-6)
    return torch.special.ndtri(uniform).float()


def _is_coded(mechanism: Mechanism) -> TypeGuard[DiffusionMechanism]:
    return isinstance(mechanism, DiffusionMechanism) and bool(mechanism.config["confounders"])


def _density(mechanism: Mechanism) -> Mechanism:
    """Give what has a likelihood: of a confounded image, the law of its code."""
    return mechanism.head if _is_coded(mechanism) else mechanism


def _known(
    name: str, mechanism: Mechanism, district: Mapping[str, Mechanism]
) -> LikelihoodMechanism:
    """Refuse a mechanism whose probabilities are not known."""
    if isinstance(mechanism, LikelihoodMechanism):
        return mechanism
    raise TypeError(
        f"The district {{{', '.join(district)}}} is matched by likelihood: got "
        f'{type(mechanism).__name__} for "{name}", which has none. Let a low-dimensional variable '
        f'with a likelihood carry the confounding to "{name}".'
    )
