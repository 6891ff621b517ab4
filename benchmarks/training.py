"""How many rows a second does each kind of stage train on?

    python benchmarks/training.py

A minute on one core.
"""

from __future__ import annotations

import argparse
import time

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

ROWS = 20_000
STAGES = {
    "W": ("categorical, all rows as counts", 200, None),
    "I": ("adapter of a frozen denoiser", 30, 128),
    "A": ("confounded label, image parent", 150, 512),
}


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    rows = FrontDoorDigits().sample(ROWS, generator=torch.Generator().manual_seed(0))
    digit = Categorical(range(10))
    pipe = CausalPipeline.from_graph(
        FrontDoorDigits.graph,
        variables={"D": digit, "W": digit, "I": Image(1, 8, 8), "A": Categorical([0, 1])},
        mechanisms={"I": DiffusionMechanism.from_pretrained("causal-diffusers/digits-ddpm")},
        confounders={"U_D_A": Confounder(states=4)},
    )
    for name, (what, steps, batch) in STAGES.items():
        frozen = TrainingConfig(steps=1)
        overrides = {v: frozen for v in STAGES if v != name} | {name: TrainingConfig(steps=steps)}
        trainer = ModularTrainer(pipe, rows, overrides=overrides)
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
        seen = steps * (batch or ROWS)
        print(f"{what:34} {steps / seconds:7.1f} steps/s  {seen / seconds:10,.0f} rows/s")


if __name__ == "__main__":
    main()
