"""Asia, a textbook network, with smoking hidden: three interventions beside the exact truth.

Lung cancer and bronchitis share a cause that nobody recorded. Plain conditioning mistakes it
for an effect; the pipeline is told of it by one bidirected edge. A toy with invented numbers.

    python examples/10_hide_a_confounder.py

`benchmarks/asia.py` asks ten queries of 200,000 rows.
"""

import argparse

import numpy as np
import torch

import causal_diffusers as cd
from causal_diffusers.systems import asia_network

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="few rows and steps")
smoke = parser.parse_args().smoke
num_rows, steps, samples = (500, 5, 100) if smoke else (50_000, None, 10_000)

world = asia_network()
rows = world.sample(num_rows, generator=torch.Generator().manual_seed(0))
print(f"{world.graph}\n")

pipe = cd.CausalPipeline.from_graph(
    world.graph,
    variables=dict.fromkeys(world.graph.variables, cd.Categorical([0, 1])),
    confounders={"smoke": cd.Confounder(states=4)},
)
cd.ModularTrainer(pipe, rows, config=cd.TrainingConfig(steps=steps)).train()

for outcome, cause in (("dysp", "lung"), ("dysp", "bronc"), ("lung", "bronc")):
    print(f"\n{pipe.identify(outcome, do=cause)!r}")
    truth = world.interventional(outcome, cause).values[1]
    for value in (0, 1):
        generator = torch.Generator().manual_seed(1)
        out = pipe(samples, do={cause: value}, outcomes=outcome, generator=generator)
        ours = out.probabilities[outcome][:, 1].mean().item()
        with_it = np.asarray(rows[cause]) == value
        naive = np.asarray(rows[outcome])[with_it].mean()
        print(
            f"  {cause} = {value}: truth {truth[value]:.3f}, pipeline {ours:.3f}, "
            f"plain conditioning {naive:.3f}"
        )
