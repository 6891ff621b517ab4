"""How much does an answer depend on the graph, and how does the error grow with its size?

First the sensitivity table of a front-door and of a napkin system: every graph that
differs by one edge, whether the query is still identifiable, and how far the answer moves.
Beside it the same from exact estimands evaluated on the counts of the same rows. Then
random graphs of 5 to 40 binary variables, three of each size: the worst total variation of
P(y | do(x)) over identifiable queries drawn at random, and the seconds of training. Of a
size whose sum over confounders is large a step sees a part of the rows (`most_rows`).

    python benchmarks/robustness.py [--only curve] [--output benchmarks/results/robustness.json]

A quarter of an hour on one quiet core. `--only` keeps the other part of the output.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
from pathlib import Path

import numpy as np
import torch

from causal_diffusers import (
    ADMG,
    Categorical,
    CausalPipeline,
    Confounder,
    ModularTrainer,
    NotIdentifiableError,
    TrainingConfig,
    identify,
    sensitivity,
)
from causal_diffusers.graphs import NAMED
from causal_diffusers.graphs.changes import changed_graphs
from causal_diffusers.metrics import total_variation
from causal_diffusers.seeding import spawn
from causal_diffusers.systems import DiscreteSCM

SYSTEMS = {
    "front-door": (ADMG.parse("D -> I -> A; D <-> A"), "A", "D"),
    "napkin": (NAMED["napkin"].graph, "Y", "X"),
}


def trained(scm: DiscreteSCM, rows, config: TrainingConfig) -> CausalPipeline:
    """Train a pipeline of binary variables."""
    graph = scm.graph
    torch.manual_seed(0)
    pipe = CausalPipeline.from_graph(
        graph,
        dict.fromkeys(graph.variables, Categorical([0, 1])),
        confounders=dict.fromkeys(graph.confounders, Confounder(states=4)),
    )
    ModularTrainer(pipe, rows, config=config, held_out=0).train()
    return pipe


def on_counts(graph: ADMG, y: str, x: str, rows):
    """Evaluate the estimand of a graph on the rows; None if there is none."""
    try:
        estimand = identify(graph, [y], [x])
    except NotIdentifiableError:
        return None
    counts = np.zeros((2,) * len(graph.variables))
    np.add.at(counts, tuple(rows[v].numpy() for v in graph.variables), 1)
    return torch.as_tensor(estimand.evaluate(counts, graph.variables).order(x, y).values)


def table(name: str, num_rows: int, config: TrainingConfig) -> list[dict]:
    """Change every edge of one system, in the pipeline and on the counts."""
    graph, y, x = SYSTEMS[name]
    scm = DiscreteSCM.random(graph, generator=spawn(1, name))
    rows = scm.sample(num_rows, generator=spawn(1, name, "rows"))
    pipe = trained(scm, rows, config)
    found = sensitivity(pipe, pipe.identify(y, do=x), rows, config=config)
    print(f"\n{name}\n{found}", flush=True)
    own = on_counts(graph, y, x, rows)
    result = []
    for change, _, other in changed_graphs(graph):
        row, exact = found[change], on_counts(other, y, x, rows)
        moved = None if exact is None else total_variation(exact, own).max().item()
        result.append(
            {
                "change": change,
                "identifiable": row.is_identifiable,
                "moved": row.moved,
                "moved, exactly": moved,
                "retrained": ["+".join(district) for district in row.retrained],
                "note": row.note,
                "seconds": row.seconds,
            }
        )
    gaps = [abs(r["moved"] - r["moved, exactly"]) for r in result if r["moved"] is not None]
    flipped = sum(not r["identifiable"] for r in result)
    print(
        f"{len(result)} changes, {flipped} no longer identifiable; movement is that of the exact "
        f"estimands up to {max(gaps):.4f}"
    )
    return result


def random_graph(size: int, seed: int) -> ADMG:
    """Draw a sparse graph: two parents and half a bidirected edge a variable, on average."""
    rng = random.Random(f"{size} {seed}")
    names = [f"X{i}" for i in range(size)]
    pairs = list(itertools.combinations(names, 2))
    directed = [
        (parent, name)
        for i, name in enumerate(names)
        for parent in rng.sample(names[:i], min(i, rng.randint(1, 3)))
    ]
    return ADMG(names, directed, rng.sample([frozenset(p) for p in pairs], size // 4))


def curve(size: int, seed: int, num_rows: int, queries: int, config: TrainingConfig) -> dict:
    """Train on one graph of a size; give the worst error over queries, and the time."""
    graph = random_graph(size, seed)
    scm = DiscreteSCM.random(graph, generator=spawn(2 + seed, size))
    rows = scm.sample(num_rows, generator=spawn(2 + seed, size, "rows"))
    started = time.process_time()
    pipe = trained(scm, rows, config)
    seconds = time.process_time() - started
    rng, errors = random.Random(f"{size} {seed}" if seed else size), []
    pairs = [(x, y) for x in graph.variables for y in graph.descendants(x) - {x}]
    for x, y in rng.sample(sorted(pairs), len(pairs)):
        if len(errors) == queries:
            break
        try:
            identify(graph, [y], [x])
        except NotIdentifiableError:
            continue
        truth = torch.as_tensor(scm.interventional([y], do=[x]).order(x, y).values)
        answers = [
            pipe(10_000, do={x: v}, outcomes=y, generator=spawn(3, x, y, v)).probabilities[y]
            for v in (0, 1)
        ]
        answer = torch.stack([a.double().mean(dim=0) for a in answers])
        answer = answer / answer.sum(dim=1, keepdim=True)
        errors.append(total_variation(answer, truth).max().item())
    result = {
        "variables": size,
        "graph": seed,
        "edges": len(graph.directed),
        "bidirected": len(graph.bidirected),
        "largest district": max(map(len, graph.districts())),
        "queries": len(errors),
        "worst": max(errors),
        "mean": sum(errors) / len(errors),
        "CPU seconds": seconds,
    }
    print({k: round(v, 4) for k, v in result.items()}, flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--queries", type=int, default=30)
    parser.add_argument("--sizes", type=int, nargs="*", default=[5, 10, 20, 40])
    parser.add_argument("--graphs", type=int, default=3, help="of each size")
    parser.add_argument("--only", choices=["sensitivity", "curve"])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = TrainingConfig(steps=options.steps)
    kept = options.only and options.output and options.output.exists()
    result = json.loads(options.output.read_text()) if kept else {}

    def write() -> None:
        if options.output:
            options.output.write_text(json.dumps(result, indent=1) + "\n")

    if options.only != "curve":
        result["sensitivity"] = {n: table(n, options.rows, config) for n in SYSTEMS}
        write()
    if options.only != "sensitivity":
        result["curve"] = []
        for size, seed in itertools.product(options.sizes, range(options.graphs)):
            result["curve"].append(curve(size, seed, options.rows, options.queries, config))
            write()


if __name__ == "__main__":
    main()
