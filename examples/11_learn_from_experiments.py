"""Rows from a laboratory: some cells were only watched, in others a protein was set.

The rows have a column `intervened` that names what was set by hand. The plan says which rows
teach which mechanism, and the pipeline answers what an experiment makes answerable.

    python examples/11_learn_from_experiments.py                    # a made-up laboratory
    python examples/11_learn_from_experiments.py sachs_full.csv     # real cells

`benchmarks/sachs.py` predicts an experiment that was held out of training.
"""

import argparse
import itertools

import torch

import causal_diffusers as cd
from causal_diffusers.systems import DiscreteSCM
from causal_diffusers.systems.sachs import SACHS_GRAPH, discretise, read_sachs

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("cells", nargs="?", help="sachs_full.csv, the supplement of the paper")
parser.add_argument("--smoke", action="store_true", help="few rows and steps")
options = parser.parse_args()
num_rows, steps, samples = (300, 3, 50) if options.smoke else (10_000, 300, 10_000)


def train(graph, rows, labels):
    """Train a categorical pipeline and say what learned from what."""
    pipe = cd.CausalPipeline.from_graph(
        graph,
        variables=dict.fromkeys(graph.variables, cd.Categorical(range(labels))),
        confounders=dict.fromkeys(graph.confounders, cd.Confounder(states=4)),
    )
    cd.ModularTrainer(pipe, rows, config=cd.TrainingConfig(steps=steps)).train()
    print(pipe.plan())
    return pipe


if options.cells:
    rows, _ = discretise(read_sachs(options.cells))
    pipe = train(cd.ADMG.parse(SACHS_GRAPH), rows, labels=3)
    print(f"\n{pipe.identify('akt', do='pka')!r}")
    for level in range(3):
        out = pipe(samples, do={"pka": level}, outcomes="akt")
        print(f"  PKA = {level}: {out.probabilities['akt'].mean(dim=0).tolist()}")
    raise SystemExit

# Two drugs, never given together; the hidden causes confound nearly everything.
G = cd.ADMG.parse("X1 -> W -> Y <- X2; W <-> X1 <-> X2 <-> Y")
world = DiscreteSCM.random(G, generator=torch.Generator().manual_seed(1))
generator = torch.Generator().manual_seed(2)
rows: dict = {name: [] for name in (*G.variables, "intervened")}
for drug, value in itertools.product(("X1", "X2"), (0, 1)):
    drawn = world.sample(num_rows // 2, do={drug: value}, generator=generator)
    for name, column in drawn.items():
        rows[name] += column.tolist()
    rows["intervened"] += [drug] * (num_rows // 2)

pipe = train(G, rows, labels=2)
print(f"\n{pipe.identify('Y', do=['X1', 'X2'])!r}")
truth = world.interventional("Y", ["X1", "X2"]).values[1]
for both in itertools.product((0, 1), repeat=2):
    do = dict(zip(("X1", "X2"), both, strict=True))
    out = pipe(samples, do=do, outcomes="Y", generator=generator)
    ours = out.probabilities["Y"][:, 1].mean().item()
    print(f"  {do}: truth {truth[both]:.3f}, pipeline {ours:.3f}")

try:
    cd.identify(G, "Y", do=["X1", "X2"])
except cd.NotIdentifiableError as error:
    print(f"\nWithout the experiments: {error}")
