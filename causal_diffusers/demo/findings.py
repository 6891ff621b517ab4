r"""How close are the pipeline's answers to the truth?

The truth is an exact sum (`systems.digits`). Beside the pipeline stand

* *drawn*: the same samples, counting the labels drawn instead of averaging their
  probabilities $p(a \mid I, u)$;
* *tabular*: the front-door formula on the rows, which needs no image;
* *constant*: the share of $A = 1$ in the rows, whatever is done;
* *naive*: the exact conditional, which ignores the confounder.

Errors are total variation, here the difference of two probabilities.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from causal_diffusers.metrics import SamplingFloor, sampling_floor, total_variation
from causal_diffusers.seeding import spawn
from causal_diffusers.systems import FrontDoorDigits

if TYPE_CHECKING:
    from causal_diffusers.demo.study import Study
    from causal_diffusers.pipeline import CausalPipeline

__all__ = ["Answers", "Findings", "ask", "ask_images", "read_digits"]

DIGITS, REPEATS, BATCH = 10, 300, 128
CONFOUNDER = "U_D_A"


@dataclasses.dataclass(frozen=True)
class Answers:
    """What P(A=1 | do(V=v)) is for every v, according to several.

    Arguments:
        variable: V, the variable intervened on.
        estimand: The query, expressed by what is observed.
        columns: Probabilities with shape (10,); `"truth"` is the first.
        floors: What a perfect sampler would score in place of `"pipeline"` and `"drawn"`.

    Example:
        >>> answers = Answers("W", "", {"truth": torch.zeros(10), "naive": torch.ones(10)}, {})
        >>> answers.worst("naive")
        1.0
    """

    variable: str
    estimand: str
    columns: Mapping[str, Tensor]
    floors: Mapping[str, SamplingFloor]

    def worst(self, column: str) -> float:
        """Give the largest total variation of a column from the truth."""
        answer, truth = _both(self.columns[column]), _both(self.columns["truth"])
        return total_variation(answer, truth).max().item()


@dataclasses.dataclass(frozen=True)
class Findings:
    """What a study found.

    Arguments:
        study: What was run.
        plan: The training plan.
        answers: The answers about `"D"` and `"W"`.
        image_errors: Mean and worst error of P(A | do(I=x)) over held-out images x.
        read_as_asked: The share of images under do(W=w) that are read as w.
        reader_accuracy: How many real held-out digits the same reader reads correctly.
        trainable: How many parameters of the image mechanism training moves, of how many.
        pictures: The first images under do(W=w), with shape (10, n, 1, 8, 8).
        real: Real images of each digit, with shape (10, m, 1, 8, 8).
        seconds: How long each part took.

    Example:
        >>> [field.name for field in dataclasses.fields(Findings)][:3]
        ['study', 'plan', 'answers']
    """

    study: Study
    plan: str
    answers: Mapping[str, Answers]
    image_errors: Mapping[str, tuple[float, float]]
    read_as_asked: float
    reader_accuracy: float
    trainable: tuple[int, int]
    pictures: Tensor
    real: Tensor
    seconds: Mapping[str, float]

    @property
    def worst(self) -> float:
        """The worst error of the pipeline over both tables."""
        return max(answers.worst("pipeline") for answers in self.answers.values())

    @property
    def floor(self) -> float:
        """What a perfect sampler scores on average, in the noisier table."""
        return max(answers.floors["pipeline"].mean for answers in self.answers.values())

    @property
    def is_met(self) -> bool:
        """Whether the aim is met."""
        return self.worst <= self.study.aim


def ask(
    pipe: CausalPipeline,
    variable: str,
    study: Study,
    system: FrontDoorDigits,
    rows: Mapping[str, Tensor],
) -> tuple[Answers, Tensor]:
    """Ask the pipeline for P(A, I | do(V=v)) at every v.

    Arguments:
        pipe: The trained pipeline.
        variable: V, `"D"` or `"W"`.
        study: How many samples to draw.
        system: The truth.
        rows: The rows that the tabular reference reads.

    Returns:
        The answers, and the images with shape (10, N, 1, 8, 8).

    Example:
        >>> answers, images = ask(pipe, "W", study, system, rows)  # doctest: +SKIP
    """
    n = study.samples
    pipe.set_progress_bar_config(desc=f"sampling do({variable})", leave=False)
    out: Any = pipe(
        DIGITS * n,
        do={variable: torch.arange(DIGITS).repeat_interleave(n)},
        outcomes=["I", "A"],
        num_inference_steps=study.inference_steps,
        generator=spawn(study.seed, "ask", variable),
        output_type="pt",
        batch_size=BATCH,
    )
    truth = system.verdict_under_do(variable)
    columns = {
        "truth": truth,
        "pipeline": out.probabilities["A"][:, 1].reshape(DIGITS, n).mean(dim=1),
        "drawn": torch.tensor(out.values["A"]).reshape(DIGITS, n).float().mean(dim=1),
        "tabular": system.tabular_front_door(rows, variable),
        "constant": rows["A"].float().mean().expand(DIGITS),
        "naive": system.verdict_given(variable),
    }
    estimand = str(pipe.identify("A", do=variable))
    answers = Answers(variable, estimand, columns, _floors(system, variable, study))
    return answers, out.images["I"].reshape(DIGITS, n, *out.images["I"].shape[1:])


def ask_images(pipe: CausalPipeline, system: FrontDoorDigits) -> dict[str, tuple[float, float]]:
    r"""Compare P(A=1 | do(I=x)) with the truth, over the held-out images x.

    The pipeline's answer is the sum $\sum_u P(u) P(A=1 \mid x, u)$ over the states of the
    confounder that it learned, so no sampling error is in it.

    Arguments:
        pipe: The trained pipeline.
        system: The truth.

    Returns:
        Mean and worst error of the pipeline and of the naive conditional.

    Example:
        >>> mean, worst = ask_images(pipe, system)["naive"]  # doctest: +SKIP
    """
    x, digits = system.images[system.held_out], system.digits[system.held_out]
    mechanism, prior = pipe.components["A"], pipe.components[CONFOUNDER]
    parents = {"I": pipe.variables["I"].encode(x, name="I")}
    with torch.no_grad():
        answer = sum(
            weight * _verdict(mechanism, parents, state, len(x))
            for state, weight in enumerate(prior.log_weights().exp())
        )
    truth = system.verdict_under_do_image(x)
    columns = {"pipeline": answer, "naive": system.verdict_given_image(x, digits)}
    errors = {name: total_variation(_both(p), _both(truth)) for name, p in columns.items()}
    return {name: (e.mean().item(), e.max().item()) for name, e in errors.items()}


def read_digits(images: Tensor, system: FrontDoorDigits) -> tuple[float, float]:
    """Let a support vector machine, trained on real digits, read generated ones.

    Arguments:
        images: Images under do(W=w), with shape (10, N, 1, 8, 8).
        system: Where the real digits come from.

    Returns:
        The share of images read as asked, and of real held-out digits read correctly.

    Example:
        >>> system = FrontDoorDigits()
        >>> real = torch.stack([system.images[system.digits == d][:5] for d in range(10)])
        >>> min(read_digits(real, system)) > 0.9
        True
    """
    from sklearn.svm import SVC

    def flat(pictures: Tensor) -> object:
        return pictures.reshape(-1, 64).numpy()

    held, digits = system.held_out, system.digits
    reader = SVC(C=10.0).fit(flat(system.images[~held]), digits[~held].numpy())
    asked = torch.arange(DIGITS).repeat_interleave(images.shape[1]).numpy()
    accuracy = reader.score(flat(system.images[held]), digits[held].numpy())
    return float(reader.score(flat(images), asked)), float(accuracy)


def _verdict(mechanism: torch.nn.Module, parents: dict[str, Tensor], state: int, n: int) -> Tensor:
    confounders = {CONFOUNDER: torch.full((n,), state)}
    return mechanism.probabilities(parents, confounders, num_samples=n)[:, 1]  # type: ignore[operator]


def _floors(system: FrontDoorDigits, variable: str, study: Study) -> dict[str, SamplingFloor]:
    truth = _both(system.verdict_under_do(variable))
    generator = spawn(study.seed, "floor", variable)
    return {
        "pipeline": _floor_of_averages(system, variable, study.samples, generator),
        "drawn": sampling_floor(truth, study.samples, generator=generator),
    }


def _floor_of_averages(
    system: FrontDoorDigits, variable: str, n: int, generator: torch.Generator
) -> SamplingFloor:
    """Simulate the system itself, averaging P(A=1 | I, u) over n draws of I and u."""
    shown = torch.nn.functional.one_hot(system.digits, DIGITS).float().T
    by_digit = shown / shown.sum(dim=1, keepdim=True)  # P(image | w)
    images = (system.written if variable == "D" else torch.eye(DIGITS)) @ by_digit
    verdict, truth = system.verdict(system.images), system.verdict_under_do(variable)
    errors = []
    for value in range(DIGITS):
        drawn = torch.multinomial(images[value], REPEATS * n, True, generator=generator)
        u = torch.randint(2, drawn.shape, generator=generator)
        average = verdict[drawn, u].reshape(REPEATS, n).mean(dim=1)
        errors.append(total_variation(_both(average), _both(truth[value])))
    return SamplingFloor.of(torch.stack(errors).amax(dim=0))


def _both(p: Tensor) -> Tensor:
    """Write P(A=1) as the distribution of A, clear of rounding errors."""
    p = p.double().clamp(0, 1)
    return torch.stack([1 - p, p], dim=-1)
