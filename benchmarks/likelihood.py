"""How far is a pipeline trained by likelihood from the truth, and from the best estimand?

Random discrete SCMs over five graphs, 20,000 rows each. For every identifiable query with
one outcome and one intervention, the total variation distance to the truth of

- the trained pipeline, evaluated exactly (a sum over a large Sobol set), and
- the exact estimand evaluated on the counts of the same rows: what the data allow.

    python benchmarks/likelihood.py [--systems 10] [--rows 20000]

Ten minutes on one core; `--systems 1` takes one.
"""

from __future__ import annotations

import argparse
import itertools
import json
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
)
from causal_diffusers.graphs import NAMED
from causal_diffusers.seeding import spawn
from causal_diffusers.systems import DiscreteSCM
from causal_diffusers.training.likelihood import confounder_grid

GRAPHS = ("front_door", "verma", "napkin", "bow_free_diamond", "three_child_confounder")


def identifiable_queries(graph: ADMG):
    """List the identifiable P(y | do(x)) with their estimands."""
    for x, y in itertools.permutations(graph.variables, 2):
        try:
            yield x, y, identify(graph, [y], [x])
        except NotIdentifiableError:
            continue


@torch.no_grad()
def model_answer(pipe: CausalPipeline, x: str, y: str, draws: int = 2**13) -> np.ndarray:
    """Compute P(y | do(x)) of a trained binary pipeline by enumeration, axes (y, x)."""
    names = pipe.graph.variables
    cells = torch.tensor(list(itertools.product((0, 1), repeat=len(names))))
    values = dict(zip(names, cells.unbind(1), strict=True))
    u, log_weights = confounder_grid(pipe.confounders, draws, 0, torch.device("cpu"))
    for name, confounder in pipe.confounders.items():
        if confounder.states:
            log_weights = log_weights + pipe.components[name].log_weights()[u[name]]
    total = log_weights[None]
    for name in names:
        if name == x:
            continue
        f = pipe.components[name]
        own = {c: u[c] for c in f.confounders}
        term = f.log_prob(values[name], {p: values[p] for p in f.parents}, own, outer=bool(own))
        total = total + (term if own else term[:, None])
    probability = total.logsumexp(1).exp()
    answer = np.zeros((2, 2))
    np.add.at(answer, (values[y].numpy(), values[x].numpy()), probability.numpy())
    return answer


def run(name: str, system: int, rows: int, confounder: Confounder, config: TrainingConfig):
    """Train on one SCM; give the worst error of the pipeline, of the estimands, the time."""
    graph = NAMED[name].graph
    scm = DiscreteSCM.random(graph, generator=spawn(system, name))  # entries in [.1, .9]
    data = scm.sample(rows, generator=spawn(system, name, "rows"))
    binary = dict.fromkeys(graph.variables, Categorical([0, 1]))
    torch.manual_seed(system)
    pipe = CausalPipeline.from_graph(
        graph, binary, confounders=dict.fromkeys(graph.confounders, confounder)
    )
    started = time.perf_counter()
    ModularTrainer(pipe, data, config=config, held_out=0).train()  # the rows of the estimand
    seconds = time.perf_counter() - started
    counts = np.zeros((2,) * len(graph.variables))
    np.add.at(counts, tuple(data[v].numpy() for v in graph.variables), 1 / rows)
    worst = {"pipeline": 0.0, "estimand": 0.0}
    for x, y, estimand in identifiable_queries(graph):
        truth = scm.interventional([y], do=[x]).values
        exact = estimand.evaluate(counts, graph.variables)
        exact = np.moveaxis(exact.values, exact.variables.index(y), 0)
        answers = {"pipeline": model_answer(pipe, x, y), "estimand": exact}
        for who, answer in answers.items():
            error = 0.5 * np.abs(answer - truth).sum(axis=0).max()
            worst[who] = max(worst[who], float(error))
    return {"graph": name, "system": system, **worst, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", type=int, default=10)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--states", type=int, help="finite confounders instead of Gaussian ones")
    parser.add_argument("--graphs", nargs="*", default=GRAPHS)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for name in options.graphs:
        for system in range(options.systems):
            result = run(
                name,
                system,
                options.rows,
                Confounder(states=options.states),
                TrainingConfig(steps=options.steps),
            )
            limit = max(0.02, 1.5 * result["estimand"])
            result["within"] = result["pipeline"] <= limit
            results.append(result)
            print(
                f"{name:24} {system:2}  pipeline {result['pipeline']:.4f}  "
                f"estimand {result['estimand']:.4f}  {result['seconds']:5.1f} s  "
                f"{'ok' if result['within'] else 'OVER'}",
                flush=True,
            )
    for name in options.graphs:
        own = [r for r in results if r["graph"] == name]
        worst = {k: max(r[k] for r in own) for k in ("pipeline", "estimand")}
        mean = sum(r["seconds"] for r in own) / len(own)
        print(
            f"{name:24} worst: pipeline {worst['pipeline']:.4f}, "
            f"estimand {worst['estimand']:.4f}; {mean:.1f} s a system"
        )
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
