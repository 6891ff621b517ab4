"""Two models fit the same rows equally well; one forgets a confounder, and is wrong.

The labels of coloured bars: a digit D and its colour C share a hidden cause; a bar BW and
its tint BC follow. Seconds on one core; `pipelines/make_pipelines.py` adds the image of all.

    python examples/07_do_not_forget_a_confounder.py
"""

import argparse

import torch

import causal_diffusers as cd
from causal_diffusers.metrics import total_variation
from causal_diffusers.systems import ColoredBarMNIST

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="few rows and steps")
options = parser.parse_args()
num_rows, steps, samples = (500, 5, 500) if options.smoke else (40_000, 400, 50_000)

system = ColoredBarMNIST.labels  # no image, so no MNIST is needed
rows = system.sample(num_rows, generator=torch.Generator().manual_seed(0))
truth = torch.as_tensor(system.interventional(["C", "BC", "BW"], do="D").values).reshape(8, 2)
bit = cd.Categorical([0, 1])

for graph in ("D <-> C; D -> BW <- C -> BC", "D -> C; D -> BW <- C -> BC"):
    pipe = cd.CausalPipeline.from_graph(
        graph, variables=dict.fromkeys(["D", "C", "BW", "BC"], bit)
    )
    cd.ModularTrainer(pipe, rows, config=cd.TrainingConfig(steps=steps)).train()
    for d in (0, 1):
        generator = torch.Generator().manual_seed(1)
        out = pipe(samples, do={"D": d}, outcomes=["C", "BC", "BW"], generator=generator)
        c, bc, bw = (torch.as_tensor(out.values[name]) for name in ("C", "BC", "BW"))
        found = torch.bincount(4 * c + 2 * bc + bw, minlength=8).double() / samples
        off = total_variation(found, truth[:, d]).item()
        print(f"{graph}: P(C=1 | do(D={d})) = {c.double().mean():.3f}, TVD {off:.3f}")
