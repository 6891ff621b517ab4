"""Make `pipelines/leaves`: the causal pipeline on top of `leaf-ddpm`.

Draws rows of the biased domain of apple leaves, trains a pipeline on them with the base
frozen, and saves it by reference. Run from the root of the repository:

    python pipelines/make_leaves.py --checkpoints out/leaves

Half an hour on one core. It may be killed and run again: training goes on from the
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
from causal_diffusers.systems import AppleLeaves
from causal_diffusers.systems.leaves import CLASSES, GROUNDS

SEED, ROWS, BATCH = 20_300, 20_000, 64


def make_pipeline(base: str, rank: int = 16) -> CausalPipeline:
    """Build the untrained pipeline on the base."""
    return CausalPipeline.from_graph(
        AppleLeaves.graph,
        variables={
            "C": Categorical(CLASSES),
            "B": Categorical(GROUNDS),
            "I": Image(3, 32, 32),
        },
        mechanisms={"I": DiffusionMechanism.from_pretrained(base, rank=rank)},
        confounders={"U_C_B": Confounder(states=2)},
    )


def train(options: argparse.Namespace) -> None:
    """Train every module and save the pipeline."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)  # the initial weights
    pipe = make_pipeline(options.base)
    system = AppleLeaves(options.data, disease=options.disease)
    rows = system.sample(ROWS, generator=torch.Generator().manual_seed(SEED))
    adapter = TrainingConfig(
        steps=options.steps, batch_size=BATCH, ema_decay=0.998, checkpoint_every=250, seed=SEED
    )
    config = TrainingConfig(seed=SEED)
    overrides = {"I": adapter}
    ModularTrainer(pipe, rows, options.checkpoints, config=config, overrides=overrides).train()
    pipe.save_pretrained(options.output, repo_id="causal-diffusers/leaves")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="the folder of the leaves")
    parser.add_argument("--disease", default="Cedar_apple_rust")
    parser.add_argument("--base", default="causal-diffusers/leaf-ddpm")
    parser.add_argument("--steps", type=int, default=2_000, help="of the image")
    parser.add_argument("--checkpoints", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "leaves")
    train(parser.parse_args())
