"""From a table to a graph, and from the graph to an intervention.

Nobody says what causes what. A pretrained model proposes a graph with the probability of each
edge; what it implies is tested; a pipeline is trained on it, and its answer is averaged over
the graphs that are likely. The rows are made up, so the truth is known.

    python examples/15_discover_a_graph.py
    python examples/15_discover_a_graph.py rows.csv --effect X Y     # your own numbers
"""

import argparse

import torch

import causal_diffusers as cd
from causal_diffusers.sources import read_columns

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("rows", nargs="?", help="a table of numbers")
parser.add_argument("--effect", nargs=2, default=["weight", "pressure"], metavar="NAME")
parser.add_argument("--smoke", action="store_true", help="few rows and steps")
options = parser.parse_args()
num_rows, steps, graphs, samples = (500, 5, 2, 100) if options.smoke else (2_000, 300, 10, 5_000)
generator = torch.Generator().manual_seed(0)

if options.rows:
    rows = read_columns(options.rows)
else:
    e = torch.randn(5, num_rows, generator=generator)
    age, exercise = e[0], e[1]
    weight = 0.8 * age - 1.2 * exercise + e[2]
    pressure = 0.7 * age + 1.5 * weight + e[3]
    pulse = -0.9 * exercise + e[4]
    rows = {"pulse": pulse, "pressure": pressure, "weight": weight}
    rows |= {"exercise": exercise, "age": age}

found = cd.discover(rows, tiers=[] if options.rows else [["age"], ["exercise", "weight", "pulse"]])
print(found)

columns = {name: torch.as_tensor(column).float() for name, column in rows.items()}
variables = {
    name: cd.Continuous(mean=float(column.mean()), scale=float(column.std()))
    for name, column in columns.items()
}
print(f"\n{cd.falsify(found.to_admg(), columns, variables)}")

cause, effect = options.effect
low = float(columns[cause].mean())
high = low + float(columns[cause].std())


def slope(graph):
    """Train on a graph, and say by how much the effect moves with its cause."""
    pipe = cd.CausalPipeline.from_graph(graph, variables=variables)
    pipe.set_progress_bar_config(disable=True)
    cd.ModularTrainer(pipe, columns, config=cd.TrainingConfig(steps=steps), held_out=0).train()
    means = []
    for value in (low, high):
        out = pipe(samples, do={cause: value}, outcomes=effect, generator=generator.manual_seed(1))
        means.append(torch.tensor(out.values[effect]).mean())
    return (means[1] - means[0]) / (high - low)


averaged = found.average(slope, graphs, generator=torch.Generator().manual_seed(0))
print(f"\n{effect} moves by {averaged.mean:.2f} for each unit of {cause} that is set,")
print(f"over {len(averaged.answers)} graphs that disagree by {averaged.deviation:.2f};", end=" ")
x, y = columns[cause], columns[effect]
print(f"in the rows it goes with {float(torch.cov(torch.stack([x, y]))[0, 1] / x.var()):.2f}.")
if not options.rows:
    print("The truth is 1.5.")
