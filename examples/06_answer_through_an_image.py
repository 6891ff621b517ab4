"""Answer a front-door query whose mediator is an image: handwriting of MNIST, 32x32.

What was written stays hidden inside the image. Ten minutes on one core for a rough answer;
`pipelines/make_pipelines.py mnist-front-door` trains the shipped one.

    python examples/06_answer_through_an_image.py --data FOLDER
"""

import argparse

import torch

import causal_diffusers as cd
from causal_diffusers.systems import FrontDoorMNIST

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", help="the folder of MNIST; else CAUSAL_DIFFUSERS_DATA, or the Hub")
parser.add_argument("--smoke", action="store_true", help="few rows and steps")
options = parser.parse_args()
num_rows, steps, samples = (200, 1, 2) if options.smoke else (30_000, 400, 500)

try:
    system = FrontDoorMNIST(options.data)
except FileNotFoundError as error:
    print(error)
    raise SystemExit from None

rows = system.sample(num_rows, generator=torch.Generator().manual_seed(0))
pipe = cd.CausalPipeline.from_graph(
    "D -> I -> A; D <-> A",
    variables={
        "D": cd.Categorical(range(10)),
        "I": cd.Image(1, 32, 32),
        "A": cd.Categorical(["no", "yes"]),
    },
    mechanisms={"I": cd.DiffusionMechanism.from_pretrained("causal-diffusers/mnist-ldm", rank=8)},
    confounders={"U_D_A": cd.Confounder(states=4)},
)
print(pipe.identify(outcomes=["A"], do=["D"]))
batch_size = 8 if options.smoke else 64
cd.ModularTrainer(pipe, rows, config=cd.TrainingConfig(steps=steps, batch_size=batch_size)).train()

for digit in (6, 7):
    out = pipe(
        samples,
        do={"D": digit},
        outcomes="A",
        num_inference_steps=2 if options.smoke else 10,
        generator=torch.Generator().manual_seed(1),
    )
    truth = system.verdict_under_do("D")[digit]
    naive = system.verdict_given("D")[digit]
    answer = out.probabilities["A"][:, 1].mean()
    print(f"P(A=yes | do(D={digit})): {answer:.3f}; truth {truth:.3f}, P(A | D) {naive:.3f}")
