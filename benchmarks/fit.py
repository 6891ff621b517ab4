"""Is a model that fits badly reported as such, and one that fits well left in peace?

The report of the shipped front-door digits on rows that it was not trained on, then of the
same pipeline crippled: its adapter as if untrained, a verdict that ignores the confounder,
a verdict that ignores the image, and a hand that never slips.

    python benchmarks/fit.py [--output benchmarks/results/fit.txt]

One minute on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from causal_diffusers import CausalPipeline, report_fit
from causal_diffusers.systems import FrontDoorDigits

TRAINED = 200_000  # rows behind the shipped pipeline


def silence(component, *names: str) -> None:
    """Set the trainable tensors whose names contain one of these to zero."""
    with torch.no_grad():
        for name, tensor in component.trainable_state().items():
            if any(part in name for part in names):
                tensor.zero_()


CRIPPLED = {
    "as shipped": lambda pipe: None,
    "I: adapter not trained": lambda pipe: silence(pipe.components["I"], "lora_B"),
    "A: ignores its confounder": lambda pipe: silence(pipe.components["A"], "from_confounders"),
    "A: ignores the image": lambda pipe: silence(pipe.components["A"], "from_parents"),
    "W: ignores D": lambda pipe: silence(pipe.components["W"], "from_parents"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = FrontDoorDigits().sample(options.rows, generator=torch.Generator().manual_seed(77))
    parts = []
    for name, cripple in CRIPPLED.items():
        pipe = CausalPipeline.from_pretrained("causal-diffusers/digits-front-door")
        pipe.set_progress_bar_config(disable=True)
        cripple(pipe)
        parts.append(f"{name}\n{report_fit(pipe, rows, num_trained=TRAINED)}\n")
        print(parts[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
