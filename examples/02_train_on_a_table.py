"""Train on confounded rows, then intervene. Every variable is categorical; seconds on one core.

The rows come from a random system whose truth is known, so the answer can be checked. The
estimand, evaluated on the same rows, is the best that any method could do with them.

    python examples/02_train_on_a_table.py
"""

import argparse

import numpy as np
import torch

import causal_diffusers as cd
from causal_diffusers.systems import DiscreteSCM

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="few rows and steps")
smoke = parser.parse_args().smoke
num_rows, steps, samples = (500, 20, 100) if smoke else (20_000, 600, 20_000)

G = cd.ADMG.parse("smoking -> tar -> cancer; smoking <-> cancer")
world = DiscreteSCM.random(G, generator=torch.Generator().manual_seed(1))
rows = world.sample(num_rows, generator=torch.Generator().manual_seed(2))

pipe = cd.CausalPipeline.from_graph(
    G,
    variables=dict.fromkeys(G.variables, cd.Categorical([0, 1])),
    confounders={"U_smoking_cancer": cd.Confounder(states=4)},
)
print(pipe.plan())
cd.ModularTrainer(pipe, rows, config=cd.TrainingConfig(steps=steps)).train()

table = np.zeros((2, 2, 2))
np.add.at(table, tuple(np.asarray(rows[name]) for name in G.variables), 1 / num_rows)
estimand = pipe.identify("cancer", do="smoking")
by_estimand = estimand.evaluate(table, G.variables).order("cancer", "smoking").values
truth = world.interventional(["cancer"], do=["smoking"]).order("cancer", "smoking").values

print("\nP(cancer=1 | do(smoking))   truth  pipeline  estimand  naive")
for x in (0, 1):
    generator = torch.Generator().manual_seed(3)
    out = pipe(samples, do={"smoking": x}, outcomes="cancer", generator=generator)
    ours = out.probabilities["cancer"][:, 1].mean()
    naive = table[x, :, 1].sum() / table[x].sum()
    print(
        f"  smoking = {x}              {truth[1, x]:8.3f}{ours:10.3f}"
        f"{by_estimand[1, x]:10.3f}{naive:7.3f}"
    )
