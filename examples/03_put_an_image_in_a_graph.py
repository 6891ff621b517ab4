"""Condition a frozen pretrained image generator on its parents in a confounded graph.

A shortened demonstration: the base is an unconditional DDPM that travels with the package.
A few minutes on one core; `causal-diffusers demo` measures the same against the truth.

    python examples/03_put_an_image_in_a_graph.py
"""

import argparse

import torch

import causal_diffusers as cd
from causal_diffusers.notebook import grid
from causal_diffusers.systems import FrontDoorDigits

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="few rows and steps")
parser.add_argument("--output", default="do_w.png", help="where the picture goes")
options = parser.parse_args()
num_rows, steps = (500, 2) if options.smoke else (10_000, 300)

rows = FrontDoorDigits().sample(num_rows, generator=torch.Generator().manual_seed(0))
digit = cd.Categorical(range(10))
pipe = cd.CausalPipeline.from_graph(
    "D -> W -> I -> A; D <-> A",
    variables={"D": digit, "W": digit, "I": cd.Image(1, 8, 8), "A": cd.Categorical(["no", "yes"])},
    mechanisms={
        "I": cd.DiffusionMechanism.from_pretrained("causal-diffusers/digits-ddpm", rank=8)
    },
    confounders={"U_D_A": cd.Confounder(states=4)},
)
cd.ModularTrainer(pipe, rows, config=cd.TrainingConfig(steps=steps)).train()

out = pipe(
    num_samples=80,
    do={"W": [d for d in range(10) for _ in range(8)]},
    num_inference_steps=2 if options.smoke else 20,
    generator=torch.Generator().manual_seed(1),
)
grid(out.images["I"]).save(options.output)
print(f"{out.query}: a row of eight for each digit, in {options.output}")
