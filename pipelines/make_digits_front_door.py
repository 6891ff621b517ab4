"""Make `pipelines/digits-front-door`: the causal pipeline on top of `digits-ddpm`.

Draws rows of front-door digits, trains a pipeline on them with the base frozen, and
saves it by reference. Run from the root of the repository:

    python pipelines/make_digits_front_door.py --checkpoints out/digits-front-door

Forty minutes on one core. It may be killed and run again: training goes on from the
checkpoints.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from causal_diffusers import (
    Categorical,
    CausalPipeline,
    Confounder,
    DiffusionMechanism,
    Image,
    ModularTrainer,
    TrainingConfig,
)
from causal_diffusers.systems import FrontDoorDigits

SEED, ROWS = 20_261, 200_000
ADAPTER = TrainingConfig(steps=6_000, checkpoint_every=250, seed=SEED)
VERDICT = TrainingConfig(steps=4_000, seed=SEED)


def make_pipeline() -> CausalPipeline:
    """Build the untrained pipeline on the shipped base."""
    digit = Categorical(range(10))
    return CausalPipeline.from_graph(
        FrontDoorDigits.graph,
        variables={"D": digit, "W": digit, "I": Image(1, 8, 8), "A": Categorical([0, 1])},
        mechanisms={
            "I": DiffusionMechanism.from_pretrained("causal-diffusers/digits-ddpm", rank=16)
        },
        confounders={"U_D_A": Confounder(states=4)},
    )


def train(checkpoints: Path | None, output: Path) -> None:
    """Train every module and save the pipeline."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)  # the initial weights
    rows = FrontDoorDigits().sample(ROWS, generator=torch.Generator().manual_seed(SEED))
    pipe = make_pipeline()
    overrides = {"I": ADAPTER, "A": VERDICT}
    config = TrainingConfig(seed=SEED)
    ModularTrainer(pipe, rows, checkpoints, config=config, overrides=overrides).train()
    pipe.save_pretrained(output, repo_id="causal-diffusers/digits-front-door")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "digits-front-door")
    arguments = parser.parse_args()
    train(arguments.checkpoints, arguments.output)
