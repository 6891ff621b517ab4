r"""By which objectives are variables trained, one after the other?

A lesson is an objective that is taken to its minimum. What is trained by a named objective
takes one lesson or several, in turn. The names are those of `TrainingConfig.objective`,
and a new one is a row of `OBJECTIVES`.

| name | mechanisms | lessons |
|---|---|---|
| `likelihood` | all know the probability of a value | $-\log Q[D]$ of the district |
| `denoising` | one pretrained diffusion model | its denoising loss |
| `posterior` | one pretrained GAN, told by Bayes | its classifiers, and its proposal |
| `representation` | as `likelihood`, or of a confounded image | the code of each such image is \
read, the likelihood of the district with codes for images, the denoising loss of each image |
| `adversarial` | all have draws with a gradient | a game against a critic |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import UnionType

from causal_diffusers.graphs import Stage
from causal_diffusers.graphs.notation import write_set
from causal_diffusers.mechanisms import (
    DiffusionMechanism,
    GANMechanism,
    LikelihoodMechanism,
    Mechanism,
)
from causal_diffusers.mechanisms.base import RelaxedMechanism
from causal_diffusers.scm import StructuralCausalModel
from causal_diffusers.training.adversarial import AdversarialObjective
from causal_diffusers.training.config import TrainingConfig
from causal_diffusers.training.denoising import DenoisingObjective
from causal_diffusers.training.likelihood import LikelihoodObjective
from causal_diffusers.training.objective import Objective
from causal_diffusers.training.posterior import PosteriorObjective
from causal_diffusers.training.reading import ReadingObjective

__all__ = ["OBJECTIVES", "Curriculum", "check_objective", "lessons_of", "objective_of"]

Build = Callable[
    [Sequence[str], Stage, StructuralCausalModel, TrainingConfig], Sequence[Objective]
]


@dataclasses.dataclass(frozen=True)
class Curriculum:
    """What an objective asks of mechanisms, and the lessons that it stands for.

    Arguments:
        mechanism: The kind of mechanism that it can train.
        lacks: What the others have not.
        build: Makes the lessons from the variables that are trained, the stage, the
            model and the config.
        is_joint: Whether it trains districts of one h-node together. If not, each is
            trained on its own, before those that are trained together.

    Example:
        >>> OBJECTIVES["likelihood"].is_joint
        False
    """

    mechanism: type[Mechanism] | UnionType
    lacks: str
    build: Build
    is_joint: bool = False


def objective_of(*mechanisms: Mechanism) -> str:
    """Name the objective by which mechanisms are trained if nobody chooses one.

    Arguments:
        mechanisms: The mechanisms of one district.

    Returns:
        `"denoising"` for one diffusion model that is not confounded, `"representation"`
        for a district with one that is, `"posterior"` for one GAN that is told by Bayes,
        else `"likelihood"`; `"adversarial"` where a mechanism has no likelihood and all
        have draws with a gradient.

    Example:
        >>> objective_of(DiffusionMechanism())
        'denoising'
    """
    if any(isinstance(m, DiffusionMechanism) and m.config["confounders"] for m in mechanisms):
        return "representation"
    if len(mechanisms) == 1 and isinstance(mechanisms[0], DiffusionMechanism):
        return "denoising"
    if len(mechanisms) == 1 and _is_told_by_bayes(mechanisms[0]):
        return "posterior"
    if all(isinstance(m, LikelihoodMechanism) for m in mechanisms):
        return "likelihood"
    is_relaxed = all(isinstance(m, RelaxedMechanism) for m in mechanisms)
    return "adversarial" if is_relaxed else "likelihood"


def check_objective(objective: str, mechanisms: Mapping[str, Mechanism]) -> None:
    """Refuse an objective that is not known, or that cannot train some mechanisms.

    Arguments:
        objective: Its name.
        mechanisms: What it is to train, by variable.

    Raises:
        ValueError: If so.

    Example:
        >>> check_objective("likelihood", {"I": DiffusionMechanism()})
        Traceback (most recent call last):
        ...
        ValueError: `objective="likelihood"` cannot train {I}: ...
    """
    if objective not in OBJECTIVES:
        raise ValueError(
            f"`objective` is one of {', '.join(map(repr, OBJECTIVES))}: got {objective!r}. None "
            "takes what suits the mechanism."
        )
    needs = OBJECTIVES[objective]
    for name, mechanism in mechanisms.items():
        if not isinstance(mechanism, needs.mechanism):
            default = objective_of(mechanism)
            raise ValueError(  # noqa: TRY004 (a wrong choice, not a wrong type)
                f'`objective="{objective}"` cannot train {write_set(mechanisms)}: got '
                f'{type(mechanism).__name__} for "{name}", which has {needs.lacks}. Choose for '
                f'it alone: `overrides={{"{name}": TrainingConfig(objective="{default}")}}`; or '
                "give it another mechanism."
            )
        if objective == "adversarial" and _is_told_by_bayes(mechanism):
            raise ValueError(
                f'`objective="adversarial"` moves the latent of a GAN: got "{name}", which is '
                'told by Bayes. Build it with `conditioning="latent"`, or choose "posterior".'
            )


def lessons_of(
    objective: str,
    variables: Sequence[str],
    stage: Stage,
    scm: StructuralCausalModel,
    config: TrainingConfig,
) -> tuple[Objective, ...]:
    """Make the lessons of what is trained at once.

    Arguments:
        objective: The name of the objective.
        variables: A district, or those districts of an h-node that are trained together.
        stage: The h-node.
        scm: The model; its own components are trained.
        config: How to train them.

    Returns:
        The lessons, in the order in which they are taken.

    Raises:
        TypeError: If the objective cannot train a mechanism.

    Example:
        >>> from causal_diffusers.graphs import ADMG, HGraph
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> from causal_diffusers.variables import Categorical
        >>> X = {"X": Categorical([0, 1])}, {"X": CategoricalMechanism()}
        >>> graph = ADMG.parse("X")
        >>> scm = StructuralCausalModel(graph, *X)
        >>> (stage,) = HGraph(graph).plan()
        >>> [lesson.name for lesson in lessons_of("likelihood", "X", stage, scm, TrainingConfig())]
        ['likelihood']
    """
    return tuple(OBJECTIVES[objective].build(variables, stage, scm, config))


def _likelihood(
    variables: Sequence[str], _: Stage, scm: StructuralCausalModel, config: TrainingConfig
) -> list[Objective]:
    mechanisms = {name: scm.mechanisms[name] for name in variables}
    confounders = {n: u for m in mechanisms.values() for n, u in m.confounders.items()}
    priors = {n: scm.priors[n] for n, u in confounders.items() if u.states}
    return [LikelihoodObjective(mechanisms, confounders, priors, config.draws)]


def _denoising(
    variables: Sequence[str], _: Stage, scm: StructuralCausalModel, __: TrainingConfig
) -> list[Objective]:
    (name,) = variables
    mechanism = scm.mechanisms[name]
    if not isinstance(mechanism, DiffusionMechanism):
        raise TypeError(f'"{name}" is no `DiffusionMechanism`.')
    return [DenoisingObjective(name, mechanism)]


def _posterior(
    variables: Sequence[str], _: Stage, scm: StructuralCausalModel, __: TrainingConfig
) -> list[Objective]:
    (name,) = variables
    mechanism = scm.mechanisms[name]
    if not isinstance(mechanism, GANMechanism):
        raise TypeError(f'"{name}" is no `GANMechanism`.')
    return [PosteriorObjective(name, mechanism)]


def _is_told_by_bayes(mechanism: Mechanism) -> bool:
    is_gan = isinstance(mechanism, GANMechanism) and mechanism.is_bound
    return is_gan and mechanism.conditioning == "posterior"


def _representation(
    variables: Sequence[str], stage: Stage, scm: StructuralCausalModel, config: TrainingConfig
) -> list[Objective]:
    mechanisms = {name: scm.mechanisms[name] for name in variables}
    images = [name for name, m in mechanisms.items() if isinstance(m, DiffusionMechanism)]
    likelihood = _likelihood(variables, stage, scm, config)
    if not images:  # every one was set by hand in every row
        return likelihood
    return [
        ReadingObjective(mechanisms, config.seed),
        *likelihood,
        *(part for name in images for part in _denoising([name], stage, scm, config)),
    ]


def _adversarial(
    variables: Sequence[str], stage: Stage, scm: StructuralCausalModel, config: TrainingConfig
) -> list[Objective]:
    names = ("temperature", "critic_steps", "bank_size")
    chosen = {name: value for name in names if (value := getattr(config, name)) is not None}
    return [AdversarialObjective(scm, variables, stage.joint, **chosen)]


OBJECTIVES: dict[str, Curriculum] = {
    "likelihood": Curriculum(LikelihoodMechanism, "no likelihood", _likelihood),
    "denoising": Curriculum(DiffusionMechanism, "nothing to denoise", _denoising),
    "posterior": Curriculum(GANMechanism, "no generator", _posterior),
    "representation": Curriculum(
        LikelihoodMechanism | DiffusionMechanism,
        "neither a likelihood nor a representation",
        _representation,
    ),
    "adversarial": Curriculum(
        RelaxedMechanism, "no draws with a gradient", _adversarial, is_joint=True
    ),
}
