"""How right are the answers about a consequence that the X-ray mediates?

Against the truth of the chest X-ray system, an exact sum: P(N | do(C)) beside the naive
conditional, which points the other way; P(N | do(X)) for held-out X-rays; both beside a
perfect sampler whose probabilities are averaged as the pipeline's are; the class of the
images under do(C), as an independent classifier reads it; FID beside that of the base.

    python benchmarks/xrays.py --data FOLDER

Ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from floors import NAME, image_errors, mean_and_worst, xray_floor
from image_judge import sample_base, train_reader

from causal_diffusers import CausalPipeline
from causal_diffusers.inference import diagnose
from causal_diffusers.metrics import frechet_distance
from causal_diffusers.seeding import spawn
from causal_diffusers.systems import ChestXrays


def ask(pipe: CausalPipeline, samples: int, steps: int):
    """Draw (X, N) under do(C = c): probabilities of N and images."""
    answers, images = [], []
    for value in (0, 1):
        out = pipe(
            samples,
            do={"C": value},
            outcomes=["X", "N"],
            num_inference_steps=steps,
            output_type="pt",
            batch_size=1000,
            generator=spawn(1, value),
        )
        answers.append(out.probabilities["N"][:, 1].mean())
        images.append(out.images["X"])
    return torch.stack(answers), torch.stack(images)


def compare_answers(system: ChestXrays, answer: torch.Tensor, samples: int) -> dict:
    """Compare P(N = 1 | do(C)) with the truth and with plain conditioning."""
    truth, naive = system.under_do(), system.given()
    floor = xray_floor(system, samples, generator=spawn(2, "floor"))
    rows = {"truth": truth, "pipeline": answer, "naive": naive}
    for name, p in rows.items():
        worst = (p - truth).abs().max().item()
        print(f"P(N=1 | do(C=0)), P(N=1 | do(C=1)): {name:9} {p[0]:.4f} {p[1]:.4f}  ({worst:.4f})")
    print(f"  {NAME}: {floor}")
    return {name: p.tolist() for name, p in rows.items()} | {NAME: [floor.mean, floor.upper]}


def held_out(pipe: CausalPipeline, system: ChestXrays, draws: int = 64) -> dict:
    """Ask P(N | do(X = x)) for the X-rays that nobody trained on."""
    images, classes = system.images[system.held_out], system.classes[system.held_out]
    out = pipe(
        len(images) * draws,
        do={"X": images.repeat_interleave(draws, dim=0)},
        outcomes="N",
        generator=spawn(3),
    )
    answer = out.probabilities["N"][:, 1].view(len(images), draws).mean(dim=1)
    truth = system.under_do_image(images)
    errors = {
        "pipeline": (answer - truth).abs(),
        "naive": (system.given_image(images, classes) - truth).abs(),
    }
    for name, e in errors.items():
        print(f"do(X), held out: {name:9} mean {e.mean():.4f}, worst {e.max():.4f}")
    result = {name: [e.mean().item(), e.max().item()] for name, e in errors.items()}
    perfect = image_errors(system.consequence(images), draws, generator=spawn(3, "floor"))
    return {**result, **mean_and_worst(perfect)}


def overlap(pipe: CausalPipeline, system: ChestXrays) -> dict:
    """Ask whether the data support the front-door, and whether they would without slips."""
    result = {}
    for name, agreement in (("as it is", system.by_label[1, 1].item()), ("X gives C away", 1.0)):
        system.by_label = torch.tensor([[agreement, 1 - agreement], [1 - agreement, agreement]])
        rows = system.sample(3000, generator=spawn(7, "rows"))
        report = diagnose(pipe, pipe.identify("N", do="C"), rows)
        print(f"overlap, {name}:\n{report}")
        result[name] = report.is_supported
    return result


def judge(pipe: CausalPipeline, system: ChestXrays, images: torch.Tensor, options) -> dict:
    """Read the class in the images, and compare their quality with that of the base."""
    seen, held = ~system.held_out, system.held_out
    normal, ill = ((seen & (system.classes == k)).nonzero()[:, 0] for k in (0, 1))
    balanced = torch.cat([normal, ill[: len(normal)]])
    reader = train_reader(
        system.images[balanced],
        system.classes[balanced],
        steps=options.reader_steps,
        device=options.device,
    )
    score = (reader.read(system.images[held]) == system.classes[held]).float().mean().item()
    shares = [(reader.read(part) == 1).float().mean().item() for part in images]
    real = [
        (reader.read(system.images[seen & (system.classes == k)]) == 1).float().mean()
        for k in (0, 1)
    ]
    expected = [(p * torch.stack(real)).sum().item() for p in system.by_label]
    print(f"reader on held-out X-rays {score:.3f}; reads pneumonia under do(C=0), do(C=1):")
    print(f"  {shares[0]:.3f} {shares[1]:.3f}, in real images {expected[0]:.3f} {expected[1]:.3f}")
    few = images.flatten(0, 1)
    repo, how = pipe.components["X"].base_reference.repo, {"device": options.device}
    base = sample_base(repo, len(few), steps=options.steps, **how)
    numbers = [normal, ill]
    target = torch.cat([n[torch.randint(len(n), (1000,), generator=spawn(5))] for n in numbers])
    features = reader.describe(system.images[target])
    result = {"reader": score, "pneumonia read": shares, "expected": expected}
    for name, made in (("conditioned", few), ("base", base)):
        distance = frechet_distance(features, reader.describe(made), generator=spawn(4, name))
        print(f"FID of {len(made)} {name} images: {distance}")
        result[f"FID {name}"] = distance.value
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipeline", default="causal-diffusers/xrays")
    parser.add_argument("--data", help="the folder of PneumoniaMNIST")
    parser.add_argument("--samples", type=int, default=2000, help="images a value")
    parser.add_argument("--steps", type=int, default=20, help="denoising steps")
    parser.add_argument("--reader-steps", type=int, default=300)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)  # the initial weights of the reader
    system, started = ChestXrays(options.data), time.perf_counter()
    pipe = CausalPipeline.from_pretrained(options.pipeline).to(options.device)
    pipe.set_progress_bar_config(disable=True)
    answer, images = ask(pipe, options.samples, options.steps)
    result = {
        "answers": compare_answers(system, answer, options.samples),
        "do(X)": held_out(pipe, system),
        "images": judge(pipe, system, images, options),
        "overlap": overlap(pipe, ChestXrays(options.data)),
        "samples": options.samples,
        "steps": options.steps,
        "seconds": time.perf_counter() - started,
    }
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
