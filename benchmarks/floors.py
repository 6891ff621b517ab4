r"""How far from the truth is a perfect sampler whose *probabilities* are averaged?

A pipeline answers by the mean of $P(A = 1 \mid I_n, U_n)$ over N draws of what A listens to.
That mean varies less than the share of N drawn labels does,

$$ \mathrm{Var}\,E[A \mid I, U] \le \mathrm{Var}\,A , $$

so the floor of counted labels (`causal_diffusers.metrics.sampling_floor`) is too high a bar
to hold it to. Here a perfect sampler draws $(I, U)$ from the system itself, N times for each
query, and averages the true conditional.
"""

from __future__ import annotations

import torch
from torch import Tensor

from causal_diffusers.metrics import SamplingFloor
from causal_diffusers.systems import ChestXrays, ImageDiamond
from causal_diffusers.systems.front_door import FrontDoorHandwriting

REPEATS = 1000
NAME = "floor of averaged probabilities"


def perfect_errors(
    weights: Tensor,
    probabilities: Tensor,
    samples: int,
    *,
    generator: torch.Generator,
    repeats: int = REPEATS,
) -> Tensor:
    """Simulate |mean of `samples` drawn probabilities - their expectation| for m queries.

    `weights` (m, K) say how often each query draws each of K causes, and `probabilities`,
    (m, K) or (K,), what each cause gives. The errors have shape (repeats, m).
    """
    errors = []
    for weight, p in zip(weights.double(), probabilities.expand_as(weights).double(), strict=True):
        drawn = torch.multinomial(weight, repeats * samples, replacement=True, generator=generator)
        expected = weight @ p / weight.sum()
        errors.append((p[drawn].view(repeats, samples).mean(dim=1) - expected).abs())
    return torch.stack(errors, dim=1)


def floor_of(errors: Tensor) -> SamplingFloor:
    """Summarise the worst of the m errors."""
    return SamplingFloor.of(errors.amax(dim=1))


def mean_and_worst(errors: Tensor) -> dict[str, dict[str, list[float]]]:
    """Print the floors of the mean and of the worst of m errors, and hand them on for results."""
    floors = {"mean": SamplingFloor.of(errors.mean(dim=1)), "worst": floor_of(errors)}
    for name, floor in floors.items():
        print(f"  {NAME}, {name}: {floor}")
    return {NAME: {name: [floor.mean, floor.upper] for name, floor in floors.items()}}


def front_door_floor(
    system: FrontDoorHandwriting, variable: str, samples: int, *, generator: torch.Generator
) -> SamplingFloor:
    """Give the floor of the worst P(A | do(variable = v)), `samples` images for each v."""
    written = system.written if variable == "D" else torch.eye(10)
    shares = written[:, system.digits] / torch.bincount(system.digits)[system.digits]
    return _with_confounder(shares, system.verdict(system.images), samples, generator)


def xray_floor(system: ChestXrays, samples: int, *, generator: torch.Generator) -> SamplingFloor:
    """Give the floor of the worse P(N | do(C = c)), `samples` X-rays for each c."""
    seen = ~system.held_out
    classes = system.classes[seen]
    shares = system.by_label[:, classes] / torch.bincount(classes)[classes]
    return _with_confounder(shares, system.consequence(system.images[seen]), samples, generator)


def image_errors(by_confounder: Tensor, draws: int, *, generator: torch.Generator) -> Tensor:
    """Simulate errors where each image is held, and only a fair binary U is drawn.

    `by_confounder` (m, 2) has the probability for each image and each value of U.
    """
    weights = torch.full_like(by_confounder, 0.5)
    return perfect_errors(weights, by_confounder, draws, generator=generator)


def diamond_errors(
    system: ImageDiamond, name: str, numbers: Tensor, draws: int, *, generator: torch.Generator
) -> Tensor:
    """Simulate errors of P(green | do(name = x)) for the images of these numbers."""
    if name == "I2":  # the causes left are the call and the mood
        weights = 0.5 * system.called.mean(dim=1)  # P(v, d)
        green = system.green(system.images[numbers]).transpose(1, 2).flatten(1)
        return perfect_errors(
            weights.flatten().expand_as(green), green, draws, generator=generator
        )
    seen = ~system.held_out
    digits, bold = system.digits[seen], system.bold[seen]
    cell = 2 * digits + bold
    style = system.style.mean(dim=0)[bold] / torch.bincount(cell)[cell]
    second = system.written[:, digits] * style  # P(y | d), (10, M)
    green = system.green(system.images[seen]).permute(2, 1, 0).flatten()  # v, d, y
    called = 0.5 * system.called[:, system.digits[numbers]].transpose(0, 1)  # P(v, d | x)
    weights = (called[..., None] * second).flatten(1)
    return perfect_errors(weights, green, draws, generator=generator)


def _with_confounder(
    shares: Tensor, by_confounder: Tensor, samples: int, generator: torch.Generator
) -> SamplingFloor:
    """Draw images in proportion to `shares` (m, M), and a fair U for each."""
    weights = shares.repeat_interleave(2, dim=1)
    return floor_of(perfect_errors(weights, by_confounder.flatten(), samples, generator=generator))
