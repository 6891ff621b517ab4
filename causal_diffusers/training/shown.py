r"""Do generated images show what stands beside them, as often as real ones do?

Images have no likelihood here, and a network that is asked whether an image is real always
finds something. So they are judged by what can be read from them:

- a **reader** trained on half of the real images reads a label in the past of the others,
  and of generated images with the same past. Both must be read right equally often: less,
  and the image ignores the label; more, and it exaggerates it. A number is read by
  quarters. A label that shares a confounder with a GAN, which no past can hold, is read
  from images that are sampled with it;
- if there is neither in its past, a reader of a label that the image causes must see the
  same in generated images as in real ones, on average;
- the **code** of a confounded image is a label, compared as such; codes that are read again
  from generated images must be distributed with the other members as in the data; and
  beyond its code the image must say nothing about these (`independence`).

References:
    Conditional image synthesis with auxiliary classifier GANs (Odena, Olah & Shlens,
    2017), Sec. 4.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from causal_diffusers.mechanisms import DiffusionMechanism
from causal_diffusers.metrics import classifier_agreement
from causal_diffusers.metrics.propensity import Reader, coarse_features, train_reader
from causal_diffusers.seeding import spawn
from causal_diffusers.training.judgement import (
    LEVEL,
    Finding,
    Judge,
    one_sided,
    said,
    tail_probability,
)
from causal_diffusers.training.past import Past
from causal_diffusers.variables import Categorical, Image, Variable

__all__ = ["judge_image"]

_LARGE_GAP, _LARGE_TV, _LARGE_GAIN = 0.1, 0.05, 0.02
_REPEATS, _QUARTERS = 500, torch.tensor([0.25, 0.5, 0.75])


def judge_image(judge: Judge, past: Past) -> Iterator[Finding]:
    """Judge an image variable.

    References:
        Odena, Olah & Shlens (2017), Sec. 4.2.

    Arguments:
        judge: Who judges.
        past: The variable, with its past.

    Yields:
        What was found; nothing, if nothing can be read from the images.

    Example:
        >>> from causal_diffusers import CausalPipeline, DiffusionMechanism
        >>> base = DiffusionMechanism.from_pretrained("causal-diffusers/digits-ddpm")
        >>> pipe = CausalPipeline.from_graph("I", {"I": Image(1, 8, 8)}, {"I": base})
        >>> judge = Judge(pipe, {"I": torch.zeros(4, 1, 8, 8)}, num_images=1)
        >>> list(judge_image(judge, judge.past("I")))  # no label stands beside it
        []
    """
    beside, effects = _beside(past), _effects(past)
    if beside or effects:
        yield from _read(judge, past, beside, effects)
    mechanism = past.mechanism
    if isinstance(mechanism, DiffusionMechanism) and mechanism.confounders:
        codes = mechanism.reader.read(past.values[past.name])
        yield judge.frequencies(past, codes, " of its code")
        yield from _represented(judge, past)


def _read(judge: Judge, past: Past, beside: list[str], effects: list[str]) -> Iterator[Finding]:
    """Train readers on half of the real images, and read the others and generated ones."""
    variables, name, half = past.pipe.variables, past.name, len(past) // 2
    if past.is_known and set(beside) <= set(past.given):
        asked = past.take(torch.arange(half, len(past))[: judge.num_images])
        made: Mapping[str, Tensor] = {**asked.values, name: asked.draw()[0]}
    else:
        made = judge.sampled(past, judge.num_images)[1]
    seen = coarse_features(torch.cat([past.values[name], made[name]]))
    fit, real, drawn = seen.split([half, len(past) - half, len(made[name])])
    for label in beside or effects:
        cut = _cut(variables[label], past.values[label])
        classes = cut(past.values[label])
        reader = train_reader(fit, classes[:half], int(classes.max()) + 1, seed=judge.seed)
        if not beside:
            yield _balance(judge, past, label, reader(real), reader(drawn))
            continue
        pairs = (classes[half:], real), (cut(made[label]), drawn)
        yield _agreement(judge, past, label, reader, *pairs, tests=1 + len(beside))


def _agreement(
    judge: Judge,
    past: Past,
    label: str,
    reader: Reader,
    real: tuple[Tensor, Tensor],
    made: tuple[Tensor, Tensor],
    tests: int,
) -> Finding:
    """Compare how often a label is read right from real images and from generated ones."""
    truth, found = (classifier_agreement(k, reader(x).argmax(1)) for k, x in (real, made))
    pair = (truth.estimate, len(real[0])), (found.estimate, len(made[0]))
    error = math.sqrt(sum((p * (1 - p) + 1 / n) / n for p, n in pair))
    gap = found.estimate - truth.estimate
    p = judge.corrected(2 * one_sided(abs(gap) / error), tests)
    shares = f"{found} of its images and from {truth} of the real ones"
    text = f"{label} read right from {shares} ({said(p)})"
    if gap < 0:
        larger = " or with a larger `rank`" * isinstance(past.mechanism, DiffusionMechanism)
        way_out = f'Train "{past.name}" for more steps{larger}.'
    else:
        way_out = f'The images of "{past.name}" exaggerate {label}: train longer, with more rows.'
    return Finding(text, abs(gap) > _LARGE_GAP and p < LEVEL, way_out)


def _balance(judge: Judge, past: Past, label: str, real: Tensor, made: Tensor) -> Finding:
    """Compare what a reader of an effect sees on average, with a null by dealing anew."""
    pooled, number = torch.cat([real, made]).double(), len(real)

    def distance(order: Tensor) -> float:
        one, two = pooled[order[:number]].mean(dim=0), pooled[order[number:]].mean(dim=0)
        return (one - two).abs().sum().item() / 2

    generator = spawn(judge.seed, "balance", past.name, label)
    orders = [torch.randperm(len(pooled), generator=generator) for _ in range(_REPEATS)]
    null = torch.tensor([distance(order) for order in orders], dtype=torch.float64)
    found = distance(torch.arange(len(pooled)))
    p = judge.corrected(tail_probability(found, null))
    text = (
        f"what its images say of {label} is {found:.3f} from what real ones say (total variation; "
        f"by chance below {null.quantile(0.95).item():.3f} in 95 runs of 100; {said(p)})"
    )
    way_out = f'Train "{past.name}" for more steps; its images come in other shares than the data.'
    return Finding(text, p < LEVEL and found > _LARGE_GAP, way_out)


def _represented(judge: Judge, past: Past) -> Iterator[Finding]:
    """Read the report on codes: the joint with codes read again, and what the codes lose."""
    name, report = past.name, judge.codes
    for members, (distance, mean, upper) in report.distance.items():
        if name not in members:
            continue
        p = judge.corrected(_tail_of(distance, mean, upper))
        text = (
            f"{{{', '.join(members)}}} with codes read again from its images: total variation "
            f"{distance:.3f} (two samples of one distribution: {mean:.3f} on average, below "
            f"{upper:.3f} in 95 runs of 100; {said(p)}), and an image drawn for a code is read as "
            f"that code in {report.agreement[name]:.0%}"
        )
        way_out = f'Train "{name}" for more steps, or with a larger `rank`.'
        yield Finding(text, p < LEVEL and distance - mean > _LARGE_TV, way_out)
    for gain in report.gains:
        if gain.image == name:
            p = judge.corrected(one_sided(gain.mean / max(gain.error, 1e-9)), len(report.gains))
            text = (
                f"beyond its code it says {gain.mean:.3f} nats a row about {gain.other} (s.e. "
                f"{gain.error:.3f}; {said(p)})"
            )
            way_out = f'Give "{name}" more `codes`, or train the reading for longer.'
            yield Finding(text, p < LEVEL and gain.mean > _LARGE_GAIN, way_out)


def _tail_of(distance: float, mean: float, upper: float) -> float:
    """Bound how often chance reaches a distance, by its mean and 95 % point.

    The mean excess over the latter is .26 of their difference for a normal distribution and
    .32 for that of one absolute normal, the two ends of what a total variation may be.
    """
    width = max(upper - mean, 1e-9)
    if distance <= upper:
        return max(0.05, one_sided(1.645 * (distance - mean) / width))
    return 0.05 * math.exp(-3 * (distance - upper) / width)


def _beside(past: Past) -> list[str]:
    """List what can be read from an image: its past, and what else shares its confounders.

    The latter only if the image has no code, which would be the past of these.
    """
    graph, variables = past.pipe.graph, past.pipe.variables
    mates = set() if past.has_likelihood else graph.district(past.name) - {past.name}
    named = mates | set(past.given)
    return [v for v in graph.variables if v in named and not isinstance(variables[v], Image)]


def _effects(past: Past) -> list[str]:
    """List the labels that an image causes."""
    graph, variables = past.pipe.graph, past.pipe.variables
    return [
        name
        for name in graph.variables
        if past.name in graph.parents(name) and isinstance(variables[name], Categorical)
    ]


def _cut(variable: Variable, column: Tensor) -> Callable[[Tensor], Tensor]:
    """Make labels of values: the quarters of a number, of a vector those of its first number."""
    if isinstance(variable, Categorical):
        return lambda values: values
    edges = column[:, 0].quantile(_QUARTERS)
    return lambda values: torch.bucketize(values[:, 0].contiguous(), edges)
