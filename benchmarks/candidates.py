"""What does it bring to denoise towards all that an image may have been?

The adapter of a digit learns what was written from the same rows, in the same order and in
the same number of steps, once towards the one image that was noised and once towards the mean
of all images that it may have been (`training/candidates`). An independent classifier reads
what is then drawn.

    python benchmarks/candidates.py

Four minutes on one core, on scikit-learn's digits; with `--data FOLDER` on MNIST.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from image_judge import train_reader

from causal_diffusers import Categorical, DiffusionMechanism, Image, TrainingConfig
from causal_diffusers.mechanisms import SamplingOptions
from causal_diffusers.metrics import classifier_agreement
from causal_diffusers.systems import FrontDoorDigits, FrontDoorMNIST
from causal_diffusers.training import DenoisingObjective, Rows, train_stage

DIGIT = Categorical(range(10))


class Plain(DenoisingObjective):
    """Denoise towards the one image."""

    def prepare(self, rows, seed, device) -> None:
        """Keep no images that it may have been."""


OBJECTIVES = {"the image itself": Plain, "candidates": DenoisingObjective}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="the folder of MNIST")
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 200])
    parser.add_argument("--samples", type=int, default=200, help="images a digit")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)  # the initial weights of the reader
    system = FrontDoorMNIST(options.data) if options.data else FrontDoorDigits()
    base = "causal-diffusers/mnist-ldm" if options.data else "causal-diffusers/digits-ddpm"
    seen = ~system.held_out
    images, digits = system.images[seen], system.digits[seen]
    reader = train_reader(images, digits, steps=700)
    variables = {"W": DIGIT, "I": Image(*images.shape[1:])}
    rows = Rows({"I": images, "W": digits}, variables)
    asked = torch.arange(10).repeat(options.samples)
    result = {}
    for steps in options.steps:
        for name, objective in OBJECTIVES.items():
            torch.manual_seed(1)  # the initial weights of the adapter
            mechanism = DiffusionMechanism.from_pretrained(base, rank=16)
            mechanism.bind(variables["I"], {"W": DIGIT}, {})
            started = time.process_time()
            config = TrainingConfig(steps=steps, batch_size=64)
            train_stage(objective("I", mechanism), rows, config, label="I")  # the same draws
            seconds = time.process_time() - started
            drawn = mechanism.sample(
                {"W": asked},
                {},
                num_samples=len(asked),
                generator=torch.Generator().manual_seed(2),
                options=SamplingOptions(num_inference_steps=10, batch_size=500),
            )
            right = classifier_agreement(asked, reader.read((drawn + 1) / 2))
            print(f"{steps:5} steps towards {name:18} {right}  {seconds:6.1f} s", flush=True)
            result[f"{steps} steps, {name}"] = {"right": right.estimate, "seconds": seconds}
        first, second = (1 - result[f"{steps} steps, {name}"]["right"] for name in OBJECTIVES)
        print(f"      wrong digits: {second / first if first else float('nan'):.2f} times")
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
