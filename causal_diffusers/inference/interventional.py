r"""How are draws from $P(Y \mid do(X = x), Z = z)$ made?

Without $Z$, by sampling the ancestors of $Y$ in the mutilated graph. With $Z$, by
likelihood weighting: a pool of units samples the ancestors of $Z$ with $Z$ clamped to
$z$, each unit weighs

$$ w = \prod_{Z_i \in Z} p\big(z_i \mid pa(Z_i), u_{c \ni Z_i}\big) , $$

and units drawn in proportion to $w$ sample what remains. The effective size of the pool
is $(\sum w)^2 / \sum w^2$. An image that is no cause of $Z$ is thus never made for a
unit that is not kept. The causes of $Z$ are also averaged over the whole pool,

$$ P(v = k \mid do(x), z) \approx \sum_i w_i \, 1[v_i = k] \Big/ \sum_i w_i . $$

Of a continuous $Z_i$, $p$ is the density. Rows with different $x$ or $z$ have pools of
their own, one after the other.

References:
    Causality, 2nd ed. (Pearl, 2009), Sec. 3.2.
    Weighing and integrating evidence for stochastic simulation in Bayesian networks
    (Fung & Chang, 1990).
    Monte Carlo strategies in scientific computing (Liu, 2001), Sec. 2.5.3.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from causal_diffusers.mechanisms import CategoricalMechanism, SamplingOptions
from causal_diffusers.mechanisms.base import check_count
from causal_diffusers.scm import OnVariableEnd, StructuralCausalModel, Units
from causal_diffusers.seeding import draw_seed, spawn
from causal_diffusers.variables import Categorical, Image

__all__ = ["Sample", "sample"]

POOL_PER_SAMPLE, SMALLEST_POOL, THIN_POOL = 20, 1000, 0.05


@dataclasses.dataclass(frozen=True)
class Sample:
    r"""Draws that answer a query.

    Arguments:
        units: The draws, with the values of every variable that was needed.
        probabilities: For each categorical outcome, $p(y \mid pa, u)$ of every draw, with
            shape (N, K); the mean over the draws is the answer with less noise than the
            drawn values have. Given their parents alone, causes of $Z$ do not know $z$:
            each row of theirs is the share $\sum_i w_i \, 1[v_i = k]$ of the pool, the
            answer to the query of that row.
        effective_sample_size: How many draws of the pool the answer rests on, for the
            least supported of the rows; None without $Z$.

    Example:
        >>> Sample(Units(seed=0, num_samples=1), {}, None).probabilities
        {}
    """

    units: Units
    probabilities: dict[str, Tensor]
    effective_sample_size: float | None


@torch.no_grad()
def sample(
    scm: StructuralCausalModel,
    num_samples: int,
    *,
    outcomes: Collection[str] | None = None,
    do: Mapping[str, Tensor] | None = None,
    given: Mapping[str, Tensor] | None = None,
    generator: torch.Generator | None = None,
    options: SamplingOptions = SamplingOptions(),  # noqa: B008 (frozen)
    pool_size: int | None = None,
    on_variable_end: OnVariableEnd | None = None,
) -> Sample:
    r"""Draw from $P(Y \mid do(X = x), Z = z)$.

    Without `given` the draws are those of `StructuralCausalModel.sample`. Where `do` or
    `given` hold a value for each sample, every row answers its own query.

    Arguments:
        scm: The model.
        num_samples: N.
        outcomes: $Y$; only what it depends on is sampled. None is every variable.
        do: Encoded values of $X$: one, or N of them.
        given: Encoded values of $Z$, categorical or continuous: one, or N of them.
        generator: The source of randomness, advanced by one step.
        options: What the mechanisms that sample in steps are asked.
        pool_size: How many units are weighed, shared among the rows; by default 20 for
            each sample and at least 1,000 for each query.
        on_variable_end: Called with the name and the values of each sampled variable.

    Returns:
        The draws.

    Raises:
        GraphError: If a name is not a variable of the graph.
        ShapeError: If a value has another shape.
        ValueError: If $Z$ holds an image or has probability zero, a number is no positive
            integer, or a variable that is needed has no mechanism.

    Example:
        >>> from causal_diffusers.graphs import ADMG
        >>> from causal_diffusers.variables import Categorical
        >>> scm = StructuralCausalModel(
        ...     ADMG.parse("X -> Y"),
        ...     variables={"X": Categorical([0, 1]), "Y": Categorical([0, 1])},
        ...     mechanisms={"X": CategoricalMechanism(), "Y": CategoricalMechanism()},
        ... )
        >>> answer = sample(scm, 5, given={"Y": torch.tensor(1)})
        >>> answer.units.values["X"].shape, answer.units.values["Y"].tolist()
        (torch.Size([5]), [1, 1, 1, 1, 1])
    """
    check_count("num_samples", num_samples)
    _check_evidence(scm, do or {}, given or {})
    do = scm.clamp(do or {}, num_samples, "do")
    given = scm.clamp(given or {}, num_samples, "given")
    wanted = scm.needed(outcomes, do)
    units = Units(draw_seed(generator), num_samples, {**do, **given})
    causes = scm.needed(given, do).difference(given)
    marginals, size = {}, None
    if given:
        weighing = _Weighing(scm, causes, given, options)
        units, marginals, size = _condition(weighing, units, pool_size)
    if on_variable_end is not None:
        for name in sorted(causes):
            on_variable_end(name, units.values[name])
    units = scm.extend(units, wanted, options, on_variable_end)
    asked = (wanted if outcomes is None else wanted.intersection(outcomes)).difference(given)
    averaged = {**marginals, **_probabilities(scm, units, asked - causes)}
    order = [name for name in scm.graph.topological_order() if name in asked and name in averaged]
    return Sample(units, {name: averaged[name] for name in order}, size)


@dataclasses.dataclass(frozen=True)
class _Block:
    """The rows that ask one query: the units they keep of a pool, and what the pool says."""

    units: Units
    marginals: dict[str, Tensor]  # of the categorical causes of Z, each with shape (K,)
    effective: float
    size: int  # of the pool


@dataclasses.dataclass(frozen=True)
class _Weighing:
    """What the pools of all distinct queries share."""

    scm: StructuralCausalModel
    causes: frozenset[str]  # what must be sampled to weigh Z
    given: Collection[str]
    options: SamplingOptions

    def draw(self, unit: Units, size: int, num_kept: int) -> _Block:
        """Weigh a pool of copies of a unit, and keep some in proportion to their weight."""
        hidden = any(self.scm.graph.confounders_of(name) for name in self.given)
        copies = size if self.causes or hidden else 1  # else all would weigh the same
        pool = unit.take(torch.zeros(copies, dtype=torch.int64))
        pool = self.scm.extend(pool, self.causes, self.options)
        pool = self.scm.with_confounders(pool, self.given)
        evidence = [self.scm.log_prob(z, pool).cpu().double() for z in sorted(self.given)]
        weights = _normalise(torch.stack(evidence).sum(dim=0), self.given)
        chosen = _systematic(weights, num_kept, spawn(pool.seed, "resample"))
        effective = size / (copies * float(weights.square().sum()))
        return _Block(pool.take(chosen), self._marginals(pool, weights), effective, size)

    def _marginals(self, pool: Units, weights: Tensor) -> dict[str, Tensor]:
        r"""Compute $\sum_i w_i \, 1[v_i = k]$ for each categorical cause."""
        marginals = {}
        for name in self.causes:
            variable = self.scm.variables[name]
            if isinstance(variable, Categorical):
                codes = pool.values[name].cpu()
                total = torch.zeros(len(variable.labels), dtype=weights.dtype)
                marginals[name] = total.index_add(0, codes, weights).float()
        return marginals


def _condition(
    weighing: _Weighing, rows: Units, pool_size: int | None
) -> tuple[Units, dict[str, Tensor], float]:
    """Fill in the causes of Z: one distinct query after the other, so one pool at a time."""
    first, asked_by = _distinct(rows)
    share = torch.bincount(asked_by)
    blocks = []
    for query, size in enumerate(_pool_sizes(share, pool_size)):
        unit = rows.take(first[query : query + 1])
        unit = dataclasses.replace(unit, seed=draw_seed(spawn(rows.seed, "pool", query)))
        blocks.append(weighing.draw(unit, size, int(share[query])))
    _check_support(blocks, weighing.given)
    place = asked_by.argsort(stable=True).argsort()  # of each row, in the blocks end to end
    kept = [block.units for block in blocks]
    units = dataclasses.replace(
        rows,
        values={**rows.values, **_join([u.values for u in kept], weighing.causes, place)},
        confounders=_join([u.confounders for u in kept], kept[0].confounders, place),
    )
    names = blocks[0].marginals
    marginals = {n: torch.stack([b.marginals[n] for b in blocks])[asked_by] for n in names}
    return units, marginals, min(block.effective for block in blocks)


def _join(
    parts: Sequence[Mapping[str, Tensor]], names: Collection[str], place: Tensor
) -> dict[str, Tensor]:
    return {n: torch.cat([part[n] for part in parts])[place.to(parts[0][n].device)] for n in names}


def _pool_sizes(share: Tensor, pool_size: int | None) -> list[int]:
    """Share the pool among the distinct queries, of which row i is asked `share[i]` times."""
    if pool_size is None:
        return (POOL_PER_SAMPLE * share).clamp(min=SMALLEST_POOL).tolist()
    check_count("pool_size", pool_size)
    return (pool_size * share // share.sum()).clamp(min=1).tolist()


def _distinct(rows: Units) -> tuple[Tensor, Tensor]:
    """Find a row that asks each distinct query, and which query each row asks."""
    num = rows.num_samples
    varying = [v for v in rows.values.values() if v.stride(0) or num == 1]
    columns = [v.reshape(num, -1).cpu().double() for v in varying] or [torch.zeros(num, 1)]
    distinct, asked_by = torch.cat(columns, dim=1).unique(dim=0, return_inverse=True)
    first = torch.full((len(distinct),), num)
    return first.scatter_reduce(0, asked_by, torch.arange(num), "amin"), asked_by


def _normalise(log_weights: Tensor, given: Collection[str]) -> Tensor:
    if not torch.isfinite(log_weights.max()):
        raise ValueError(
            f"`given` must be possible: no unit of the pool can have these values of "
            f"{', '.join(sorted(given))}. Ask for values that occur, or for `do=` instead."
        )
    return log_weights.softmax(dim=0)


def _systematic(weights: Tensor, num_samples: int, generator: torch.Generator) -> Tensor:
    """Draw indices in proportion to `weights`, by systematic resampling, in random order."""
    offset = torch.rand(1, generator=generator, dtype=torch.float64)
    points = (torch.arange(num_samples) + offset) / num_samples
    edges = weights.cumsum(dim=0)
    index = torch.searchsorted(edges / edges[-1], points, right=True)
    return index[torch.randperm(num_samples, generator=generator)]


def _check_support(blocks: Sequence[_Block], given: Collection[str]) -> None:
    """Warn of the block that rests on the smallest part of its pool, if that is thin."""
    thin = min(blocks, key=lambda block: block.effective / block.size)
    if thin.effective < THIN_POOL * thin.size:
        warnings.warn(
            f"`given` leaves about {thin.effective:.0f} effective draws of a pool of "
            f"{thin.size}: few units "
            f"have these values of {', '.join(sorted(given))}, so the samples repeat each "
            "other. Pass a larger `pool_size`, condition on less, or ask for `do=`.",
            stacklevel=2,
        )


def _probabilities(
    scm: StructuralCausalModel, units: Units, names: Collection[str]
) -> dict[str, Tensor]:
    result = {}
    for name in names:
        mechanism = scm.mechanism(name)
        if isinstance(mechanism, CategoricalMechanism):
            parents, confounders = scm.inputs(name, units)
            result[name] = mechanism.probabilities(
                parents, confounders, num_samples=units.num_samples
            )
    return result


def _check_evidence(
    scm: StructuralCausalModel, do: Collection[str], given: Collection[str]
) -> None:
    for name in given:
        if name in do:
            raise ValueError(f'`do` and `given` must differ: got "{name}" in both.')
        if isinstance(scm.variables[name], Image):
            raise ValueError(  # noqa: TRY004 (a wrong name, not a wrong type)
                f'`given` must name categorical or continuous variables: got the image "{name}". '
                "No two sampled images agree with a given one, so there is nothing to weigh. "
                f'Condition on a cause or an effect of "{name}", or intervene: '
                f'`do={{"{name}": image}}`.'
            )
