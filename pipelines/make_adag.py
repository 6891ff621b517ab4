"""Make the shipped discovery model: train ADAG on dreams.

    python pipelines/make_adag.py --checkpoints out/adag

It may be killed and run again: training goes on from the checkpoint. Three quarters of an
hour on one core. The card says what was measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from causal_diffusers.discovery.adag import ADAG
from causal_diffusers.discovery.dreams import WidePrior
from causal_diffusers.discovery.lessons import learn

STEPS, SEED = 9_000, 20_320


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--checkpoints", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "adag")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(SEED)  # the initial weights
    model, losses = ADAG(), list[float]()

    def tell(step: int, loss: float) -> None:
        losses.append(loss)
        if (step + 1) % 250 == 0:
            print(f"step {step + 1}: mean loss {sum(losses[-250:]) / 250:.4f}", flush=True)

    learn(
        model,
        WidePrior().dream,
        options.steps,
        seed=SEED,
        checkpoint=options.checkpoints,
        tell=tell,
    )
    model.save_pretrained(options.output)


if __name__ == "__main__":
    main()
