r"""Is a confounded image independent of its confounders, given its parents and its code?

That is what a code $r = \phi(\text{image})$ in the place of an image assumes
(`mechanisms/representation`). Of what it implies, three things can be seen in rows that
were kept from training:

1. given parents and code, the image says nothing more about the other members of its
   district. For another label, the *gain* is $E[\log q(w \mid \text{image}, r, z) - \log
   q(w \mid r, z)]$ for two fitted networks; for another image, that of telling real pairs
   from pairs dealt anew among rows of the same codes and labels. A gain beyond three
   standard errors is no noise, and is warned about;
2. an image that is drawn for a code is read as that code (*agreement*);
3. codes read again from sampled images, with the labels beside them, are distributed as
   in the data (*total variation*, beside what two samples of the data would score).

Members joined by an arrow are left out of 1: there the image may well say more.

References:
    Statistical inference for conditional independence: the generalised covariance measure
    (Shah & Peters, 2020), Sec. 2: no test has power against every alternative.
    Revisiting classifier two-sample tests (Lopez-Paz & Oquab, 2017), Sec. 3.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from causal_diffusers.mechanisms import CategoricalMechanism, DiffusionMechanism
from causal_diffusers.mechanisms.base import SamplingOptions
from causal_diffusers.mechanisms.diffusion import CODE
from causal_diffusers.mechanisms.representation import code_of
from causal_diffusers.scm import Units
from causal_diffusers.seeding import spawn
from causal_diffusers.training.config import TrainingConfig
from causal_diffusers.training.data import Columns, Rows
from causal_diffusers.training.derived import derive
from causal_diffusers.training.distinct import distinct_rows
from causal_diffusers.training.likelihood import LikelihoodObjective
from causal_diffusers.training.stage import train_stage
from causal_diffusers.variables import Categorical, Variable

if TYPE_CHECKING:
    from causal_diffusers.pipeline import CausalPipeline

__all__ = ["Gain", "RepresentationReport"]

_ERRORS = 3  # standard errors beyond which a gain is no noise
_NEGLIGIBLE = 0.003  # nats a row, which change no answer by more than a few thousandths
_PAIRED = "(paired)"  # no variable can be called so


@dataclasses.dataclass(frozen=True)
class Gain:
    """What an image still says about another member of its district, in nats a row.

    Arguments:
        image: The image.
        other: The other member.
        mean: The mean over held-out rows.
        error: Its standard error.

    Example:
        >>> print(Gain("I", "L", 0.2, 0.01))
        WARNING: the code of I loses what I says about L: 0.2000 nats a row (s.e. 0.0100)...
    """

    image: str
    other: str
    mean: float
    error: float

    @property
    def is_noise(self) -> bool:
        """Whether it is within three standard errors of nothing, or too small to matter."""
        return self.mean <= max(_ERRORS * self.error, _NEGLIGIBLE)

    def __str__(self) -> str:
        size = f"{self.mean:.4f} nats a row (s.e. {self.error:.4f})"
        if self.is_noise:
            return f"beyond its code, {self.image} says nothing about {self.other}: {size}"
        return (
            f"WARNING: the code of {self.image} loses what {self.image} says about "
            f"{self.other}: {size}. Answers that rest on their confounding are biased. Give "
            f'"{self.image}" more `codes`, or train the reading for longer.'
        )


@dataclasses.dataclass(frozen=True)
class RepresentationReport:
    """Whether the codes of the confounded images hold what they must.

    Arguments:
        gains: What each image says about each other member beyond its code.
        agreement: How often an image that is drawn for a code is read as that code, by
            image.
        distance: For each district, the total variation between codes and labels as
            sampled and as observed; and the mean and 95 % point of what it is if each
            row's sample and observation change places at random.

    Example:
        >>> report = RepresentationReport((Gain("I", "L", 0.0, 0.1),), {"I": 0.97}, {})
        >>> report.warnings
        ()
    """

    gains: tuple[Gain, ...]
    agreement: Mapping[str, float]
    distance: Mapping[tuple[str, ...], tuple[float, float, float]]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What should be looked into before an answer is believed, in words."""
        return tuple(str(gain) for gain in self.gains if not gain.is_noise)

    def __str__(self) -> str:
        lines = [str(gain) for gain in self.gains]
        for name, share in self.agreement.items():
            lines.append(f"{name}, drawn for a code, is read as that code: {share:.1%}")
        for names, (distance, mean, upper) in self.distance.items():
            lines.append(
                f"{{{', '.join(names)}}} with codes read from samples: TVD {distance:.3f}; a "
                f"perfect sampler scores {mean:.3f}, below {upper:.3f} in 95 of 100"
            )
        return "\n".join([*lines, _ASSUMED])

    @classmethod
    def of(
        cls,
        pipe: CausalPipeline,
        dataset: Columns,
        *,
        config: TrainingConfig = TrainingConfig(steps=600, batch_size=256),  # noqa: B008 (frozen)
        num_samples: int = 1000,
        num_inference_steps: int | None = None,
    ) -> RepresentationReport:
        """Test the codes of a trained pipeline.

        Arguments:
            pipe: The pipeline.
            dataset: Rows that it was not trained on, of which those are used in which
                nothing was set. Half of them fit the networks that look for a gain, the
                others measure it.
            config: How these networks are fitted.
            num_samples: How many images are sampled.
            num_inference_steps: In how many steps; None for the default.

        Returns:
            The report.

        Raises:
            ValueError: If no image of the pipeline is confounded.

        Example:
            >>> from causal_diffusers import Categorical, CausalPipeline
            >>> pipe = CausalPipeline.from_graph("X", {"X": Categorical([0, 1])})
            >>> RepresentationReport.of(pipe, {"X": [0, 1]})
            Traceback (most recent call last):
            ...
            ValueError: no image of this pipeline is confounded: there is no code to test.
        """
        images = {
            name: m
            for name, m in pipe.mechanisms.items()
            if isinstance(m, DiffusionMechanism) and m.confounders
        }
        if not images:
            raise ValueError("no image of this pipeline is confounded: there is no code to test.")
        rows = Rows(dataset, pipe.variables).observational()
        for name, mechanism in images.items():
            code = mechanism.head.variable
            rows = derive(rows, code_of(name), code, name, mechanism.reader.read)
        options = SamplingOptions(num_inference_steps)
        values = rows.batch(torch.arange(len(rows)))
        test = _Test(pipe, images, rows.variables, values, config)
        return cls(
            tuple(test.gains()),
            {name: test.agreement(name, num_samples, options) for name in images},
            test.distances(num_samples, options),
        )


_ASSUMED = (
    "Assumed: given its parents and its code, a confounded image is independent of its "
    "confounders."
)


@dataclasses.dataclass(frozen=True)
class _Test:
    """A pipeline and held-out rows, with a column for the code of each confounded image."""

    pipe: CausalPipeline
    images: Mapping[str, DiffusionMechanism]
    variables: Mapping[str, Variable]
    values: Mapping[str, Tensor]
    config: TrainingConfig

    def gains(self) -> Iterator[Gain]:
        graph = self.pipe.graph
        for image in self.images:
            district = [v for v in graph.variables if v in graph.district(image)]
            for other in district:
                adjacent = {image, other} & graph.parents({image, other})
                if other != image and not adjacent:
                    yield self._gain(image, other, district)

    def _gain(self, image: str, other: str, district: list[str]) -> Gain:
        """Compare two predictions of another label, or of whether two images belong together."""
        beside = [v for v in district if v not in (image, other)]
        outside = sorted(self.pipe.graph.parents(district).difference(district))
        given = [code_of(v) if v in self.images else v for v in (image, *beside)] + outside
        if self._is_categorical(other):
            columns = {name: self.values[name] for name in (other, image, *given)}
            return self._compare(image, other, other, columns, given, [image])
        given += [code_of(other), other] if other in self.images else [other]
        columns = {name: self.values[name] for name in (image, *given)}
        columns = _deal_anew(columns, other, [n for n in given if self._is_categorical(n)])
        return self._compare(image, other, _PAIRED, columns, given, [image])

    def _compare(
        self,
        image: str,
        other: str,
        target: str,
        columns: Mapping[str, Tensor],
        given: list[str],
        more: list[str],
    ) -> Gain:
        number = len(_first(self.values))
        order = torch.randperm(number, generator=spawn(self.config.seed, image, other))
        copies = range(0, len(columns[target]), number)  # of each row; none is on both sides
        fit, held = (torch.cat([half + copy for copy in copies]) for half in order.chunk(2))
        untold = self._log_prob(target, given, columns, fit, held)
        told = self._log_prob(target, [*given, *more], columns, fit, held)
        gain = (told - untold).double().view(len(copies), -1).mean(dim=0)
        return Gain(image, other, gain.mean().item(), gain.std().item() / math.sqrt(len(gain)))

    def _log_prob(
        self,
        target: str,
        given: list[str],
        columns: Mapping[str, Tensor],
        fit: Tensor,
        held: Tensor,
    ) -> Tensor:
        """Fit a network that predicts a label on some rows, and ask it about the others."""
        variables = {**self.variables, _PAIRED: Categorical([0, 1])}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            f = CategoricalMechanism().bind(
                variables[target], {n: variables[n] for n in given}, {}
            )
        seen = {name: variables[name] for name in (target, *given)}
        rows = Rows({n: v.decode(columns[n][fit]) for n, v in seen.items()}, seen)
        label = f"{{{target}}} given {', '.join(given)}"
        train_stage(LikelihoodObjective({target: f}, {}, {}), rows, self.config, label=label)
        torch.nn.Module.to(f, columns[target].device)
        with torch.no_grad():
            return f.log_prob(columns[target][held], {n: columns[n][held] for n in given}, {})

    def agreement(self, name: str, num_samples: int, options: SamplingOptions) -> float:
        """Draw images for the codes of real ones, and read them again."""
        mechanism = self.images[name]
        index = self._some(num_samples, name)
        code = self.values[code_of(name)][index]
        told = {n: self.values[n][index] for n in mechanism.parents} | {CODE: code}
        drawn = mechanism.sample(
            {n: value.to(mechanism.device) for n, value in told.items()},
            {},
            num_samples=len(index),
            generator=spawn(self.config.seed, name, "images"),
            options=options,
        )
        return (mechanism.reader.read(drawn.cpu()) == code).double().mean().item()

    def distances(
        self, num_samples: int, options: SamplingOptions
    ) -> dict[tuple[str, ...], tuple[float, float, float]]:
        """Sample each module with a confounded image, its parents clamped to the rows."""
        found = {}
        for planned in self.pipe.plan():
            if not planned.variables & self.images.keys():
                continue
            index = self._some(num_samples, "rows")
            clamped = {n: self.values[n][index] for n in sorted(planned.parents)}
            units = Units(self.config.seed, len(index), clamped)
            drawn = self.pipe.scm.extend(units, planned.joint, options).values
            sampled = {name: value.cpu() for name, value in drawn.items()}
            for name in self.images.keys() & planned.joint:
                sampled[code_of(name)] = self.images[name].reader.read(sampled[name])
            names = sorted(n for n in sampled if self._is_categorical(n))
            real = {n: self.values[n][index] for n in names}
            shown = tuple(n for n in self.pipe.graph.variables if n in planned.joint)
            found[shown] = _distance(sampled, real, names, spawn(self.config.seed, "deal"))
        return found

    def _some(self, most: int, name: str) -> Tensor:
        number = len(self.values[name]) if name in self.values else len(_first(self.values))
        return torch.randperm(number, generator=spawn(self.config.seed, name))[:most]

    def _is_categorical(self, name: str) -> bool:
        return isinstance(self.variables[name], Categorical)


def _deal_anew(columns: Mapping[str, Tensor], moved: str, strata: list[str]) -> dict[str, Tensor]:
    """Append rows in which a column is dealt anew within strata; `_PAIRED` says which are real."""
    number, generator = len(columns[moved]), spawn(0, moved, *strata)
    cells = _cells(columns, strata)
    shuffled = torch.randperm(number, generator=generator)
    there, here = torch.sort(cells[shuffled], stable=True).indices, torch.sort(cells).indices
    dealt = torch.empty(number, dtype=torch.long)
    dealt[here] = shuffled[there]
    twice = {n: torch.cat([v, v[dealt] if n == moved else v]) for n, v in columns.items()}
    return {**twice, _PAIRED: torch.arange(2).repeat_interleave(number).flip(0)}


def _cells(columns: Mapping[str, Tensor], names: list[str]) -> Tensor:
    """Number the combinations of labels that occur."""
    return distinct_rows([columns[n] for n in names])[1]


def _distance(
    sampled: Mapping[str, Tensor], real: Mapping[str, Tensor], names: list[str], g: torch.Generator
) -> tuple[float, float, float]:
    """Measure a total variation, and what it would be if each row were exchanged or not.

    Sample and row share their clamped parents, so they may change places only with each other.
    """
    number = len(real[names[0]])
    cells = _cells({n: torch.cat([sampled[n], real[n]]) for n in names}, names)
    one, two = (one_hot(half, int(cells.max()) + 1).double() for half in cells.chunk(2))
    signs = 1 - 2 * torch.randint(2, (400, number), generator=g).double()
    dealt = (signs @ (one - two)).abs().sum(dim=1) / (2 * number)
    found = (one - two).sum(dim=0).abs().sum() / (2 * number)
    return found.item(), dealt.mean().item(), dealt.quantile(0.95).item()


def _first(values: Mapping[str, Tensor]) -> Tensor:
    return next(iter(values.values()))
