"""How right are the answers and the images of the shipped pipeline?

Against the truth of front-door digits, which is an exact sum: P(A | do(D)), P(A | do(W))
and P(A | do(I)) for held-out images, beside the naive conditional, a constant, the tabular
front-door, which needs no image, and a perfect sampler, whose probabilities are averaged
(to compare with the pipeline) or whose labels are counted (with its drawn labels). Then the
digits in images under do(W), as an independent classifier reads them.

    python benchmarks/digits_front_door.py [--pipeline causal-diffusers/digits-front-door]

Ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler
from floors import NAME, front_door_floor, image_errors, mean_and_worst

from causal_diffusers import CausalPipeline
from causal_diffusers.backbones import load_backbone
from causal_diffusers.metrics import sampling_floor
from causal_diffusers.seeding import spawn
from causal_diffusers.systems import FrontDoorDigits

ROWS = 200_000


def binary_tvd(p, q) -> torch.Tensor:
    """Measure the total variation between Bernoulli distributions."""
    return (p - q).abs()


def answers(pipe: CausalPipeline, variable: str, samples: int, steps: int):
    """Ask P(A = 1 | do(variable = v)) for all ten values: averaged, and drawn."""
    averaged, drawn = [], []
    for value in range(10):
        out = pipe(
            num_samples=samples,
            do={variable: value},
            outcomes="A",
            num_inference_steps=steps,
            generator=spawn(1, variable, value),
        )
        averaged.append(out.probabilities["A"][:, 1].mean())
        drawn.append(torch.tensor(out.values["A"]).double().mean())
    return torch.stack(averaged), torch.stack(drawn)


def chain(pipe: CausalPipeline, system: FrontDoorDigits, samples: int, steps: int) -> dict:
    """Compare the answers about D and W with the truth and with what else there is."""
    rows = system.sample(ROWS, generator=spawn(2, "rows"))
    result = {}
    for variable in ("D", "W"):
        truth = system.verdict_under_do(variable)
        averaged, drawn = answers(pipe, variable, samples, steps)
        others = {
            "pipeline": averaged,
            "drawn labels": drawn,
            "naive": system.verdict_given(variable),
            "constant": truth.mean().expand(10),
            "tabular front-door": system.tabular_front_door(rows, variable),
        }
        worst = {name: binary_tvd(p, truth).max().item() for name, p in others.items()}
        floor = sampling_floor(
            torch.stack([1 - truth, truth], dim=1), samples, generator=spawn(3, variable)
        )
        print(f"worst TVD over do({variable}):")
        for name, error in worst.items():
            print(f"  {name:20} {error:.4f}")
        floors = {
            NAME: front_door_floor(system, variable, samples, generator=spawn(3, variable)),
            "floor of drawn labels": floor,
        }
        for name, each in floors.items():
            print(f"  {name}: {each}")
        result[variable] = worst | {name: [f.mean, f.upper] for name, f in floors.items()}
    return result


def held_out(pipe: CausalPipeline, system: FrontDoorDigits, draws: int = 512) -> dict:
    """Ask P(A | do(I = x)) for the 200 images that nobody trained on."""
    images, digits = system.images[system.held_out], system.digits[system.held_out]
    out = pipe(
        num_samples=len(images) * draws,
        do={"I": images.repeat_interleave(draws, dim=0)},
        outcomes="A",
        output_type="pt",
        generator=spawn(4),
    )
    answer = out.probabilities["A"][:, 1].view(len(images), draws).mean(dim=1)
    truth = system.verdict_under_do_image(images)
    naive = system.verdict_given_image(images, digits)
    errors = {"pipeline": binary_tvd(answer, truth), "naive": binary_tvd(naive, truth)}
    for name, error in errors.items():
        print(f"do(I), held out: {name:10} mean {error.mean():.4f}, worst {error.max():.4f}")
    result = {name: [e.mean().item(), e.max().item()] for name, e in errors.items()}
    perfect = image_errors(system.verdict(images), draws, generator=spawn(4, "floor"))
    return {**result, **mean_and_worst(perfect)}


def legibility(pipe: CausalPipeline, system: FrontDoorDigits, steps: int) -> dict:
    """Read the digits in 1,000 images under do(W) with an SVC trained on real ones."""
    from sklearn.svm import SVC

    seen = ~system.held_out
    reader = SVC(gamma=0.256, C=10).fit(system.images[seen].flatten(1), system.digits[seen])
    held = system.images[system.held_out].flatten(1), system.digits[system.held_out]
    asked = torch.arange(10).repeat_interleave(100)
    out = pipe(
        num_samples=1000,
        do={"W": asked.tolist()},
        outcomes="I",
        num_inference_steps=steps,
        output_type="pt",
        generator=spawn(5),
    )
    images = out.images["I"]
    read = torch.as_tensor(reader.predict(images.flatten(1)))
    real, digits = system.images[seen], system.digits[seen]
    spread = [
        (images[asked == w].var(dim=0).sum() / real[digits == w].var(dim=0).sum()).item()
        for w in range(10)
    ]
    result = {
        "reader on real digits": reader.score(*held),
        "asked digit read": (read == asked).float().mean().item(),
        "pixel variance within a digit, generated / real": [min(spread), max(spread)],
    }
    for name, value in result.items():
        print(f"{name}: {value}")
    return result


def frechet(a: torch.Tensor, b: torch.Tensor, real: torch.Tensor) -> float:
    """Measure the Frechet distance of images over 30 principal components of real pixels."""
    axes = torch.linalg.svd(real - real.mean(0), full_matrices=False).Vh[:30].T
    a, b = ((x - real.mean(0)) @ axes for x in (a, b))
    root = torch.linalg.eigvals(a.T.cov() @ b.T.cov()).real.clamp(min=0).sqrt().sum()
    traces = a.T.cov().trace() + b.T.cov().trace()
    return ((a.mean(0) - b.mean(0)).square().sum() + traces - 2 * root).item()


def base_quality(system: FrontDoorDigits, samples: int = 400, steps: int = 20) -> dict:
    """Compare samples of the unconditional base with the real images."""
    base, _ = load_backbone("causal-diffusers/digits-ddpm")
    scheduler = DPMSolverMultistepScheduler.from_config(base.scheduler.config)
    scheduler.set_timesteps(steps)
    x = torch.randn(samples, 1, 8, 8, generator=spawn(6, "base"))
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(base(x, t), t, x, return_dict=False)[0]
    made = (x / 2 + 0.5).clamp(0, 1).flatten(1).double()
    real = system.images.flatten(1).double()
    some = real[torch.randperm(len(real), generator=spawn(6, "real"))[:samples]]
    result = {"base": frechet(made, real, real), "real": frechet(some, real, real)}
    print(f"Frechet distance of {samples} images to all real ones: {result}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipeline", default="causal-diffusers/digits-front-door")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pipe = CausalPipeline.from_pretrained(options.pipeline)
    pipe.set_progress_bar_config(disable=True)
    system, started = FrontDoorDigits(), time.perf_counter()
    adapter = pipe.components["I"].trainable_state()
    trained = sum(p.numel() for p in adapter.values())
    frozen = sum(p.numel() for p in pipe.components["I"].parameters()) - trained
    print(f"adapter: {trained:,} trainable parameters beside {frozen:,} frozen ones")
    result = {
        "adapter": {"trainable": trained, "frozen": frozen},
        "Frechet": base_quality(system),
        "do(I)": held_out(pipe, system),
        "images": legibility(pipe, system, options.steps),
        "chain": chain(pipe, system, options.samples, options.steps),
        "steps": options.steps,
        "samples": options.samples,
        "seconds": time.perf_counter() - started,
    }
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
