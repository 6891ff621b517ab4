"""How well is an image matched that shares a hidden cause with a label, or with another image?

Against the truth of confounded digits, an exact sum. The class of a sampled image is read by
a classifier that was trained on real digits and knows all ten; what is none of the variable's
own digits counts as wrong. Beside the pipeline: the best model that ignores the confounder,
the best one that has an arrow from the label (or the second image) to the image instead, and
what a perfect sampler of as many samples would score.

    python benchmarks/confounded_image.py

A minute with `--device cuda`, a quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from causal_diffusers import CausalPipeline
from causal_diffusers.metrics import sampling_floor
from causal_diffusers.seeding import spawn
from causal_diffusers.systems import ConfoundedDigits
from causal_diffusers.training import RepresentationReport

CELLS = 5  # four classes, and what is none of them


def read(system: ConfoundedDigits, out, name: str) -> torch.Tensor:
    """Give the label of a variable, or the class that its images show."""
    images = out.images.get(name)
    return torch.tensor(out.values[name]) if images is None else system.read(name, images)


def shares(*columns: torch.Tensor, sizes: tuple[int, ...]) -> torch.Tensor:
    """Count how often each combination occurs."""
    counts = torch.zeros(sizes, dtype=torch.double)
    ones = torch.ones(len(columns[0]), dtype=torch.double)
    return counts.index_put_(columns, ones, accumulate=True) / len(columns[0])


def distance(p: torch.Tensor, q: torch.Tensor) -> float:
    return ((p - q).abs().sum() / 2).item()


def padded(truth: torch.Tensor, sizes: tuple[int, ...]) -> torch.Tensor:
    """Give classes that are none of the variable's own the probability zero."""
    full = torch.zeros(sizes, dtype=torch.double)
    full[tuple(slice(n) for n in truth.shape)] = truth
    return full


def joint(pipe: CausalPipeline, system: ConfoundedDigits, samples: int, steps: int) -> dict:
    """Compare P(x, class, partner) with the truth."""
    how = {"num_inference_steps": steps, "output_type": "pt", "batch_size": 1000}
    out = pipe(samples, generator=spawn(1, "joint"), **how)
    names = system.graph.variables
    sizes = tuple(CELLS if name in system.digits else 2 for name in names)
    truth = system.joint()
    found = shares(*(read(system, out, name) for name in names), sizes=sizes)
    floor = sampling_floor(truth.flatten(), samples, generator=spawn(2))
    return {
        "pipeline": distance(found, padded(truth, sizes)),
        "ignoring the confounder": system.ignoring_the_confounder(),
        "floor": [floor.mean, floor.upper],
    }


def under_do(pipe: CausalPipeline, system: ConfoundedDigits, samples: int, steps: int) -> dict:
    """Set X and the partner of I, and compare the classes of I with P(class | x)."""
    _, image, partner = system.graph.variables
    truth = system.joint().sum(2)
    truth = truth / truth.sum(1, keepdim=True)  # P(class of I | x), (2, 4)
    given = system.joint() / system.joint().sum(1, keepdim=True)  # P(class of I | x, partner)
    errors, arrow = [], []
    for x in range(2):
        for value in range(given.shape[2]):
            asked = set_to(system, partner, value, samples)
            out = pipe(
                samples,
                do={"X": x, partner: asked},
                outcomes=image,
                num_inference_steps=steps,
                output_type="pt",
                batch_size=1000,
                generator=spawn(3, x, value),
            )
            found = shares(read(system, out, image), sizes=(CELLS,))
            errors.append(distance(found, padded(truth[x], (CELLS,))))
            arrow.append(distance(given[x, :, value], truth[x]))
    conditions = truth.repeat_interleave(given.shape[2], dim=0)
    floor = sampling_floor(conditions, samples, generator=spawn(4))
    return {
        "pipeline, worst": max(errors),
        "pipeline, mean": sum(errors) / len(errors),
        f"an arrow {partner} -> {image}, worst": max(arrow),
        "floor": [floor.mean, floor.upper],
    }


def set_to(system: ConfoundedDigits, partner: str, value: int, samples: int):
    """Give the value of an intervention: a label, or held-out images of a digit."""
    if partner not in system.digits:
        return value
    hand = system.handwriting
    shown = hand.images[hand.held_out & (hand.digits == system.digits[partner][value])]
    return shown[torch.arange(samples) % len(shown)]


def measure(pipe: CausalPipeline, system: ConfoundedDigits, options) -> dict:
    """Print and return all figures of one case."""
    pipe.set_progress_bar_config(disable=True)
    held_out = system.sample(options.rows, generator=spawn(5))
    quick = {"num_samples": options.do_samples, "num_inference_steps": options.steps}
    report = RepresentationReport.of(pipe, held_out, **quick)
    result = {
        "joint": joint(pipe, system, options.samples, options.steps),
        "do": under_do(pipe, system, options.do_samples, options.steps),
        "reader wrong about held-out digits": {n: system.reading_error(n) for n in system.digits},
        "gains": {f"{g.image}, {g.other}": [g.mean, g.error] for g in report.gains},
        "agreement": dict(report.agreement),
    }
    print(system.graph)
    for name, figures in result.items():
        print(f"  {name}: {figures}")
    print(report)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--label", default="causal-diffusers/confounded-digits")
    parser.add_argument("--image", default="causal-diffusers/confounded-images")
    parser.add_argument("--samples", type=int, default=10_000, help="for the joint")
    parser.add_argument("--do-samples", type=int, default=2_000, help="for each intervention")
    parser.add_argument("--only", choices=("label", "image"))
    parser.add_argument("--rows", type=int, default=20_000, help="held-out rows for the report")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started, result = time.perf_counter(), {}
    cases = {"label": ConfoundedDigits.with_label, "image": ConfoundedDigits.with_image}
    for name, system in cases.items():
        if options.only in (None, name):
            where = getattr(options, name)
            pipe = CausalPipeline.from_pretrained(where).to(options.device)
            result[name] = measure(pipe, system(), options)
    result |= {"steps": options.steps, "samples": options.samples}
    result["seconds"] = time.perf_counter() - started
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
