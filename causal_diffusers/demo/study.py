"""What does the demonstration run? Observe, train, ask, compare, report."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch

from causal_diffusers.demo import prose, report
from causal_diffusers.demo.findings import Findings, ask, ask_images, read_digits
from causal_diffusers.mechanisms import DiffusionMechanism
from causal_diffusers.sources import read_rows
from causal_diffusers.systems import FrontDoorDigits
from causal_diffusers.variables import Categorical, Confounder, Image

if TYPE_CHECKING:
    from torch import Tensor

    from causal_diffusers.pipeline import CausalPipeline

__all__ = ["Study", "run"]

BASE, TRAINED = "causal-diffusers/digits-ddpm", "causal-diffusers/digits-front-door"
SHOWN, SHOWN_REAL = 8, 2
AIM_TRAINED_HERE, AIM_SHIPPED = 0.06, 0.03


@dataclasses.dataclass(frozen=True)
class Study:
    """How much is observed, trained and sampled.

    Arguments:
        pretrained: Whether the shipped pipeline is asked, and nothing is trained.
        is_smoke: Whether this only tries whether everything runs.
        rows: The number of rows observed.
        steps: Training steps of the district of each variable.
        rank: The rank of the adapter.
        samples: Samples for each value of D and of W.
        inference_steps: Denoising steps of each sample.
        seed: Where all randomness comes from.

    Example:
        >>> Study.choose(pretrained=True).steps == {}
        True
        >>> Study.choose(adapter_steps=7).steps["I"]
        7
    """

    pretrained: bool = False
    is_smoke: bool = False
    rows: int = 100_000
    steps: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: {"W": 400, "I": 500, "A": 1500}
    )
    rank: int = 8
    samples: int = 400
    inference_steps: int = 8
    seed: int = 0

    @classmethod
    def choose(
        cls,
        *,
        pretrained: bool = False,
        smoke: bool = False,
        adapter_steps: int | None = None,
        samples: int | None = None,
        seed: int = 0,
    ) -> Self:
        """Choose the sizes: of a full run, of the shipped pipeline, or of a smoke test.

        Arguments:
            pretrained: Ask the shipped pipeline.
            smoke: Run a few steps of everything.
            adapter_steps: Training steps of the image adapter.
            samples: Samples for each value of D and of W.
            seed: Where all randomness comes from.

        Returns:
            The study.

        Raises:
            ValueError: If steps are asked of a pipeline that is trained already.
        """
        if pretrained and adapter_steps is not None:
            raise ValueError(
                "`--pretrained` trains nothing: got `--steps` too. Leave one of them out."
            )
        study = cls(pretrained=pretrained, is_smoke=smoke, seed=seed)
        if smoke:
            steps = dict.fromkeys(study.steps, 2)
            study = dataclasses.replace(
                study, rows=2000, steps=steps, samples=2, inference_steps=2
            )
        if pretrained:
            study = dataclasses.replace(study, steps={}, samples=min(study.samples, 200))
        if adapter_steps is not None:
            study = dataclasses.replace(study, steps={**study.steps, "I": adapter_steps})
        return study if samples is None else dataclasses.replace(study, samples=samples)

    @property
    def aim(self) -> float:
        """The error that the answers should stay below."""
        return AIM_SHIPPED if self.pretrained else AIM_TRAINED_HERE


def run(study: Study, output: Path, tell: Callable[[str], object]) -> Findings:
    """Run a study and write its report.

    Training that is interrupted goes on when the same study is run again.

    Arguments:
        study: What to run.
        output: The folder of the report.
        tell: Called with what there is to say, a paragraph at a time.

    Returns:
        What was found.

    Raises:
        ImportError: If scikit-learn, where the handwriting comes from, is missing.
        CheckpointError: If the shipped pipeline is missing.

    Example:
        >>> run(Study.choose(pretrained=True), Path("report"), print)  # doctest: +SKIP
    """
    seconds: dict[str, float] = {}
    system = FrontDoorDigits()
    pipe = _load() if study.pretrained else _build(study)
    plan = str(pipe.plan())
    tell(prose.question(pipe.graph, plan, _estimands(pipe)))
    with _timed(seconds, "observing"):
        rows = read_rows(
            "causal_diffusers:front_door_digits", {}, num_rows=study.rows, seed=study.seed
        )
    tell(prose.training(study))
    if not study.pretrained:
        with _timed(seconds, "training"):
            _train(pipe, rows, study, output)
    with _timed(seconds, "sampling"):
        answers, images = {}, {}
        for variable in ("D", "W"):
            answers[variable], images[variable] = ask(pipe, variable, study, system, rows)
    with _timed(seconds, "reading"):
        read_as_asked, accuracy = read_digits(images["W"], system)
        image_errors = ask_images(pipe, system)
    findings = Findings(
        study=study,
        plan=plan,
        answers=answers,
        image_errors=image_errors,
        read_as_asked=read_as_asked,
        reader_accuracy=accuracy,
        trainable=_count(pipe.components["I"]),
        pictures=images["W"][:, :SHOWN],
        real=_real(system),
        seconds=seconds,
    )
    report.write(findings, output)
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    tell(prose.results(findings, output))
    return findings


def _load() -> CausalPipeline:
    from causal_diffusers.pipeline import CausalPipeline

    return CausalPipeline.from_pretrained(TRAINED)


def _build(study: Study) -> CausalPipeline:
    """Put a frozen pretrained generator into a confounded graph."""
    from causal_diffusers.pipeline import CausalPipeline

    digit = Categorical(range(10))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(study.seed)  # the first weights of what is trained
        return CausalPipeline.from_graph(
            FrontDoorDigits.graph,
            variables={"D": digit, "W": digit, "I": Image(1, 8, 8), "A": Categorical([0, 1])},
            mechanisms={"I": DiffusionMechanism.from_pretrained(BASE, rank=study.rank)},
            confounders={"U_D_A": Confounder(states=4)},
        )


def _train(pipe: CausalPipeline, rows: Mapping[str, Tensor], study: Study, output: Path) -> None:
    from causal_diffusers.training import ModularTrainer, TrainingConfig

    sizes = "-".join(f"{name}{steps}" for name, steps in study.steps.items())
    folder = output / "checkpoints" / f"seed{study.seed}-rows{study.rows}-{sizes}"
    configs = {
        name: TrainingConfig(steps=steps, seed=study.seed, checkpoint_every=100)
        for name, steps in study.steps.items()
    }
    ModularTrainer(pipe, rows, folder, overrides=configs).train()
    pipe.save_pretrained(output / "pipeline")


def _estimands(pipe: CausalPipeline) -> list[str]:
    estimands = [pipe.identify("A", do=variable) for variable in ("D", "W")]
    return [f"{estimand.query} = {estimand}" for estimand in estimands]


def _count(mechanism: DiffusionMechanism) -> tuple[int, int]:
    moved = sum(p.numel() for p in mechanism.trainable_state().values())
    return moved, sum(p.numel() for p in mechanism.parameters())


def _real(system: FrontDoorDigits) -> Tensor:
    """Take real images of each digit, far from one another in their balance of ink."""
    chosen = []
    for digit in range(10):
        images = system.images[system.digits == digit]
        places = torch.linspace(0.25, 0.75, SHOWN_REAL) * len(images)
        chosen.append(images[places.long()])
    return torch.stack(chosen)


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - started
