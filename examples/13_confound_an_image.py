"""Confound an image with a label: a hidden cause that chooses both, through a frozen generator.

The confounder acts through a code that is read from the image. The report says whether the
code holds what it must. A few minutes on one core.

    python examples/13_confound_an_image.py
"""

import argparse

import torch

import causal_diffusers as cd
from causal_diffusers.systems import ConfoundedDigits
from causal_diffusers.training import RepresentationReport

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="few rows and steps")
options = parser.parse_args()
num_rows, steps, samples = (300, 2, 8) if options.smoke else (20_000, 600, 400)

system = ConfoundedDigits.with_label()  # X -> I, X -> L and a hidden U of both
rows = system.sample(num_rows, generator=torch.Generator().manual_seed(0))
held_out = system.sample(num_rows // 2, generator=torch.Generator().manual_seed(1))
pipe = cd.CausalPipeline.from_graph(
    system.graph,
    system.variables,
    {"I": cd.DiffusionMechanism.from_pretrained("causal-diffusers/digits-ddpm", codes=16)},
    {"U": cd.Confounder(states=8)},
)
print(pipe.plan())
config = cd.TrainingConfig(steps=steps)
cd.ModularTrainer(pipe, rows, config=config).train()

quick = {"num_samples": samples, "num_inference_steps": 2 if options.smoke else 10}
print(RepresentationReport.of(pipe, held_out, config=cd.TrainingConfig(steps=steps), **quick))

# No arrow runs from the label to the image: setting the label leaves the digits alone.
for label in (0, 1):
    out = pipe(
        samples,
        do={"X": 0, "L": label},
        outcomes="I",
        num_inference_steps=quick["num_inference_steps"],
        output_type="pt",
        generator=torch.Generator().manual_seed(2),
    )
    shares = system.read("I", out.images["I"]).bincount(minlength=5) / samples
    print(f"{out.query}: digits 0 to 3 {[round(s, 2) for s in shares[:4].tolist()]}")
