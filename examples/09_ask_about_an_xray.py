"""An X-ray between a label and its consequence: association and cause disagree in sign.

The X-rays are real (PneumoniaMNIST), all else is drawn, so the truth is known; no clinical
conclusion follows. Ten minutes on one core.

    python examples/09_ask_about_an_xray.py --data FOLDER
"""

import argparse

import torch

import causal_diffusers as cd
from causal_diffusers.systems import ChestXrays

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", help="the folder of PneumoniaMNIST; else CAUSAL_DIFFUSERS_DATA")
parser.add_argument("--smoke", action="store_true", help="few rows and steps")
options = parser.parse_args()
num_rows, steps, samples = (200, 1, 2) if options.smoke else (30_000, 600, 1000)

try:
    system = ChestXrays(options.data)
except FileNotFoundError as error:
    print(error)
    raise SystemExit from None

rows = system.sample(num_rows, generator=torch.Generator().manual_seed(0))
bit = cd.Categorical([0, 1])
pipe = cd.CausalPipeline.from_graph(
    "C -> X -> N; C <-> N",
    variables={"C": bit, "X": cd.Image(1, 28, 28), "N": bit},
    mechanisms={"X": cd.DiffusionMechanism.from_pretrained("causal-diffusers/xray-ddpm", rank=8)},
    confounders={"U_C_N": cd.Confounder(states=4)},
)
batch_size = 8 if options.smoke else 64
cd.ModularTrainer(pipe, rows, config=cd.TrainingConfig(steps=steps, batch_size=batch_size)).train()

do, given = system.under_do(), system.given()
for c in (0, 1):
    out = pipe(
        samples,
        do={"C": c},
        outcomes="N",
        num_inference_steps=2 if options.smoke else 10,
        generator=torch.Generator().manual_seed(1),
    )
    answer = out.probabilities["N"][:, 1].mean()
    print(f"P(N=1 | do(C={c})): {answer:.3f}; truth {do[c]:.3f}, P(N=1 | C={c}) {given[c]:.3f}")
