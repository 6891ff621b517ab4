"""Train a tiny pipeline on two processes, as a script under torchrun.

    torchrun --nproc_per_node 2 two_processes.py BASE OUTPUT

Each process starts from weights of its own, and writes those that it ends in.
"""

import dataclasses
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from causal_diffusers import ModularTrainer, TrainingConfig
from killing import rows
from tiny import make_tiny_pipeline

CONFIG = TrainingConfig(steps=4, checkpoint_every=2, batch_size=8, ema_decay=0.9, seed=1)


GAME = dataclasses.replace(CONFIG, objective="adversarial", critic_steps=2, bank_size=2)


def train(base, output, config=CONFIG, seed=0, overrides=None):
    torch.manual_seed(seed)
    pipe = make_tiny_pipeline(base, seed=seed)
    ModularTrainer(pipe, rows(), output, config, overrides).train()
    return {
        f"{owner}.{name}": p.detach().clone()
        for owner, component in pipe.components.items()
        for name, p in component.trainable_state().items()
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    base, output = map(Path, sys.argv[1:])
    rank = int(os.environ["RANK"])
    for name, folder in (("kept", output / "kept"), ("again", output / "kept"), ("loose", None)):
        save_file(train(base, folder, seed=rank), output / f"{name}-{rank}.safetensors")
    game = train(base, output / "game", seed=rank, overrides={"A": GAME})
    save_file(game, output / f"game-{rank}.safetensors")
