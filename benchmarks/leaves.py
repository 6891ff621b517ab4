"""Does a classifier of leaves stay right where the background turns against it?

Trained on the biased domain (class and background agree in 95 of 100 rows), on images of
the pipeline under do(C), do(B), each class on each background equally often, and on both;
tested on held-out real leaves in the shifted domain (they agree in 5 of 100). Accuracy by
group, the worst group, and intervals over five seeds; beside them a classifier trained on
real leaves without any bias, which is what could be had at most.

A seed draws the rows, the interventional images and the classifier anew. The pipeline is
trained once and shared by all seeds, so the intervals leave out how much a pipeline trained
again would differ.

    python benchmarks/leaves.py --data FOLDER

A quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from image_judge import train_reader

from causal_diffusers import CausalPipeline
from causal_diffusers.metrics import bootstrap_interval
from causal_diffusers.seeding import spawn
from causal_diffusers.systems import AppleLeaves
from causal_diffusers.systems.leaves import CLASSES, GROUNDS, group_shares

SEEDS = 5
SHARED = "all of them with one trained pipeline: its own training is not among what varies"


def intervene(pipe: CausalPipeline, count: int, steps: int, seed: int):
    """Draw images under do(C), do(B), all four combinations equally often."""
    classes, grounds = torch.arange(count) % 2, torch.arange(count) // 2 % 2
    out = pipe(
        count,
        do={"C": [CLASSES[c] for c in classes], "B": [GROUNDS[b] for b in grounds]},
        num_inference_steps=steps,
        output_type="pt",
        batch_size=1000,
        generator=spawn(seed, "interventional"),
    )
    return out.images["I"], classes


def test(system: AppleLeaves, images, classes, options: argparse.Namespace, seed: int):
    """Train a classifier and give its accuracy in each group of held-out leaves."""
    torch.manual_seed(seed)  # the initial weights
    how = {"steps": options.reader_steps, "seed": seed, "device": options.device}
    reader = train_reader(images, classes, batch_size=64, **how)
    return {
        f"{name} on {ground}": (reader.read(shown) == CLASSES.index(name)).float().mean().item()
        for (name, ground), shown in system.groups().items()
    }


def run(system: AppleLeaves, pipe: CausalPipeline, options: argparse.Namespace, seed: int):
    """Train the four classifiers of one seed."""
    biased = system.sample(options.rows, generator=spawn(seed, "biased"))
    fair = system.sample(options.rows, agreement=0.5, generator=spawn(seed, "fair"))
    images, classes = intervene(pipe, options.samples, options.steps, seed)
    share = max(1, len(biased["C"]) // len(classes))  # so that both halves weigh the same
    both = (
        torch.cat([biased["I"], *[images] * share]),
        torch.cat([biased["C"], *[classes] * share]),
    )
    sets = {
        "biased domain": (biased["I"], biased["C"]),
        "interventional": (images, classes),
        "both": both,
        "real, without bias": (fair["I"], fair["C"]),
    }
    return {name: test(system, *rows, options, seed) for name, rows in sets.items()}


def summarise(runs: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, list[float]]]:
    """Give mean and interval over seeds, of each group, of the worst one and of the domain."""
    shares = {f"{name} on {ground}": p for (name, ground), p in group_shares().items()}
    result = {}
    print(f"intervals over {len(runs)} seeds, {SHARED}")
    for name in runs[0]:
        rows = [dict(accuracies[name]) for accuracies in runs]
        for row in rows:
            domain = sum(p * row[group] for group, p in shares.items())
            row |= {"worst group": min(row.values()), "shifted domain": domain}
        result[name], line = {}, []
        for group in rows[0]:
            values = torch.tensor([row[group] for row in rows])
            interval = bootstrap_interval(torch.mean, values, generator=spawn(0, group))
            result[name][group] = [interval.estimate, interval.low, interval.high]
            line.append(f"{group} {interval}")
        print(f"{name}:\n  " + "\n  ".join(line), flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipeline", default="causal-diffusers/leaves")
    parser.add_argument("--data", help="the folder of the leaves")
    parser.add_argument("--disease", default="Cedar_apple_rust")
    parser.add_argument("--rows", type=int, default=4000, help="of the biased domain")
    parser.add_argument("--samples", type=int, default=2000, help="interventional images")
    parser.add_argument("--steps", type=int, default=20, help="denoising steps")
    parser.add_argument("--reader-steps", type=int, default=300)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pipe = CausalPipeline.from_pretrained(options.pipeline).to(options.device)
    pipe.set_progress_bar_config(disable=True)
    system, started = AppleLeaves(options.data, disease=options.disease), time.perf_counter()
    result = summarise([run(system, pipe, options, seed) for seed in range(SEEDS)])
    gain = result["interventional"]["worst group"][0] - result["biased domain"]["worst group"][0]
    print(f"worst group, interventional over biased: {gain:+.3f}")
    if options.output:
        seconds = time.perf_counter() - started
        record = {**result, "intervals": f"over {SEEDS} seeds, {SHARED}", "seconds": seconds}
        options.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
