"""Make `pipelines/confounded-digits`: a real digit and a label with a hidden common cause.

Draws rows of confounded digits, trains a pipeline on them with the base frozen, and saves
it by reference. Run from the root of the repository:

    python pipelines/make_confounded_digits.py --checkpoints out/confounded-digits

Twenty minutes on one core. It may be killed and run again: training goes on from the
checkpoints. `--partner image` is the second case of `benchmarks/confounded_image.py`, a
digit that is confounded with another digit; it takes twice as long.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from causal_diffusers import (
    CausalPipeline,
    Confounder,
    DiffusionMechanism,
    ModularTrainer,
    TrainingConfig,
)
from causal_diffusers.systems import ConfoundedDigits

SEED, ROWS, BASE = 20_263, 50_000, "causal-diffusers/digits-ddpm"
SYSTEMS = {"label": ConfoundedDigits.with_label, "image": ConfoundedDigits.with_image}
STEPS = {"label": 1_500, "image": 1_200}


def make_pipeline(system: ConfoundedDigits) -> CausalPipeline:
    """Build the untrained pipeline on the shipped base."""
    mechanisms = {name: DiffusionMechanism.from_pretrained(BASE, rank=8) for name in system.digits}
    confounders = {"U": Confounder(states=8)}
    return CausalPipeline.from_graph(system.graph, system.variables, mechanisms, confounders)


def train(partner: str, checkpoints: Path | None, output: Path) -> None:
    """Train every module and save the pipeline."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)  # the initial weights
    system = SYSTEMS[partner]()
    rows = system.sample(ROWS, generator=torch.Generator().manual_seed(SEED))
    pipe = make_pipeline(system)
    denoising = TrainingConfig(steps=STEPS[partner], checkpoint_every=250, seed=SEED)
    overrides = dict.fromkeys(system.digits, denoising)
    config = TrainingConfig(seed=SEED)
    ModularTrainer(pipe, rows, checkpoints, config=config, overrides=overrides).train()
    pipe.save_pretrained(output, repo_id="causal-diffusers/confounded-digits")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partner", choices=SYSTEMS, default="label")
    parser.add_argument("--checkpoints", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "confounded-digits")
    arguments = parser.parse_args()
    train(arguments.partner, arguments.checkpoints, arguments.output)
