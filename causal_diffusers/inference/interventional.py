r"""How are draws from $P(Y \mid do(X = x), Z = z)$ made?

Without $Z$, by sampling the ancestors of $Y$ in the mutilated graph. With $Z$, by
likelihood weighting: a pool of units samples the ancestors of $Z$ with $Z$ clamped to
$z$, each unit weighs

$$ w = \prod_{Z_i \in Z} p\big(z_i \mid pa(Z_i), u_{c \ni Z_i}\big) , $$

and units drawn in proportion to $w$ sample what remains. The effective size of the pool
is $(\sum w)^2 / \sum w^2$. An image that is no cause of $Z$ is thus never made for a
unit that is not kept.

References:
    Causality, 2nd ed. (Pearl, 2009), Sec. 3.2.
    Weighing and integrating evidence for stochastic simulation in Bayesian networks
    (Fung & Chang, 1990).
    Monte Carlo strategies in scientific computing (Liu, 2001), Sec. 2.5.3.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from causal_diffusers.mechanisms import CategoricalMechanism, SamplingOptions
from causal_diffusers.scm import OnVariableEnd, StructuralCausalModel, Units
from causal_diffusers.seeding import draw_seed, spawn
from causal_diffusers.variables import Image

__all__ = ["Sample", "sample"]

POOL_PER_SAMPLE, SMALLEST_POOL, THIN_POOL = 20, 1000, 0.05


@dataclasses.dataclass(frozen=True)
class Sample:
    r"""Draws that answer a query.

    Arguments:
        units: The draws, with the values of every variable that was needed.
        probabilities: For each categorical outcome, $p(y \mid pa, u)$ of every draw, with
            shape (N, K); the mean over the draws is the answer with less noise than the
            drawn values have. Causes of $Z$ are left out: given their parents alone, they
            do not know $z$.
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
        given: Encoded values of the categorical $Z$: one, or N of them.
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
        ValueError: If $Z$ holds an image or has probability zero, or a variable that is
            needed has no mechanism.

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
    if num_samples < 1:
        raise ValueError(f"`num_samples` must be at least 1: got {num_samples}.")
    _check_evidence(scm, do or {}, given or {})
    do = scm.clamp(do or {}, num_samples, "do")
    given = scm.clamp(given or {}, num_samples, "given")
    wanted = scm.needed(outcomes, do)
    units, size = Units(draw_seed(generator), num_samples, {**do, **given}), None
    if given:
        units, size = _resample(_draw_pool(scm, units, do, given, options, pool_size), given)
    causes = set(units.values).difference(do, given)
    if on_variable_end is not None:
        for name in sorted(causes):
            on_variable_end(name, units.values[name])
    units = scm.extend(units, wanted, options, on_variable_end)
    asked = (wanted if outcomes is None else wanted.intersection(outcomes)).difference(given)
    return Sample(units, _probabilities(scm, units, asked - causes), size)


@dataclasses.dataclass(frozen=True)
class _Pool:
    """Weighed units, in one block for each distinct query."""

    units: Units
    log_weights: Tensor
    sizes: Tensor  # of the blocks, (Q,)
    asked_by: Tensor  # the block that answers each row, (N,)


def _draw_pool(
    scm: StructuralCausalModel,
    rows: Units,
    do: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    options: SamplingOptions,
    pool_size: int | None,
) -> _Pool:
    first, asked_by = _distinct(rows)
    share = torch.bincount(asked_by)
    if pool_size is None:
        sizes = (POOL_PER_SAMPLE * share).clamp(min=SMALLEST_POOL)
    else:
        sizes = (pool_size * share // rows.num_samples).clamp(min=1)
    units = rows.take(first.repeat_interleave(sizes))
    units = scm.extend(units, scm.needed(given, do), options)
    units = scm.with_confounders(units, given)
    log_weights = sum((scm.log_prob(z, units).cpu().double() for z in given), torch.zeros(1))
    return _Pool(units, log_weights, sizes, asked_by)


def _distinct(rows: Units) -> tuple[Tensor, Tensor]:
    """Find a row that asks each distinct query, and which query each row asks."""
    num = rows.num_samples
    varying = [v for v in rows.values.values() if v.stride(0) or num == 1]
    columns = [v.reshape(num, -1).cpu().double() for v in varying] or [torch.zeros(num, 1)]
    distinct, asked_by = torch.cat(columns, dim=1).unique(dim=0, return_inverse=True)
    first = torch.full((len(distinct),), num)
    return first.scatter_reduce(0, asked_by, torch.arange(num), "amin"), asked_by


def _resample(pool: _Pool, given: Collection[str]) -> tuple[Units, float]:
    """Keep units of each block in proportion to their weight."""
    chosen = torch.empty_like(pool.asked_by)
    generator = spawn(pool.units.seed, "resample", *sorted(given))
    start, effective = 0, []
    for query, block in enumerate(pool.log_weights.split(pool.sizes.tolist())):
        weights = _normalise(block, given)
        members = (pool.asked_by == query).nonzero().squeeze(1)
        chosen[members] = start + _systematic(weights, len(members), generator)
        effective.append(float(1 / weights.square().sum()))
        start += len(block)
    _check_support(effective, pool.sizes.tolist(), given)
    return pool.units.take(chosen), min(effective)


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


def _check_support(effective: list[float], sizes: list[int], given: Collection[str]) -> None:
    """Warn of the block that rests on the smallest part of its pool, if that is thin."""
    size, pool = min(zip(effective, sizes, strict=True), key=lambda pair: pair[0] / pair[1])
    if size < THIN_POOL * pool:
        warnings.warn(
            f"`given` leaves about {size:.0f} effective draws of a pool of {pool}: few units "
            f"have these values of {', '.join(sorted(given))}, so the samples repeat each "
            "other. Pass a larger `pool_size`, condition on less, or ask for `do=`.",
            stacklevel=2,
        )


def _probabilities(
    scm: StructuralCausalModel, units: Units, names: Collection[str]
) -> dict[str, Tensor]:
    result = {}
    for name in scm.graph.topological_order():
        mechanism = scm.mechanism(name) if name in names else None
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
                f'`given` must name categorical variables: got the image "{name}". No two '
                "sampled images agree with a given one, so there is nothing to weigh. Condition "
                f'on a cause or an effect of "{name}", or intervene: `do={{"{name}": image}}`.'
            )
