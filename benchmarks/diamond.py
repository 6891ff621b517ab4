"""How right are the answers of a graph with two confounded images?

Against the truth of the image diamond, an exact sum: P(Color | do(I1)) and P(Color |
do(I2)) for held-out images, beside plain conditioning; and the observed joint of the two
images' styles, bold or fine, which only their confounder makes alike. The answers are
averaged probabilities, and so are those of the perfect sampler beside them. P(Color |
do(Digit)) is not identifiable, and refused.

    python benchmarks/diamond.py

A few minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from floors import diamond_errors, mean_and_worst

from causal_diffusers import CausalPipeline, NotIdentifiableError
from causal_diffusers.metrics import sampling_floor
from causal_diffusers.seeding import spawn
from causal_diffusers.systems import ImageDiamond
from causal_diffusers.systems.diamond import mean_ink
from causal_diffusers.training import RepresentationReport


def ask(pipe: CausalPipeline, name: str, images, options) -> torch.Tensor:
    """Estimate P(green | do(name = x)) for each image x."""
    out = pipe(
        len(images) * options.draws,
        do={name: images.repeat_interleave(options.draws, dim=0)},
        outcomes="Color",
        num_inference_steps=options.steps,
        generator=spawn(1, name),
    )
    return out.probabilities["Color"][:, 1].view(len(images), options.draws).mean(dim=1)


def compare(name: str, answer, truth, naive, perfect) -> dict:
    """Print errors beside those of plain conditioning and of a perfect sampler."""
    result = {}
    for who, p in (("pipeline", answer), ("naive", naive)):
        error = (p - truth).abs()
        result[who] = {"mean": error.mean().item(), "worst": error.max().item()}
        print(f"P(green | do({name} = x)), {len(truth)} held-out images, {who}: {result[who]}")
    return result | mean_and_worst(perfect)


def styles(pipe: CausalPipeline, system: ImageDiamond, options) -> dict:
    """Ask whether the two images are as often alike in style as those of the data."""
    out = pipe(
        options.samples,
        outcomes=["I1", "I2"],
        num_inference_steps=options.steps,
        output_type="pt",
        generator=spawn(2),
    )
    rows = system.sample(20_000, generator=spawn(4))
    tables = {}
    for who, images in (("pipeline", out.images), ("data", rows)):
        bold = [(mean_ink(images[name]) >= system.median).long() for name in ("I1", "I2")]
        cell = 2 * bold[0] + bold[1]
        tables[who] = torch.bincount(cell, minlength=4).double() / len(cell)
    p = tables["data"].view(2, 2)
    apart = (p.sum(1, keepdim=True) * p.sum(0, keepdim=True)).flatten()
    floor = sampling_floor(tables["data"][None], options.samples, generator=spawn(5))
    result = {
        "pipeline": 0.5 * (tables["pipeline"] - tables["data"]).abs().sum().item(),
        "ignoring the confounder": 0.5 * (apart - tables["data"]).abs().sum().item(),
        "floor": [floor.mean, floor.upper],
    }
    print(f"styles of (I1, I2), TVD: {result}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipeline", default="causal-diffusers/image-diamond")
    parser.add_argument("--draws", type=int, default=50, help="for each held-out image")
    parser.add_argument("--samples", type=int, default=2_000, help="of both images")
    parser.add_argument("--steps", type=int, default=20, help="denoising steps")
    parser.add_argument("--report", action="store_true", help="also test the codes, slowly")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    system, started = ImageDiamond(), time.perf_counter()
    pipe = CausalPipeline.from_pretrained(options.pipeline).to(options.device)
    pipe.set_progress_bar_config(disable=True)
    images, digits = system.images[system.held_out], system.digits[system.held_out]
    bold, numbers = system.bold[system.held_out], system.held_out.nonzero()[:, 0]
    perfect = {
        name: diamond_errors(system, name, numbers, options.draws, generator=spawn(3, name))
        for name in ("I1", "I2")
    }
    first, second = (ask(pipe, name, images, options) for name in ("I1", "I2"))
    result = {
        "do(I1)": compare(
            "I1",
            first,
            system.color_under_do_first()[digits],
            system.color_given_first()[digits, bold],
            perfect["I1"],
        ),
        "do(I2)": compare(
            "I2",
            second,
            system.color_under_do_second(images),
            system.color_given_second(images, digits),
            perfect["I2"],
        ),
        "styles": styles(pipe, system, options),
    }
    try:
        pipe(1, do={"Digit": 3}, outcomes="Color")
        result["P(Color | do(Digit))"] = "answered, which is wrong"
    except NotIdentifiableError as refusal:
        result["P(Color | do(Digit))"] = "refused"
        print(refusal)
    if options.report:
        held_out = system.sample(5_000, generator=spawn(6))
        report = RepresentationReport.of(pipe, held_out, num_samples=1000)
        print(report)
        result["gains"] = {f"{g.image}, {g.other}": [g.mean, g.error] for g in report.gains}
        result["agreement"] = dict(report.agreement)
    result["seconds"] = time.perf_counter() - started
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
