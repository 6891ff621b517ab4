"""Make the shipped discovery models: train ADAG on dreams.

    python pipelines/make_adag.py adag --checkpoints out/adag
    python pipelines/make_adag.py adag-nonlinear --checkpoints out/adag-nonlinear

`adag` is of linear models. `adag-nonlinear` starts from it and goes on with causes that act
through bent functions. It may be killed and run again: training goes on from the checkpoint.
Three quarters of an hour on one core, and a quarter. The cards say what was measured.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from causal_diffusers.discovery.adag import ADAG
from causal_diffusers.discovery.dreams import WidePrior
from causal_diffusers.discovery.lessons import learn


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one model is made."""

    prior: WidePrior
    steps: int
    seed: int
    start: str | None = None


MODELS = {
    "adag": Recipe(WidePrior(), steps=9_000, seed=20_320),
    "adag-nonlinear": Recipe(
        WidePrior(most_variables=20, bent=True), steps=3_000, seed=20_330, start="adag"
    ),
}


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=MODELS)
    parser.add_argument("--steps", type=int, help="fewer or more than it was made with")
    parser.add_argument("--checkpoints", type=Path)
    parser.add_argument("--output", type=Path, help="pipelines/<name> by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    recipe, here = MODELS[options.name], Path(__file__).parent
    torch.manual_seed(recipe.seed)  # the initial weights
    model = ADAG(bent=recipe.prior.bent)
    if recipe.start:
        model.load_state_dict(ADAG.from_pretrained(here / recipe.start).state_dict())
    losses = list[float]()

    def tell(step: int, loss: float) -> None:
        losses.append(loss)
        if (step + 1) % 250 == 0:
            print(f"step {step + 1}: mean loss {sum(losses[-250:]) / 250:.4f}", flush=True)

    learn(
        model,
        recipe.prior.dream,
        options.steps or recipe.steps,
        seed=recipe.seed,
        checkpoint=options.checkpoints,
        tell=tell,
    )
    model.save_pretrained(options.output or here / options.name)


if __name__ == "__main__":
    main()
