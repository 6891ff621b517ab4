"""Make the shipped pipelines: draw rows of a system, train on them, save by reference.

The bases stay frozen and are cited; `make_bases.py` made them. Run from the root of the
repository:

    python pipelines/make_pipelines.py xrays --data path/to/data --checkpoints out/xrays

It may be killed and run again: training goes on from the checkpoints. accelerate takes a GPU
where there is one, and a pipeline is the same again on the same kind of machine only. The
cards say how long each took.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from causal_diffusers import (
    ADMG,
    Categorical,
    CausalPipeline,
    Confounder,
    DiffusionMechanism,
    Image,
    ModularTrainer,
    TrainingConfig,
)
from causal_diffusers.systems import (
    AppleLeaves,
    ChestXrays,
    ColoredBarMNIST,
    ConfoundedDigits,
    FrontDoorDigits,
    FrontDoorMNIST,
    ImageDiamond,
)
from causal_diffusers.systems.leaves import CLASSES, GROUNDS

DIGIT, BIT = Categorical(range(10)), Categorical([0, 1])


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one pipeline is made.

    `images` trains the adapters, `others` some other modules; what neither names is trained
    as by default.
    """

    system: Callable[[Path | None], Any]
    graph: ADMG
    variables: Mapping[str, Any]
    base: str
    confounders: Mapping[str, Confounder]
    seed: int
    images: TrainingConfig
    others: Mapping[str, TrainingConfig] = dataclasses.field(default_factory=dict)
    rows: int = 50_000
    rank: int = 16


def confounded(case: str) -> dict[str, Any]:
    """Describe confounded digits, with a label or with a second image."""
    make = {"label": ConfoundedDigits.with_label, "image": ConfoundedDigits.with_image}[case]
    system = make()
    return {
        "system": lambda _: make(),
        "graph": system.graph,
        "variables": system.variables,
        "base": "digits-ddpm",
        "confounders": {"U": Confounder(states=8)},
        "seed": 20_263,
        "images": TrainingConfig(steps={"label": 1_500, "image": 700}[case]),
        "rank": {"label": 8, "image": 16}[case],
    }


def front_door_mnist(graph: ADMG, steps: int, other_steps: int) -> dict[str, Any]:
    """Describe front-door MNIST, with what was written observed or inside the image."""
    variables = {"D": DIGIT, "W": DIGIT, "I": Image(1, 32, 32), "A": BIT}
    return {
        "system": FrontDoorMNIST,
        "graph": graph,
        "variables": {name: variables[name] for name in graph.variables},
        "base": "mnist-ldm",
        "confounders": {"U_D_A": Confounder(states=4)},
        "rows": 150_000,
        "seed": 20_270,
        "images": TrainingConfig(steps=steps, batch_size=64, ema_decay=0.998),
        "others": {"A": TrainingConfig(steps=other_steps)},
    }


RECIPES = {
    "digits-front-door": Recipe(
        system=lambda _: FrontDoorDigits(),
        graph=FrontDoorDigits.graph,
        variables={"D": DIGIT, "W": DIGIT, "I": Image(1, 8, 8), "A": BIT},
        base="digits-ddpm",
        confounders={"U_D_A": Confounder(states=4)},
        rows=200_000,
        seed=20_261,
        images=TrainingConfig(steps=6_000),
        others={"A": TrainingConfig(steps=4_000)},
    ),
    "confounded-digits": Recipe(**confounded("label")),
    "confounded-images": Recipe(**confounded("image")),
    "image-diamond": Recipe(
        system=lambda _: ImageDiamond(),
        graph=ImageDiamond.graph,
        variables={"Digit": DIGIT, "Color": BIT, "I1": Image(1, 8, 8), "I2": Image(1, 8, 8)},
        base="digits-ddpm",
        confounders={"U_I1_I2": Confounder(states=4), "U_Digit_Color": Confounder(states=4)},
        seed=20_310,
        images=TrainingConfig(steps=500),
        others={"Digit": TrainingConfig(steps=1_000)},
    ),
    "mnist-front-door": Recipe(**front_door_mnist(FrontDoorMNIST.graph, 6_000, 3_000)),
    "mnist-written": Recipe(**front_door_mnist(FrontDoorMNIST.written_graph, 3_500, 1_500)),
    "colored-bars": Recipe(
        system=ColoredBarMNIST,
        graph=ColoredBarMNIST.graph,
        variables={"D": Categorical([0, 9]), "C": BIT, "BW": BIT, "BC": BIT}
        | {"I": Image(3, 16, 16)},
        base="bars-ddpm",
        confounders={"U": Confounder(states=4)},
        rows=40_000,
        seed=20_280,
        images=TrainingConfig(steps=1_300, batch_size=64, ema_decay=0.995),
    ),
    "xrays": Recipe(
        system=ChestXrays,
        graph=ChestXrays.graph,
        variables={"C": BIT, "X": Image(1, 28, 28), "N": BIT},
        base="xray-ddpm",
        confounders={"U_C_N": Confounder(states=4)},
        seed=20_290,
        images=TrainingConfig(steps=1_300, batch_size=64, ema_decay=0.995),
        others={"N": TrainingConfig(steps=1_000, batch_size=1024)},
    ),
    "leaves": Recipe(
        system=AppleLeaves,
        graph=AppleLeaves.graph,
        variables={"C": Categorical(CLASSES), "B": Categorical(GROUNDS), "I": Image(3, 32, 32)},
        base="leaf-ddpm",
        confounders={"U_C_B": Confounder(states=2)},
        rows=20_000,
        seed=20_300,
        images=TrainingConfig(steps=1_000, batch_size=64, ema_decay=0.995),
    ),
}


def make_pipeline(recipe: Recipe, base: str | None = None) -> CausalPipeline:
    """Build the untrained pipeline on its base, or on another one."""
    base = base or f"causal-diffusers/{recipe.base}"
    images = [name for name, v in recipe.variables.items() if isinstance(v, Image)]
    mechanisms = {n: DiffusionMechanism.from_pretrained(base, rank=recipe.rank) for n in images}
    variables, confounders = dict(recipe.variables), dict(recipe.confounders)
    return CausalPipeline.from_graph(recipe.graph, variables, mechanisms, confounders)


def shortened(recipe: Recipe, image_steps: int | None, other_steps: int | None) -> Recipe:
    """Change how many steps modules take; None leaves them as they were."""
    images = dataclasses.replace(recipe.images, steps=image_steps or recipe.images.steps)
    others = {
        name: dataclasses.replace(config, steps=other_steps or config.steps)
        for name, config in recipe.others.items()
    }
    return dataclasses.replace(recipe, images=images, others=others)


def train(
    recipe: Recipe, pipe: CausalPipeline, rows: Mapping[str, Tensor], checkpoints: Path | None
) -> None:
    """Train every module."""
    images = {n: recipe.images for n, v in recipe.variables.items() if isinstance(v, Image)}
    every = {"checkpoint_every": 250, "seed": recipe.seed}
    overrides = {
        name: dataclasses.replace(config, **every)
        for name, config in {**images, **recipe.others}.items()
    }
    config = TrainingConfig(seed=recipe.seed)
    ModularTrainer(pipe, rows, checkpoints, config, overrides, held_out=0).train()


def main() -> None:
    """Make one pipeline."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--data", type=Path, help="else CAUSAL_DIFFUSERS_DATA")
    parser.add_argument("--base", help="the base, if not the shipped one")
    parser.add_argument("--steps", type=int, help="of the images, fewer or more than it was made")
    parser.add_argument("--other-steps", type=int, help="of the others, likewise")
    parser.add_argument("--checkpoints", type=Path)
    parser.add_argument("--output", type=Path, help="pipelines/<name> by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    recipe = RECIPES[options.name]
    recipe = shortened(recipe, options.steps, options.other_steps)
    torch.manual_seed(recipe.seed)  # the initial weights
    generator = torch.Generator().manual_seed(recipe.seed)
    rows = recipe.system(options.data).sample(recipe.rows, generator=generator)
    pipe = make_pipeline(recipe, options.base)
    train(recipe, pipe, rows, options.checkpoints)
    output = options.output or Path(__file__).parent / options.name
    pipe.save_pretrained(output, repo_id=f"causal-diffusers/{options.name}")


if __name__ == "__main__":
    main()
