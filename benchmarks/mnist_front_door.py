"""How right are the answers and the images of the two pipelines on MNIST?

Against the truth of front-door MNIST, which is an exact sum: P(A | do) averaged over the
images of each value, beside a perfect sampler whose probabilities are averaged likewise (and
one whose labels are counted); the digits in them as an independent classifier reads them, for
`mnist-front-door` under do(D), where the image is a mixture, and for `mnist-written` under
do(W). FID takes the features of that classifier, against the held-out images: that of the
conditioned model beside that of the frozen base alone.

    python benchmarks/mnist_front_door.py mnist-front-door mnist-written --data FOLDER

A minute or two with `--device cuda`; ten minutes for each on one core with `--steps 10`, which is
how the committed figures were made.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from floors import NAME, front_door_floor
from image_judge import Reader, sample_base, train_reader

from causal_diffusers import CausalPipeline
from causal_diffusers.metrics import (
    classifier_agreement,
    frechet_distance,
    sampling_floor,
    total_variation,
)
from causal_diffusers.seeding import spawn
from causal_diffusers.systems import FrontDoorMNIST

ROWS = 150_000
ASKED = {"mnist-front-door": "D", "mnist-written": "W"}


def ask(pipe: CausalPipeline, variable: str, samples: int, steps: int):
    """Draw (I, A) under do(variable = v) for all ten values: probabilities and images."""
    verdicts, images = [], []
    for value in range(10):
        out = pipe(
            num_samples=samples,
            do={variable: value},
            outcomes=["I", "A"],
            num_inference_steps=steps,
            output_type="pt",
            batch_size=1000,
            generator=spawn(1, variable, value),
        )
        verdicts.append(out.probabilities["A"][:, 1].mean())
        images.append(out.images["I"])
    return torch.stack(verdicts), torch.cat(images)


def compare_answers(system: FrontDoorMNIST, variable: str, answer: torch.Tensor, samples: int):
    """Compare P(A = 1 | do(variable)) with the truth and with what else there is."""
    truth = system.verdict_under_do(variable)
    rows = system.sample(ROWS, generator=spawn(2, "rows"))
    others = {
        "pipeline": answer,
        "naive": system.verdict_given(variable),
        "constant": truth.mean().expand(10),
        "tabular front-door (sees W)": system.tabular_front_door(rows, variable),
    }
    worst = {name: (p - truth).abs().max().item() for name, p in others.items()}
    cells = torch.stack([1 - truth, truth], dim=1)
    floor = sampling_floor(cells, samples, generator=spawn(3, variable))
    print(f"worst TVD of P(A | do({variable})), {samples} images a value:")
    for name, error in worst.items():
        print(f"  {name:28} {error:.4f}")
    floors = {
        NAME: front_door_floor(system, variable, samples, generator=spawn(3, variable)),
        "floor of drawn labels": floor,
    }
    for name, each in floors.items():
        print(f"  {name}: {each}")
    return worst | {name: [each.mean, each.upper] for name, each in floors.items()}


def compare_digits(system: FrontDoorMNIST, variable: str, read: torch.Tensor):
    """Compare the digits read under do(variable) with the distribution of W."""
    truth = system.written if variable == "D" else torch.eye(10)
    found = torch.nn.functional.one_hot(read.view(10, -1), 10).double().mean(dim=1)
    tvd = total_variation(found, truth.double())
    asked = torch.arange(10).repeat_interleave(len(read) // 10)
    agreement = classifier_agreement(asked, read)
    print(f"digits read under do({variable}): mean TVD {tvd.mean():.4f}, worst {tvd.max():.4f};")
    print(f"  the value of {variable} itself: {agreement}")
    return {
        "mean TVD": tvd.mean().item(),
        "worst TVD": tvd.max().item(),
        "value itself": agreement.estimate,
    }


def compare_quality(
    reader: Reader, system: FrontDoorMNIST, made: torch.Tensor, base: torch.Tensor
):
    """Give FID of the conditioned images and of the base, both to the held-out images."""
    real = reader.describe(system.images[system.held_out])
    result = {}
    for name, images in (("conditioned", made), ("base", base)):
        features = reader.describe(images)
        distance = frechet_distance(real, features, generator=spawn(4, name))
        print(f"FID of {len(images)} {name} images: {distance}")
        result[name] = distance.value
    result["ratio"] = result["conditioned"] / result["base"]
    print(f"  ratio {result['ratio']:.3f}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=ASKED)
    parser.add_argument("--data", help="the folder of MNIST")
    parser.add_argument("--folder", type=Path, help="of the pipelines, if not the shipped ones")
    parser.add_argument("--samples", type=int, default=2000, help="images a value")
    parser.add_argument("--steps", type=int, default=20, help="denoising steps")
    parser.add_argument("--reader-steps", type=int, default=2500)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)  # the initial weights of the reader
    system, started = FrontDoorMNIST(options.data), time.perf_counter()
    seen, held = ~system.held_out, system.held_out
    reader = train_reader(
        system.images[seen],
        system.digits[seen],
        steps=options.reader_steps,
        device=options.device,
    )
    score = (reader.read(system.images[held]) == system.digits[held]).float().mean().item()
    print(f"reader on held-out digits: {score:.4f}")
    result = {"reader": score, "samples": options.samples, "steps": options.steps}
    result["device"] = options.device
    for name in options.names:
        source = options.folder / name if options.folder else f"causal-diffusers/{name}"
        pipe = CausalPipeline.from_pretrained(source).to(options.device)
        pipe.set_progress_bar_config(disable=True)
        print(f"\n{name}: {pipe.graph}")
        answer, images = ask(pipe, ASKED[name], options.samples, options.steps)
        few = images[torch.randperm(len(images), generator=spawn(5))[:5000]]
        repo = pipe.components["I"].base_reference.repo
        base = sample_base(repo, len(few), steps=options.steps, device=options.device)
        result[name] = {
            "answers": compare_answers(system, ASKED[name], answer, options.samples),
            "digits": compare_digits(system, ASKED[name], reader.read(images)),
            "FID": compare_quality(reader, system, few, base),
        }
    result["seconds"] = time.perf_counter() - started
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
