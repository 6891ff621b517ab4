"""Can a third party's GAN be told what to draw, without losing what it can draw?

A frozen DCGAN that somebody else trained on MNIST, and never saw a label, becomes the
image mechanism of a graph. What it draws is read by an independent classifier, of another
architecture and trained on other images than the mechanism's own.

* `balanced`, D -> I: is the digit the one that was asked for? Within a digit, how far are
  the images from real ones (FID and KID on features of the independent classifier), and
  how far from each other, beside the generator's own images of that digit?
* `unbalanced`, C -> I: a binary cause that is only noisily related to the digit, on data
  whose digits are far from the generator's own. The truth P(digit | do(C)) is the table
  that the data were drawn from. Beside it, what is answered when the odds of data against
  generator are left out: there the third party's class balance leaks into the answer.

    python benchmarks/gan.py --generator FOLDER [--output benchmarks/results/gan.json]

FOLDER is what `causal-diffusers convert-generator` writes; MNIST is found in the folder that
CAUSAL_DIFFUSERS_DATA names. A few minutes with `--device cuda`; on one core a quarter of an
hour with `--samples 300 --unbalanced 500`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import nn

from causal_diffusers import (
    Categorical,
    CausalPipeline,
    GANMechanism,
    Image,
    ModularTrainer,
    TrainingConfig,
)
from causal_diffusers.metrics import (
    extract_features,
    frechet_distance,
    kernel_distance,
    sampling_floor,
    total_variation,
)
from causal_diffusers.seeding import spawn
from causal_diffusers.systems.mnist import load_mnist

# P(digit | do(C)): the even digits are likelier under C = 1, and low digits under both.
OFTEN = torch.tensor([22.0, 17, 14, 11, 9, 8, 7, 5, 4, 3])
EVEN = torch.arange(10) % 2 == 0
TRUTH = torch.stack([OFTEN * torch.where(bool(c) == EVEN, 3.0, 1.0) for c in (0, 1)])
TRUTH = TRUTH / TRUTH.sum(dim=1, keepdim=True)


class Independent(nn.Module):
    """A LeNet: another architecture than the mechanism's own classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 12, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(12, 24, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(600, 32), nn.ReLU()),
        )
        self.head = nn.Linear(32, 10)

    def forward(self, images):
        return self.head(self.body(images))


def train_independent(images, digits, steps, device) -> Independent:
    """Train the classifier that the mechanism never sees."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Independent().to(device)
    adam = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 3e-3, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(images), (128,), generator=spawn(1, step))
        logits = network(images[rows].to(device))
        loss = nn.functional.cross_entropy(logits, digits[rows].to(device))
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def read(network, images):
    """Give the probability of each digit."""
    device = network.head.weight.device
    parts = images.split(256)
    return torch.cat([network(part.to(device)).softmax(dim=1).cpu() for part in parts])


def image(pixels):
    """Turn 8-bit images into what mechanisms work with."""
    return pixels[:, None].float() / 127.5 - 1


def make(graph, parent, generator, candidates) -> CausalPipeline:
    """Put the generator into a graph."""
    return CausalPipeline.from_graph(
        graph,
        {parent.pop("name"): Categorical(**parent), "I": Image(1, 28, 28)},
        {"I": GANMechanism.from_pretrained(generator, candidates=candidates)},
    )


def train(pipe, rows, options) -> tuple[float, bool]:
    """Train; give the seconds, and whether the generator is bit-identical after it."""
    before = {name: t.clone() for name, t in pipe.I.backbone.state_dict().items()}
    started = time.perf_counter()
    config = TrainingConfig(steps=options.steps, seed=options.seed)
    ModularTrainer(pipe, rows, config=config).train()
    seconds = time.perf_counter() - started
    after = pipe.I.backbone.state_dict()
    identical = all(torch.equal(before[name], after[name].cpu()) for name in before)
    pipe.to(options.device)
    return seconds, identical


def draw(pipe, name, value, number, options):
    """Sample images under do(name = value), in [-1, 1]."""
    out = pipe(
        number,
        do={name: value},
        outcomes=["I"],
        output_type="pt",
        generator=spawn(options.seed, name, value),
    )
    return 2 * out.images["I"].cpu() - 1


def own_images(backbone, classifier, number):
    """Sample the generator until it has drawn enough of each digit; give its balance too."""
    stream, images = spawn(2, "own"), []
    digits = torch.zeros(0, dtype=torch.int64)
    with torch.no_grad():
        while len(digits) == 0 or digits.bincount(minlength=10).min() < number:
            z = torch.randn(500, backbone.latent_dim, generator=stream)
            images.append(backbone(z.to(next(backbone.parameters()).device)).cpu())
            digits = torch.cat([digits, read(classifier, images[-1]).argmax(dim=1)])
    whole, balance = torch.cat(images), digits.bincount(minlength=10) / len(digits)
    return [whole[digits == d][:number] for d in range(10)], balance


def spread(images) -> float:
    """Measure the mean distance between two images, in pixels."""
    return nn.functional.pdist(images.flatten(1)).mean().item()


def balanced(options, classifier, training, test) -> dict:
    """Ask for each digit."""
    pixels, digits = training
    parent = {"name": "D", "labels": list(range(10))}
    pipe = make("D -> I", parent, options.generator, options.candidates)
    seconds, identical = train(pipe, {"D": digits, "I": pixels}, options)
    own, balance = own_images(pipe.I.backbone, classifier, options.samples)
    rows, started = [], time.perf_counter()
    for digit in range(10):
        made = draw(pipe, "D", digit, options.samples, options)
        real = image(test[0][test[1] == digit][: options.samples])
        shown = [x.to(options.device) for x in (real, made, own[digit])]
        looks = [extract_features(x, classifier.body).cpu() for x in shown]
        row = {"right": (read(classifier, made).argmax(dim=1) == digit).double().mean().item()}
        for name, distance in (("fid", frechet_distance), ("kid", kernel_distance)):
            scores = [distance(looks[0], x, generator=spawn(3, name), repeats=1) for x in looks]
            row |= {name: scores[1].value, f"own {name}": scores[2].value}
        row |= {"spread": spread(made), "own spread": spread(own[digit])}
        rows.append(row)
        print(digit, {key: round(value, 3) for key, value in row.items()}, flush=True)
    chosen = pipe.I.effective_candidates(
        {"D": (torch.arange(100) % 10).to(options.device)},
        num_samples=100,
        generator=spawn(4, "candidates"),
    )
    sums = {key: sum(row[key] for row in rows) for key in rows[0]}
    summary = {
        "asked digit obtained": sums["right"] / 10,
        "worst digit": min(row["right"] for row in rows),
        "FID to own, mean of ratios": sum(r["fid"] / r["own fid"] for r in rows) / 10,
        "FID to own, worst digit": max(r["fid"] / r["own fid"] for r in rows),
        "KID to own, ratio of means": sums["kid"] / sums["own kid"],
        "spread to own, mean": sum(r["spread"] / r["own spread"] for r in rows) / 10,
        "spread to own, worst digit": min(r["spread"] / r["own spread"] for r in rows),
        "effective candidates": chosen.mean().item(),
        "generator bit-identical": identical,
        "training seconds": seconds,
        "sampling seconds": time.perf_counter() - started,
    }
    print(json.dumps(summary, indent=2), flush=True)
    return {**summary, "generator's own balance": balance.tolist(), "digits": rows}


def unbalanced(options, classifier, training) -> dict:
    """Ask what a noisy cause does, on data with another balance of digits."""
    pixels, digits = training
    stream, number = spawn(5, "rows"), len(digits)
    C = torch.randint(2, (number,), generator=stream)
    wanted = torch.multinomial(TRUTH[C], 1, generator=stream).squeeze(1)
    places = [(digits == d).nonzero().squeeze(1) for d in range(10)]
    uniform = torch.rand(number, generator=stream)
    chosen = [places[d][int(u * len(places[d]))] for d, u in zip(wanted, uniform, strict=True)]
    parent = {"name": "C", "labels": [0, 1]}
    pipe = make("C -> I", parent, options.generator, options.candidates)
    seconds, identical = train(pipe, {"C": C, "I": pixels[torch.stack(chosen)]}, options)
    made = [draw(pipe, "C", c, options.unbalanced, options) for c in (0, 1)]
    with torch.no_grad():
        for parameter in pipe.I.reader.odds.parameters():
            parameter.zero_()
    leaking = [draw(pipe, "C", c, options.unbalanced, options) for c in (0, 1)]
    result = {"generator bit-identical": identical, "training seconds": seconds}
    for name, samples in {"answer": made, "answer without the odds": leaking}.items():
        p = torch.stack([read(classifier, images).mean(dim=0) for images in samples])
        result[name] = {"P(digit | do(C))": p.tolist()}
        result[name] |= {"TVD": total_variation(p, TRUTH).tolist()}
    floor = sampling_floor(TRUTH, options.unbalanced, generator=spawn(6, "floor"))
    result |= {"worst TVD": max(result["answer"]["TVD"]), "floor": [floor.mean, floor.upper]}
    result["worst TVD without the odds"] = max(result["answer without the odds"]["TVD"])
    result |= {"truth": TRUTH.tolist()}
    print(json.dumps({k: v for k, v in result.items() if k != "truth"}, indent=2), flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", required=True, help="the folder of the generator")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--samples", type=int, default=1000, help="images of each digit")
    parser.add_argument("--unbalanced", type=int, default=2000, help="images of each value of C")
    parser.add_argument("--candidates", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=["balanced", "unbalanced"])
    parser.add_argument("--output", default="benchmarks/results/gan.json")
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)

    pixels, digits = load_mnist()
    test = load_mnist(train=False)
    half = len(digits) // 2
    classifier = train_independent(image(pixels[half:]), digits[half:], 1000, options.device)
    accuracy = (read(classifier, image(test[0])).argmax(dim=1) == test[1]).double().mean().item()
    print(f"independent classifier: {accuracy:.4f}", flush=True)
    training = pixels[:half], digits[:half]
    result = {"options": {k: v for k, v in vars(options).items() if k not in _PLACES}}
    result["independent classifier"] = accuracy
    if options.only != "unbalanced":
        result["balanced"] = balanced(options, classifier, training, test)
    if options.only != "balanced":
        result["unbalanced"] = unbalanced(options, classifier, training)
    Path(options.output).write_text(json.dumps(result, indent=2) + "\n")


_PLACES = {"generator", "output", "only"}

if __name__ == "__main__":
    main()
