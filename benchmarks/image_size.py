"""How does the error of an answer grow with the size of the image in between?

Front-door MNIST at 8, 16, 32 and 64 pixels: the same rows, a base of its own for each size
and an adapter on it, as many steps of as many images everywhere. The worst error of
P(A | do(D)), and the digits under do(D) as a classifier of the same size reads them, each
beside a perfect sampler: of probabilities averaged, and of digits counted.

    python benchmarks/image_size.py --data FOLDER --device cuda

Some minutes on a GPU. On one core a day: fewer `--steps` or `--sizes` there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from floors import front_door_floor
from image_judge import train_reader
from mnist_front_door import ask

from causal_diffusers import CausalPipeline, Image
from causal_diffusers.metrics import sampling_floor, total_variation
from causal_diffusers.seeding import spawn
from causal_diffusers.systems import FrontDoorMNIST

sys.path.append(str(Path(__file__).parents[1] / "pipelines"))
import dataclasses

import make_bases
import make_pipelines

CHANNELS = {8: (48, 64), 16: (32, 48, 64), 32: (24, 48, 64), 64: (16, 24, 48, 64)}


def make(size: int, system: FrontDoorMNIST, options, folder: Path) -> CausalPipeline:
    """Train a base of this size, and a pipeline on it."""
    shown = system.images[~system.held_out]
    base = make_bases.Base(lambda _: shown, CHANNELS[size], "v_prediction", options.steps, size)
    base = dataclasses.replace(base, batch=options.batch, head=16)
    make_bases.train(base, None, folder / "base", options.device)
    recipe = make_pipelines.RECIPES["mnist-front-door"]
    images = dataclasses.replace(recipe.images, steps=options.steps, batch_size=options.batch)
    variables = {**recipe.variables, "I": Image(1, size, size)}
    recipe = dataclasses.replace(recipe, variables=variables, images=images, rank=16)
    recipe = make_pipelines.shortened(recipe, None, options.verdict_steps)
    torch.manual_seed(size)
    pipe = make_pipelines.make_pipeline(recipe, str(folder / "base"))
    rows = system.sample(options.rows, generator=spawn(0, "rows"))
    make_pipelines.train(recipe, pipe, rows, None)
    return pipe


def measure(size: int, options) -> dict:
    """Train at one size, and compare with the truth at this size."""
    system, started = FrontDoorMNIST(options.data, size=size), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        pipe = make(size, system, options, Path(folder)).to(options.device)
    pipe.set_progress_bar_config(disable=True)
    trained = time.perf_counter()
    answer, images = ask(pipe, "D", options.samples, options.denoising_steps)
    truth, seen = system.verdict_under_do("D"), ~system.held_out
    how = {"steps": options.reader_steps, "device": options.device}
    reader = train_reader(system.images[seen], system.digits[seen], **how)
    read = torch.nn.functional.one_hot(reader.read(images).view(10, -1), 10).double().mean(dim=1)
    distance = total_variation(read, system.written.double())
    floor = sampling_floor(system.written.double(), options.samples, generator=spawn(1))
    perfect = front_door_floor(system, "D", options.samples, generator=spawn(2))
    naive = (system.verdict_given("D") - truth).abs().max().item()
    result = {
        "size": size,
        "worst TVD of P(A | do(D))": (answer - truth).abs().max().item(),
        "floor of averaged probabilities": [perfect.mean, perfect.upper],
        "naive": naive,
        "digits, mean TVD": distance.mean().item(),
        "digits, worst TVD": distance.max().item(),
        "digits, floor of the worst": [floor.mean, floor.upper],
        "seconds of training": trained - started,
        "seconds of asking": time.perf_counter() - trained,
    }
    print(json.dumps(result), flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="the folder of MNIST")
    parser.add_argument("--sizes", type=int, nargs="*", default=[8, 16, 32, 64])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--steps", type=int, default=1_500, help="of base and adapter, each")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--verdict-steps", type=int, default=1_000)
    parser.add_argument("--samples", type=int, default=1_000, help="images a value")
    parser.add_argument("--denoising-steps", type=int, default=20)
    parser.add_argument("--reader-steps", type=int, default=1_000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = {n: v for n, v in vars(options).items() if n not in ("data", "output")}
    result = {"options": chosen, "sizes": []}
    for size in options.sizes:
        result["sizes"].append(measure(size, options))
        if options.output:
            options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
