"""Make `pipelines/xrays`: the causal pipeline on top of `xray-ddpm`.

Draws rows of the chest X-ray system, trains a pipeline on them with the base frozen, and
saves it by reference. Run from the root of the repository:

    python pipelines/make_xrays.py --checkpoints out/xrays

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
from causal_diffusers.systems import ChestXrays

SEED, ROWS, BATCH = 20_290, 50_000, 64


def make_pipeline(base: str, rank: int = 16) -> CausalPipeline:
    """Build the untrained pipeline on the base."""
    bit = Categorical([0, 1])
    return CausalPipeline.from_graph(
        ChestXrays.graph,
        variables={"C": bit, "X": Image(1, 28, 28), "N": bit},
        mechanisms={"X": DiffusionMechanism.from_pretrained(base, rank=rank)},
        confounders={"U_C_N": Confounder(states=4)},
    )


def train(options: argparse.Namespace) -> None:
    """Train every module and save the pipeline."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)  # the initial weights
    pipe = make_pipeline(options.base)
    rows = ChestXrays(options.data).sample(ROWS, generator=torch.Generator().manual_seed(SEED))
    adapter = TrainingConfig(
        steps=options.steps, batch_size=BATCH, ema_decay=0.998, checkpoint_every=250, seed=SEED
    )
    consequence = TrainingConfig(
        steps=options.consequence_steps, batch_size=1024, checkpoint_every=250, seed=SEED
    )
    overrides = {"X": adapter, "N": consequence}
    config = TrainingConfig(seed=SEED)
    ModularTrainer(pipe, rows, options.checkpoints, config=config, overrides=overrides).train()
    pipe.save_pretrained(options.output, repo_id="causal-diffusers/xrays")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="the folder of PneumoniaMNIST")
    parser.add_argument("--base", default="causal-diffusers/xray-ddpm")
    parser.add_argument("--steps", type=int, default=2_000, help="of the image")
    parser.add_argument("--consequence-steps", type=int, default=2_000)
    parser.add_argument("--checkpoints", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "xrays")
    train(parser.parse_args())
