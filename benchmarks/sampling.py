"""What does a pipeline cost beyond its denoiser, and what does the adapter cost?

In one run, taking turns, on the shipped pipeline and with the same number of steps:

- the pipeline's call, against a bare denoising loop on the same adapted UNet with its
  gates already set: the overhead of the causal part;
- that bare loop against the same loop on the untouched base: the cost of the adapter.

    python benchmarks/sampling.py

Two minutes on one core.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time

import torch
from diffusers import DPMSolverMultistepScheduler

from causal_diffusers import CausalPipeline
from causal_diffusers.backbones import load_backbone


def denoise(unet, scheduler, images: int, steps: int) -> torch.Tensor:
    """Run the plain diffusers loop."""
    x = torch.randn(images, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    scheduler.set_timesteps(steps)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(unet(x, t, return_dict=False)[0], t, x, return_dict=False)[0]
    return x


def seconds(function) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pipe = CausalPipeline.from_pretrained("causal-diffusers/digits-front-door")
    pipe.set_progress_bar_config(disable=True)
    base, _ = load_backbone("causal-diffusers/digits-ddpm")
    mechanism = pipe.components["I"]
    scheduler = DPMSolverMultistepScheduler.from_config(base.scheduler.config)
    n, steps = options.images, options.steps
    asked = {"W": [i % 10 for i in range(n)]}

    def pipeline() -> None:
        pipe(n, do=asked, outcomes="I", num_inference_steps=steps, output_type="pt")

    pipeline()  # also sets the gates, which the bare loop then finds
    mechanism.gates.set_context(torch.zeros(n, mechanism.gates.trunk[0].in_features))
    gates = [g.detach().clone() for g in mechanism.gates.gates]

    def adapted() -> None:
        mechanism.gates.gates = gates
        denoise(mechanism.backbone.unet, copy.deepcopy(scheduler), n, steps)

    def untouched() -> None:
        denoise(base.unet, copy.deepcopy(scheduler), n, steps)

    for contender in (pipeline, adapted, untouched):
        contender()
    times = [[seconds(f) for f in (pipeline, adapted, untouched)] for _ in range(options.repeats)]
    overhead = statistics.median(p / a for p, a, _ in times)
    cost = statistics.median(a / u for _, a, u in times)
    rates = [n * steps / statistics.median(column) for column in zip(*times, strict=True)]
    print(f"{n} images, {steps} steps, median of {options.repeats} turns")
    for name, rate in zip(("pipeline", "bare, adapted", "bare, base"), rates, strict=True):
        print(f"  {name:14} {rate:8.0f} image-steps/s")
    print(f"  pipeline / bare loop on the same adapted UNet: {overhead:.3f}")
    print(f"  adapted UNet / untouched base: {cost:.3f}")


if __name__ == "__main__":
    main()
