r"""Does one variable of a trained pipeline fit rows that it has not seen, and how is that found?

Every mechanism is compared with the rows given the past (`past`), by what can be compared:

- **a label**: what the model expects in row $i$, $p_i(k)$, with what is found, by the values
  $g$ of the labels in the past,

  $$ \mathrm{TV} = \frac{1}{2N} \sum_g \sum_k \Big| \sum_{i \in g} 1[v_i = k] - p_i(k) \Big| . $$

  Its floor and its p-value come from values drawn from the $p_i$ themselves; beyond what
  these reach, from an exponential tail, which is heavier than the true one. Where something
  that cannot be counted is in the past, a network that is cross-fitted on the rows predicts
  $v_i$ from the whole past too; a model that it beats has missed something;
- **a number**: its rank among draws of the model given the past, which is uniform if the
  model is true; and whether a network can tell it from such a draw beside the same past;
- **an image**: what a reader sees in it (`shown`); the code of a confounded one is a label;
- what has a GAN in its past that shares its confounder has no tractable conditional: the
  whole module is sampled, its parents clamped to the rows, and a network is asked as above.

A model trained on M rows has errors of the size of the sampling error of M rows, so a floor
for N rows is widened by $\sqrt{1 + N / M}$.

References:
    Revisiting classifier two-sample tests (Lopez-Paz & Oquab, 2017).
    Validating Bayesian inference algorithms with simulation-based calibration (Talts et
    al., 2018).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from causal_diffusers.graphs.notation import write_set
from causal_diffusers.metrics import SamplingFloor
from causal_diffusers.metrics.pairs import paired_choice
from causal_diffusers.metrics.propensity import coarse_features, propensities
from causal_diffusers.metrics.ranks import kolmogorov_distance, kolmogorov_tail, uniform_ranks
from causal_diffusers.scm import Units
from causal_diffusers.seeding import spawn
from causal_diffusers.training.config import TrainingConfig
from causal_diffusers.training.distinct import distinct_rows
from causal_diffusers.training.independence import RepresentationReport
from causal_diffusers.training.intervened import mask_of
from causal_diffusers.training.past import Past
from causal_diffusers.variables import Categorical, Image, Variable

if TYPE_CHECKING:
    from causal_diffusers.pipeline import CausalPipeline

__all__ = ["LEVEL", "Finding", "Judge", "one_sided", "said", "tail_probability"]

LEVEL = 0.01
_LARGE_TV, _LARGE_GAIN, _LARGE_RANK, _LARGE_CHOICE = 0.02, 0.02, 0.05, 0.05
_REPEATS, _AT_ONCE, _RANKED, _TAIL = 2000, 200, 49, 0.05
_LOOKING = TrainingConfig(steps=300, batch_size=256)  # networks that look for what codes lose


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was measured of a variable.

    Arguments:
        text: What was measured, in words.
        is_bad: Whether it is larger than chance allows, and large enough to matter.
        way_out: What to do about it, in words.

    Example:
        >>> Finding("total variation .010", is_bad=False).way_out
        ''
    """

    text: str
    is_bad: bool
    way_out: str = ""


@dataclasses.dataclass(frozen=True)
class Judge:
    """Compares the variables of a pipeline with rows.

    Arguments:
        pipe: The trained pipeline.
        values: Encoded columns, each with shape (N, *shape); also `do(X)`, where X was
            set by hand in some rows.
        wider: By how much the errors of training widen a floor.
        num_images: How many images are generated for each image variable.
        seed: Where the randomness comes from.

    Example:
        >>> from causal_diffusers import Categorical, CausalPipeline
        >>> pipe = CausalPipeline.from_graph("X", {"X": Categorical([0, 1])})
        >>> judge = Judge(pipe, {"X": torch.zeros(300, dtype=torch.int64)})
        >>> [finding.is_bad for finding in judge.findings(judge.past("X"))]  # an untrained one
        [True]
    """

    pipe: CausalPipeline
    values: Mapping[str, Tensor]
    wider: float = 1.0
    num_images: int = 200
    seed: int = 0

    @functools.cached_property
    def codes(self) -> RepresentationReport:
        """The report on the codes of all confounded images, of rows in which nothing was set."""
        rows = {n: v[self._untouched(self.values)] for n, v in self.values.items()}
        columns = {n: cast(Any, v).decode(rows[n]) for n, v in self.pipe.variables.items()}
        return RepresentationReport.of(
            self.pipe, columns, config=_LOOKING, num_samples=self.num_images
        )

    def past(self, name: str) -> Past:
        """Take the rows in which a variable was not set by hand, with its past.

        Arguments:
            name: The variable.

        Returns:
            Its past.
        """
        return Past(self.pipe, name, self.values, self.seed).free()

    def findings(self, past: Past) -> Iterator[Finding]:
        """Judge a label or a number.

        Arguments:
            past: The variable, with its past.

        Yields:
            What was found.
        """
        if not past.is_known:
            yield self._jointly(past)
        elif isinstance(self.pipe.variables[past.name], Categorical):
            yield self.frequencies(past, past.values[past.name])
            if any(not isinstance(self.pipe.variables[v], Categorical) for v in past.given):
                yield self._gain(past)
        else:
            yield from self._number(past)

    def corrected(self, p_value: float, tests: int = 2) -> float:
        """Correct a p-value for the number of variables, and of tests of each.

        Arguments:
            p_value: The p-value of one test.
            tests: How many tests there are of this variable.

        Returns:
            The p-value of the smallest of all.
        """
        return min(1.0, p_value * tests * len(self.pipe.graph.variables))

    def way_out(self, name: str) -> str:
        """Say what to do about a mechanism that fits badly.

        Arguments:
            name: The variable.

        Returns:
            The advice.
        """
        district = [v for v in self.pipe.graph.variables if v in self.pipe.graph.district(name)]
        more = " or its confounders more states" if len(district) > 1 else ""
        whom = f'"{name}"' if len(district) == 1 else write_set(district)
        return (
            f'Train {whom} for more steps, or give "{name}" a wider mechanism{more}; then look at '
            "the log."
        )

    def frequencies(self, past: Past, found: Tensor, what: str = "") -> Finding:
        """Compare labels with what the model expects given their past.

        Arguments:
            past: The variable, with its past.
            found: The labels, or the codes of a confounded image, integers with shape (N,).
            what: What they are, for the text.

        Returns:
            The total variation, beside its floor.
        """
        tv, null = _total_variation(past, found)
        floor = SamplingFloor.of(self.wider * null)
        p = self.corrected(tail_probability(tv, self.wider * null))
        text = f"total variation{what} {tv:.3f} (a perfect model: {floor}; {said(p)})"
        is_bad = p < LEVEL and tv - floor.mean > _LARGE_TV
        return Finding(text, is_bad, self.way_out(past.name))

    def sampled(self, past: Past, number: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Sample the module of a variable, its parents clamped to rows in which nothing was set.

        Arguments:
            past: The variable, with its past.
            number: How many rows at most.

        Returns:
            The numbers of the rows, with shape (M,), and the encoded values: the parents
            of the module, and what was sampled.
        """
        (planned,) = (p for p in self.pipe.plan() if past.name in p.variables)
        rows = self._untouched(past.values)[-number:]
        clamped = {p: past.values[p][rows] for p in sorted(planned.parents)}
        made = self.pipe.scm.extend(Units(self.seed, len(rows), clamped), planned.joint).values
        return rows, {name: value.cpu() for name, value in made.items()}

    def _untouched(self, values: Mapping[str, Tensor]) -> Tensor:
        """Give the numbers of the rows in which nothing was set by hand."""
        masks = [values[m] for m in map(mask_of, self.pipe.graph.variables) if m in values]
        is_set = torch.stack(masks).amax(dim=0) if masks else torch.zeros(len(_first(values)))
        return (is_set == 0).nonzero().squeeze(1)

    def _gain(self, past: Past) -> Finding:
        """Let a network that is cross-fitted on the rows predict a label from its whole past."""
        expected, found = past.probabilities(), past.values[past.name]
        told = propensities(_features(past), found, expected.shape[1], seed=self.seed)
        one, two = (p.gather(1, found[:, None]).clamp(min=1e-9).log() for p in (told, expected))
        gain = (one - two).double().squeeze(1)
        mean, error = gain.mean().item(), (gain.std() / math.sqrt(len(gain))).item()
        p = self.corrected(one_sided(mean / max(error, 1e-9)))
        text = f"a reference network gains {mean:.3f} nats a row (s.e. {error:.3f}; {said(p)})"
        return Finding(text, mean > _LARGE_GAIN and p < LEVEL, self.way_out(past.name))

    def _number(self, past: Past) -> Iterator[Finding]:
        """Rank numbers among draws given their past; let a network choose between the two."""
        real, drawn = past.values[past.name], past.draw(_RANKED)
        generator = spawn(self.seed, "ranks", past.name)
        distance = max(
            kolmogorov_distance(uniform_ranks(x, draws, generator=generator))
            for x, draws in zip(real.unbind(1), drawn.unbind(2), strict=True)
        )
        dim, size = real.shape[1], len(real) / self.wider**2
        p = self.corrected(dim * kolmogorov_tail(distance, size))
        upper = math.sqrt(-math.log((1 - 0.95 ** (1 / dim)) / 2) / 2 / size)
        text = (
            f"ranks among draws of the model are {distance:.3f} from uniform (a perfect model: "
            f"below {upper:.3f} in 95 runs of 100; {said(p)})"
        )
        yield Finding(text, p < LEVEL and distance > _LARGE_RANK, self.way_out(past.name))
        yield self._choice(past, _features(past), real, drawn[0])

    def _jointly(self, past: Past) -> Finding:
        """Compare a whole module, but for its images, with the rows: all that can be done."""
        rows, made = self.sampled(past, len(past))
        variables, real = self.pipe.variables, past.take(rows).values
        (planned,) = (p for p in self.pipe.plan() if past.name in p.variables)
        plain = [n for n in sorted(planned.joint) if not isinstance(variables[n], Image)]
        both = [_seen(variables[n], torch.cat([real[n], made[n]])) for n in plain]
        pair = torch.cat(both, dim=1).chunk(2)
        beside = [_seen(variables[p], real[p]) for p in sorted(planned.parents)]
        seen = torch.cat([torch.zeros(len(rows), 0), *beside], dim=1)
        return self._choice(past, seen, *pair)

    def _choice(self, past: Past, seen: Tensor, real: Tensor, made: Tensor) -> Finding:
        choice = paired_choice(seen, real, made, seed=self.seed)
        p = self.corrected(choice.p_value)
        text = (
            f"a network tells it from a draw of the model in {choice.share} of the rows (chance: "
            f".500; {said(p)})"
        )
        is_bad = p < LEVEL and choice.share.estimate > 0.5 + _LARGE_CHOICE
        return Finding(text, is_bad, self.way_out(past.name))


def one_sided(z: float) -> float:
    """Give the probability that a standard normal exceeds a number.

    Arguments:
        z: The number.

    Returns:
        The probability.

    Example:
        >>> one_sided(0.0)
        0.5
    """
    return 0.5 * math.erfc(z / math.sqrt(2))


def tail_probability(value: float, null: Tensor) -> float:
    r"""Give the probability that a draw of a null distribution reaches a value.

    The share of the draws that do, itself counted. If none does, $0.05 \, e^{-(t - q) / m}$,
    if that is smaller, with the 95 % point $q$ and the mean excess $m$ over it. For a density
    whose logarithm is concave, such as that of a distance, this is too large rather than too
    small.

    Arguments:
        value: The value.
        null: Draws with shape (R,).

    Returns:
        The probability.

    Example:
        >>> null = torch.randn(2000, generator=torch.Generator().manual_seed(0)).abs()
        >>> tail_probability(0.0, null), 1e-7 < tail_probability(5.0, null) < 1e-4
        (1.0, True)
    """
    reached = int((null >= value - 1e-12).sum())
    counted = (1 + reached) / (1 + len(null))
    if reached:
        return counted
    edge = null.quantile(1 - _TAIL).item()
    beyond = null[null >= edge] - edge
    fitted = math.exp(-(value - edge) / max(beyond.mean().item(), 1e-9))
    return min(counted, len(beyond) / len(null) * fitted)


def said(p_value: float) -> str:
    """Write a p-value, as corrected.

    Arguments:
        p_value: The p-value.

    Returns:
        The text.

    Example:
        >>> said(1e-9), said(0.5)
        ('corrected p < .001', 'corrected p = .500')
    """
    written = f"{p_value:.3f}".removeprefix("0")
    return f"corrected p {'< .001' if p_value < 0.001 else f'= {written}'}"


def _first(values: Mapping[str, Tensor]) -> Tensor:
    return next(iter(values.values()))


def _total_variation(past: Past, found: Tensor) -> tuple[float, Tensor]:
    """Compare frequencies with expectations, by the values of the labels in the past.

    The second result is what values drawn from the expectations score.
    """
    variables, expected = past.pipe.variables, past.probabilities()
    counted = [past.values[v] for v in past.given if isinstance(variables[v], Categorical)]
    counted += [*past.codes(), *(past.values[m] for m in past.masks)]
    group = distinct_rows([torch.zeros_like(found), *counted])[1]
    size, labels = int(group.max()) + 1, expected.shape[1]
    summed = torch.zeros(size, labels, dtype=torch.float64).index_add(0, group, expected)

    def distance(codes: Tensor) -> float:
        counts = torch.bincount(group * labels + codes, minlength=size * labels)
        return ((counts.view(size, labels) - summed).abs().sum() / (2 * len(codes))).item()

    generator = spawn(past.seed, "floor", past.name)
    null: list[float] = []
    while len(null) < _REPEATS:
        drawn = torch.multinomial(expected, _AT_ONCE, replacement=True, generator=generator)
        null += [distance(codes) for codes in drawn.unbind(dim=1)]
    return distance(found), torch.tensor(null, dtype=torch.float64)


def _features(past: Past) -> Tensor:
    """Line up what is seen of a past, with shape (N, d)."""
    parts = [_seen(past.pipe.variables[v], past.values[v]) for v in past.given]
    parts += [past.values[m][:, None].float() for m in past.masks]
    return torch.cat([torch.zeros(len(past), 0), *parts], dim=1)


def _seen(variable: Variable, values: Tensor) -> Tensor:
    if isinstance(variable, Categorical):
        return one_hot(values, len(variable.labels)).float()
    return coarse_features(values)
