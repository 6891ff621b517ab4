"""How far off is a model that knows of the confounder, and one that does not?

On coloured bars, P(C, BC, BW | do(D)): a pipeline, and a model of the same rows with
D -> C in the place of D <-> C, which must be off by .25. The image of all is not needed for
that. With `--pipeline` it is that one, as `pipelines/make_pipelines.py` makes it, and the values
are read again from its images, and the digit in them by a classifier.

    python benchmarks/bars.py --data FOLDER

Half a minute on one core, some minutes with images.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from image_judge import train_reader

from causal_diffusers import Categorical, CausalPipeline, ModularTrainer, TrainingConfig
from causal_diffusers.metrics import classifier_agreement, sampling_floor, total_variation
from causal_diffusers.seeding import spawn
from causal_diffusers.systems import ColoredBarMNIST
from causal_diffusers.systems.bars import read_bars

ROWS, LABELS = 40_000, ("C", "BC", "BW")
GRAPHS = {"labels": "D -> BW <- C -> BC; U: D, C", "forgetful": "D -> C; D -> BW <- C -> BC"}


def cells(values: dict[str, torch.Tensor]) -> torch.Tensor:
    """Estimate the joint of the three labels from draws, eight cells."""
    code = sum(torch.as_tensor(values[name]) << bit for bit, name in enumerate(LABELS[::-1]))
    return torch.bincount(code, minlength=8).double() / len(code)


def train_labels(graph: str, rows: dict[str, torch.Tensor]) -> CausalPipeline:
    """Train a pipeline of the labels; a forgetful one takes all association for causation."""
    bit = Categorical([0, 1])
    labels = {"D": Categorical([0, 9]), "C": bit, "BW": bit, "BC": bit}
    pipe = CausalPipeline.from_graph(GRAPHS[graph], variables=labels)
    ModularTrainer(pipe, rows, config=TrainingConfig(seed=1), held_out=0).train()
    return pipe


def worst_distance(pipe: CausalPipeline, truth: torch.Tensor, samples: int) -> float:
    """Give the worse TVD of the labels over do(D = 0) and do(D = 9)."""
    distances = []
    for row, digit in enumerate((0, 9)):
        out = pipe(samples, do={"D": digit}, outcomes=LABELS, generator=spawn(1, digit))
        distances.append(total_variation(cells(out.values), truth[row]).item())
    return max(distances)


def read_images(pipe: CausalPipeline, system: ColoredBarMNIST, truth: torch.Tensor, options):
    """Read digit and labels from images under do(D), and compare with truth and values."""
    seen = system.sample(4000, generator=spawn(2, "reader"))
    nine = (seen["D"] == 9).long()
    reader = train_reader(seen["I"], nine, steps=300, device=options.device)
    distances, right, same = [], [], []
    for row, digit in enumerate((0, 9)):
        out = pipe(
            options.samples,
            do={"D": digit},
            num_inference_steps=options.steps,
            output_type="pt",
            batch_size=1000,
            generator=spawn(3, digit),
        )
        read = read_bars(out.images["I"])
        distances.append(total_variation(cells(read), truth[row]).item())
        right.append(reader.read(out.images["I"]) == row)
        agree = [read[name] == torch.as_tensor(out.values[name]) for name in LABELS]
        same.append(torch.stack(agree).all(dim=0))
    digits, labels = (
        classifier_agreement([True] * len(v), v) for v in map(torch.cat, (right, same))
    )
    print(f"read from {options.samples} images a value: worst TVD {max(distances):.4f};")
    print(f"  digit as asked {digits}; labels as drawn {labels}")
    return {"TVD": max(distances), "digit": digits.estimate, "labels": labels.estimate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipeline", help="one with images")
    parser.add_argument("--data", help="the folder of MNIST")
    parser.add_argument("--samples", type=int, default=2000, help="images a value")
    parser.add_argument("--draws", type=int, default=100_000, help="draws of labels a value")
    parser.add_argument("--steps", type=int, default=20, help="denoising steps")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    system, started = ColoredBarMNIST(options.data), time.perf_counter()
    table = system.labels.interventional(LABELS, do="D").values
    truth = torch.as_tensor(table).reshape(8, 2).T
    rows = system.sample(ROWS, generator=spawn(2, "rows"))
    pipe = train_labels("labels", rows)
    if options.pipeline:
        pipe = CausalPipeline.from_pretrained(options.pipeline).to(options.device)
        pipe.set_progress_bar_config(disable=True)
    forgetful = train_labels("forgetful", rows)
    result = {
        "pipeline": worst_distance(pipe, truth, options.draws),
        "without the confounder": worst_distance(forgetful, truth, options.draws),
    }
    floors = {
        n: sampling_floor(truth, n, generator=spawn(4)) for n in (options.draws, options.samples)
    }
    print("worst TVD of P(C, BC, BW | do(D)):")
    for name, error in result.items():
        print(f"  {name:24} {error:.4f}")
    for n, floor in floors.items():
        print(f"  floor of {n:,} draws: {floor}")
    if options.pipeline:
        result["from images"] = read_images(pipe, system, truth, options)
    result["floors"] = {n: [floor.mean, floor.upper] for n, floor in floors.items()}
    result["seconds"] = time.perf_counter() - started
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
