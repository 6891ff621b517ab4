"""Two images in one graph, one a distant cause of the other, and a confounder for each pair.

Somebody writes a digit, a reader calls it, the same hand writes that down, and a colour is
chosen. The shipped pipeline answers for images that nobody trained on; `--train` trains a
rough one anew, in some minutes on one core.

    python examples/14_put_two_images_in_a_diamond.py [--train]
"""

import argparse

import torch

import causal_diffusers as cd
from causal_diffusers.systems import ImageDiamond

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--train", action="store_true", help="train anew")
parser.add_argument("--smoke", action="store_true", help="few rows and steps")
options = parser.parse_args()
num_rows, steps, images, draws = (200, 2, 2, 2) if options.smoke else (20_000, 400, 8, 100)

system = ImageDiamond()  # I1 -> Digit -> I2 -> Color <- Digit; I1 <-> I2; Digit <-> Color
if options.train or options.smoke:
    base = "causal-diffusers/digits-ddpm"
    pipe = cd.CausalPipeline.from_graph(
        system.graph,
        variables={
            "Digit": cd.Categorical(range(10)),
            "Color": cd.Categorical(["red", "green"]),
            "I1": cd.Image(1, 8, 8),
            "I2": cd.Image(1, 8, 8),
        },
        mechanisms={n: cd.DiffusionMechanism.from_pretrained(base) for n in ("I1", "I2")},
        confounders={u: cd.Confounder(states=4) for u in system.graph.confounders},
    )
    print(pipe.plan())
    rows = system.sample(num_rows, generator=torch.Generator().manual_seed(0))
    cd.ModularTrainer(pipe, rows, config=cd.TrainingConfig(steps=steps)).train()
else:
    pipe = cd.CausalPipeline.from_pretrained("causal-diffusers/image-diamond")

# Some images that nobody trained on, each set as the first one, many times over.
shown = system.images[system.held_out][::25][:images]
digits = system.digits[system.held_out][::25][:images]
out = pipe(
    len(shown) * draws,
    do={"I1": shown.repeat_interleave(draws, dim=0)},
    outcomes="Color",
    num_inference_steps=2 if options.smoke else 10,
    generator=torch.Generator().manual_seed(1),
)
answers = out.probabilities["Color"][:, 1].view(len(shown), draws).mean(dim=1)
truth = system.color_under_do_first()[digits]
for digit, answer, right in zip(digits.tolist(), answers.tolist(), truth.tolist(), strict=True):
    print(f"P(green | do(I1 = an image of {digit})): {answer:.3f}; truth {right:.3f}")

try:
    pipe(1, do={"Digit": 3}, outcomes="Color")
except cd.NotIdentifiableError as refusal:
    print(refusal)
