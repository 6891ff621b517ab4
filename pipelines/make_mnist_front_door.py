"""Make `pipelines/mnist-front-door` and `pipelines/mnist-written`, both on `mnist-ddpm`.

Draws rows of front-door MNIST and trains a pipeline on them with the base frozen. In
mnist-front-door the digit written is not observed and P(I | D) is a mixture; in
mnist-written it is. Run from the root of the repository:

    python pipelines/make_mnist_front_door.py mnist-front-door --checkpoints out/mnist-front-door
    python pipelines/make_mnist_front_door.py mnist-written --checkpoints out/mnist-written

Each takes an hour on one core. It may be killed and run again: training goes on from the
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
from causal_diffusers.systems import FrontDoorMNIST

SEED, ROWS, STEPS, BATCH = 20_270, 150_000, 3_300, 64
GRAPHS = {"mnist-front-door": FrontDoorMNIST.graph, "mnist-written": FrontDoorMNIST.written_graph}


def make_pipeline(name: str, base: str, rank: int = 16) -> CausalPipeline:
    """Build the untrained pipeline on the base."""
    digit, graph = Categorical(range(10)), GRAPHS[name]
    variables = {"D": digit, "W": digit, "I": Image(1, 32, 32), "A": Categorical([0, 1])}
    return CausalPipeline.from_graph(
        graph,
        variables={variable: variables[variable] for variable in graph.variables},
        mechanisms={"I": DiffusionMechanism.from_pretrained(base, rank=rank)},
        confounders={"U_D_A": Confounder(states=4)},
    )


def train(options: argparse.Namespace) -> None:
    """Train every module and save the pipeline."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(SEED)  # the initial weights
    pipe = make_pipeline(options.name, options.base)
    system = FrontDoorMNIST(options.data)
    rows = system.sample(ROWS, generator=torch.Generator().manual_seed(SEED))
    adapter = TrainingConfig(
        steps=options.steps, batch_size=BATCH, ema_decay=0.998, checkpoint_every=250, seed=SEED
    )
    verdict = TrainingConfig(steps=options.verdict_steps, checkpoint_every=250, seed=SEED)
    overrides = {"I": adapter, "A": verdict}
    config = TrainingConfig(seed=SEED)
    ModularTrainer(pipe, rows, options.checkpoints, config=config, overrides=overrides).train()
    pipe.save_pretrained(options.output, repo_id=f"causal-diffusers/{options.name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=GRAPHS)
    parser.add_argument("--data", help="the folder of MNIST")
    parser.add_argument("--base", default="causal-diffusers/mnist-ddpm")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the image")
    parser.add_argument("--verdict-steps", type=int, default=3_000)
    parser.add_argument("--checkpoints", type=Path)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    options.output = options.output or Path(__file__).parent / options.name
    train(options)
