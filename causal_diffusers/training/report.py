r"""Does a trained pipeline fit rows that it was not trained on?

Each district is held against held-out rows, by what the graph says it must match.

**Categorical districts.** The factor $Q[D]$ is a product of conditionals given the past,
$P(v_i \mid v_{<i}, pa) = Q[D_{\le i}] / Q[D_{<i}]$ with the members of $D$ in topological
order, and each is compared with the rows: with $p_i(k)$ what the model expects in row $i$,
and $g$ the values of the categorical variables in the past,

$$ \mathrm{TV} = \frac{1}{2N} \sum_g \sum_k \Big| \sum_{i \in g} 1[v_i = k] - p_i(k) \Big| . $$

Its floor and its p-value come from values drawn from the $p_i$ themselves, which is what a
perfect model would meet; a model trained on M rows has errors of their size too, which make
both $\sqrt{1 + N / M}$ times as large. Where an image is in the past there are too many $g$, so a
network that is cross-fitted on the held-out rows predicts $v_i$ from the whole past too;
a model that it beats has missed something.

**Images.** A reader trained on half of the held-out images reads the parents of the
others, and of generated images with the same parents. The two must be read right equally
often: less, and the image ignores its parents; more, and it exaggerates them.

A verdict is *misfit* if the difference is larger than chance allows (p < .01, corrected
for the number of variables) and large enough to matter.

References:
    A general identification condition for causal effects (Tian & Pearl, 2002), Sec. 3.
    Revisiting classifier two-sample tests (Lopez-Paz & Oquab, 2017).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from causal_diffusers.mechanisms import (
    DiffusionMechanism,
    LikelihoodMechanism,
    Mechanism,
    SamplingOptions,
)
from causal_diffusers.metrics import SamplingFloor, classifier_agreement
from causal_diffusers.metrics.propensity import coarse_features, propensities, train_reader
from causal_diffusers.seeding import spawn
from causal_diffusers.training.data import Columns, Rows
from causal_diffusers.training.likelihood import LikelihoodObjective
from causal_diffusers.variables import Categorical, Image, Variable

if TYPE_CHECKING:
    from causal_diffusers.pipeline import CausalPipeline

__all__ = ["FitReport", "VariableFit", "report_fit"]

LEVEL, LARGE_TV, LARGE_GAIN, LARGE_GAP = 0.01, 0.02, 0.02, 0.1
_MOST_ROWS, _DRAWS, _REPEATS = 2000, 256, 200
FITS, MISFIT, UNJUDGED = "fits", "MISFIT", "not judged"


@dataclasses.dataclass(frozen=True)
class VariableFit:
    """How one variable fits, given its past.

    Arguments:
        variable: The variable.
        given: What it was compared given.
        verdict: `"fits"`, `"MISFIT"` or `"not judged"`.
        finding: What was measured, in words.
        way_out: What to do about it, in words.

    Example:
        >>> print(VariableFit("A", ("D",), "fits", "total variation .010"))
        A given D: fits, total variation .010.
    """

    variable: str
    given: tuple[str, ...]
    verdict: str
    finding: str
    way_out: str = ""

    def __str__(self) -> str:
        """Write variable, verdict and finding; the way out if it is needed."""
        past = f" given {', '.join(self.given)}" if self.given else ""
        advice = f" {self.way_out}" if self.verdict == MISFIT else ""
        return f"{self.variable}{past}: {self.verdict}, {self.finding}.{advice}"


@dataclasses.dataclass(frozen=True)
class FitReport:
    """How a pipeline fits rows, variable by variable.

    Arguments:
        variables: The entries, in topological order.
        num_rows: How many rows there were.
        are_held_out: Whether training did not see them.

    Example:
        >>> FitReport((VariableFit("A", (), "MISFIT", "..."),), 100).is_good
        False
    """

    variables: tuple[VariableFit, ...]
    num_rows: int
    are_held_out: bool = True

    @property
    def is_good(self) -> bool:
        """Whether no variable is known to fit badly."""
        return all(entry.verdict != MISFIT for entry in self.variables)

    def __getitem__(self, variable: str) -> VariableFit:
        """Look up the entry of a variable."""
        return {entry.variable: entry for entry in self.variables}[variable]

    def __str__(self) -> str:
        """Write the verdict, then every variable, bad ones first."""
        kind = "held-out rows" if self.are_held_out else "rows that it was trained on"
        bad = ", ".join(e.variable for e in self.variables if e.verdict == MISFIT)
        head = f"THE MODEL FITS {bad} BADLY" if bad else "no misfit found"
        entries = sorted(self.variables, key=lambda entry: entry.verdict != MISFIT)
        return "\n".join([f"{head} ({self.num_rows} {kind})", *(f"  {e}" for e in entries)])


@torch.no_grad()
def report_fit(
    pipe: CausalPipeline,
    data: Columns | Rows,
    *,
    num_images: int = 200,
    num_trained: int | None = None,
    are_held_out: bool = True,
    seed: int = 0,
) -> FitReport:
    """Compare a pipeline with rows, best with rows that it was not trained on.

    References:
        Tian & Pearl (2002), Sec. 3; Lopez-Paz & Oquab (2017).

    Arguments:
        pipe: The trained pipeline.
        data: The rows; at most 2,000 of them are used, none in which something was set.
        num_images: How many images are generated for each image variable.
        num_trained: M, the number of rows that it was trained on; None if it is so large
            that it does not matter.
        are_held_out: Whether training did not see the rows, for the text.
        seed: Where the randomness comes from.

    Returns:
        The report; print it.

    Raises:
        KeyError: If a variable has no column.
        ValueError: If a value is none of its variable.

    Example:
        >>> from causal_diffusers import CausalPipeline
        >>> pipe = CausalPipeline.from_graph("X -> Y", dict.fromkeys("XY", Categorical([0, 1])))
        >>> rows = {"X": [0] * 300, "Y": [0] * 300}
        >>> report_fit(pipe, rows)["X"].verdict  # an untrained one
        'MISFIT'
    """
    rows = (data if isinstance(data, Rows) else Rows(data, pipe.variables)).observational()
    index = torch.randperm(len(rows), generator=spawn(seed, "rows"))[:_MOST_ROWS]
    values = rows.batch(index)
    level = LEVEL / len(pipe.graph.variables)
    wider = math.sqrt(1 + len(index) / num_trained) if num_trained and are_held_out else 1.0
    entries: dict[str, VariableFit] = {}
    for district in pipe.graph.districts():
        members = [name for name in pipe.graph.topological_order() if name in district]
        known = {name: pipe.mechanisms[name] for name in members}
        if all(map(_is_categorical, known.values())):
            for i, name in enumerate(members):
                entries[name] = _judge(pipe, members[: i + 1], values, wider, level, seed)
        else:
            for name in members:
                entries[name] = _judge_image(pipe, name, values, num_images, level, seed)
    order = pipe.graph.topological_order()
    return FitReport(tuple(entries[name] for name in order), len(rows), are_held_out)


def _is_categorical(mechanism: Mechanism) -> bool:
    is_known = isinstance(mechanism, LikelihoodMechanism)
    return is_known and isinstance(mechanism.variable, Categorical)


def _judge(
    pipe: CausalPipeline,
    members: Sequence[str],
    values: Mapping[str, Tensor],
    wider: float,
    level: float,
    seed: int,
) -> VariableFit:
    """Compare the last of some members of a district with the rows, given the others."""
    name = members[-1]
    past = {p for member in members for p in pipe.graph.parents(member)} | set(members)
    given = tuple(v for v in pipe.graph.variables if v in past - {name})
    expected = _expected(pipe, members, values, seed)
    tv, null = _total_variation(pipe.variables, name, given, values, expected, seed)
    floor, deviation = SamplingFloor.of(wider * null), wider * null.std().clamp(min=1e-9).item()
    p_value = _tail((tv - floor.mean) / deviation)
    finding = f"total variation {tv:.3f} (a perfect model: {floor})"
    is_bad = p_value < level and tv - floor.mean > LARGE_TV
    if any(not isinstance(pipe.variables[v], Categorical) for v in given):
        gain, error = _gain(pipe.variables, name, given, values, expected, seed)
        finding += f", a reference network gains {gain:.3f} nats a row (s.e. {error:.3f})"
        is_bad |= gain > LARGE_GAIN and _tail(gain / max(error, 1e-9)) < level
    way_out = f'Train "{name}" for more steps, or give it a wider mechanism'
    if pipe.graph.confounders_of(name):
        way_out += " or its confounders more states"
    verdict = MISFIT if is_bad else FITS
    return VariableFit(name, given, verdict, finding, f"{way_out}; then look at its log.")


def _expected(
    pipe: CausalPipeline, members: Sequence[str], values: Mapping[str, Tensor], seed: int
) -> Tensor:
    """Compute p(v | past) of the last member for each row, with shape (N, K)."""
    mechanisms = {name: pipe.mechanisms[name] for name in members}
    confounders = {u: c for m in mechanisms.values() for u, c in m.confounders.items()}
    priors = {u: pipe.scm.priors[u] for u, c in confounders.items() if c.states}
    objective = LikelihoodObjective(mechanisms, confounders, priors, _DRAWS).eval()
    name, device = members[-1], mechanisms[members[-1]].device
    variable = pipe.variables[name]
    labels = len(variable.labels) if isinstance(variable, Categorical) else 0
    parts = []
    for rows in torch.arange(len(values[name])).split(min(256, objective.most_rows or 256)):
        batch = {column: values[column][rows].to(device) for column in objective.columns}
        losses = [
            objective({**batch, name: torch.full_like(batch[name], k)}, seed).cpu()
            for k in range(labels)
        ]
        parts.append((-torch.stack(losses, dim=1)).softmax(dim=1))
    return torch.cat(parts).double()


def _total_variation(
    variables: Mapping[str, Variable],
    name: str,
    given: Sequence[str],
    values: Mapping[str, Tensor],
    expected: Tensor,
    seed: int,
) -> tuple[float, Tensor]:
    """Compare frequencies with expectations, by the values of the categorical past.

    The second result is what values drawn from the expectations score.
    """
    counted = [values[v] for v in given if isinstance(variables[v], Categorical)]
    columns = torch.stack([torch.zeros_like(values[name]), *counted], dim=1)
    group = columns.unique(dim=0, return_inverse=True)[1]
    size, labels = int(group.max()) + 1, expected.shape[1]
    summed = torch.zeros(size, labels, dtype=torch.float64).index_add(0, group, expected)

    def distance(codes: Tensor) -> float:
        found = torch.bincount(group * labels + codes, minlength=size * labels)
        return ((found.view(size, labels) - summed).abs().sum() / (2 * len(codes))).item()

    generator = spawn(seed, "floor", name)
    drawn = torch.multinomial(expected, _REPEATS, replacement=True, generator=generator)
    null = torch.tensor([distance(codes) for codes in drawn.unbind(dim=1)], dtype=torch.float64)
    return distance(values[name]), null


def _gain(
    variables: Mapping[str, Variable],
    name: str,
    given: Sequence[str],
    values: Mapping[str, Tensor],
    expected: Tensor,
    seed: int,
) -> tuple[float, float]:
    """Measure what a cross-fitted network gains over the model, and its standard error."""
    columns = [_features(variables[v], values[v]) for v in given]
    told = propensities(torch.cat(columns, dim=1), values[name], expected.shape[1], seed=seed)
    scores = [p.gather(1, values[name][:, None]).clamp(min=1e-9).log() for p in (told, expected)]
    gain = (scores[0] - scores[1]).double().squeeze(1)
    return gain.mean().item(), (gain.std() / math.sqrt(len(gain))).item()


def _features(variable: Variable, values: Tensor) -> Tensor:
    if isinstance(variable, Categorical):
        return one_hot(values, len(variable.labels)).float()
    return coarse_features(values)


def _judge_image(
    pipe: CausalPipeline,
    name: str,
    values: Mapping[str, Tensor],
    num_images: int,
    level: float,
    seed: int,
) -> VariableFit:
    """Read the parents back from generated images, and from real ones."""
    mechanism, kind = pipe.mechanisms[name], pipe.variables[name]
    parents = {p: pipe.variables[p] for p in sorted(pipe.graph.parents(name))}
    labels = {p: v for p, v in parents.items() if isinstance(v, Categorical)}
    given = tuple(parents)
    is_plain = isinstance(mechanism, DiffusionMechanism) and not mechanism.confounders
    if not (is_plain and isinstance(kind, Image) and labels):
        why = f"there is no test for {type(mechanism).__name__} with such parents or confounders"
        return VariableFit(name, given, UNJUDGED, why)
    beside = torch.stack([values[p] for p in labels], dim=1)
    classes = beside.unique(dim=0, return_inverse=True)[1]
    real, half = values[name], len(beside) // 2
    asked = torch.arange(half, len(beside))[:num_images]
    made = mechanism.sample(
        {p: values[p][asked].to(mechanism.device) for p in parents},
        {},
        num_samples=len(asked),
        generator=spawn(seed, "images", name),
        options=SamplingOptions(),
    )
    features = coarse_features(torch.cat([real, made.cpu()]))
    reader = train_reader(features[:half], classes[:half], int(classes.max()) + 1, seed=seed)
    truth = classifier_agreement(classes[half:], reader(features[half : len(real)]).argmax(1))
    found = classifier_agreement(classes[asked], reader(features[len(real) :]).argmax(1))
    sizes = len(real) - half, len(asked)
    shares = (truth.estimate, sizes[0]), (found.estimate, sizes[1])
    error = math.sqrt(sum((p * (1 - p) + 1 / n) / n for p, n in shares))
    gap = found.estimate - truth.estimate
    is_bad = abs(gap) > LARGE_GAP and 2 * _tail(abs(gap) / error) < level
    told = ", ".join(labels)
    finding = f"{told} read right from {found} of its images and from {truth} of the real ones"
    way_out = (
        f'Train "{name}" for more steps or with a larger `rank`.'
        if gap < 0
        else f'The images of "{name}" exaggerate {told}: train longer, with more rows.'
    )
    return VariableFit(name, given, MISFIT if is_bad else FITS, finding, way_out)


def _tail(z: float) -> float:
    """Give the probability that a standard normal exceeds z."""
    return 0.5 * math.erfc(z / math.sqrt(2))
