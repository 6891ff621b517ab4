r"""Does `diagnose` flag what the data cannot answer, and nothing else?

The verdicts on random discrete SCMs, beside two truths that know nothing of demands:

- *off*: 100 further samples of as many rows are drawn, conditionals that a sample never shows
  are filled in at random, near 0 or 1, and the estimand is evaluated on each; the error that
  95 of 100 stay below is the worst total variation from the truth. A query *has support* if
  that is at most .1, as sure as a simple share of 100 rows, which is where `diagnose` starts
  to call an answer thin.
- *undefined*: the estimand is not a number on the joint itself, for some value of `do`: it
  reads a conditional whose conditions have probability zero.

A variable in each system is made to copy one of its parents, but for one time in a hundred,
one in a thousand, or never; or nothing is changed. Every identifiable query in which the
intervention matters counts, in every system, wherever it falls. Few lack support that way,
so ten more systems that never slip are chosen because one of their queries is undefined; all
their queries count. Then front-door digits with and without the slips of the hand, where the
error is that of the tabular front-door with the digit written in the image's place.

    python benchmarks/overlap.py [--rows 20000] [--output benchmarks/results/overlap.json]

A few minutes on one core.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from pathlib import Path

import numpy as np
import torch

from causal_diffusers import (
    ADMG,
    Categorical,
    CausalPipeline,
    DiffusionMechanism,
    Image,
    NotIdentifiableError,
    diagnose,
    identify,
)
from causal_diffusers.graphs.estimand import Estimand
from causal_diffusers.seeding import spawn
from causal_diffusers.systems import DiscreteSCM, FrontDoorDigits

SLIPS = (None, 1e-2, 1e-3, 0.0)  # how often the copy is none; None copies nothing
LACKING, REPEATS, LIMIT = 10, 100, 0.1
BANDS = (0.0, 0.02, 0.05, 0.1, 0.2, 1.01)
VERDICTS = ("supported", "thin", "unsupported")


def random_graph(seed: int) -> ADMG:
    """Draw a graph over four to six variables."""
    rng = random.Random(seed)
    names = [f"X{i}" for i in range(rng.randint(4, 6))]
    pairs = list(itertools.combinations(names, 2))
    return ADMG(
        names,
        [pair for pair in pairs if rng.random() < 0.5],
        [frozenset(pair) for pair in pairs if rng.random() < 0.2],
    )


def identifiable_queries(graph: ADMG):
    """List the estimands of the identifiable P(y | do(x)) in which x matters."""
    for x, y in itertools.permutations(graph.variables, 2):
        try:
            estimand = identify(graph, [y], [x])
        except NotIdentifiableError:
            continue
        if x in estimand.expression.free:
            yield estimand


def copying(scm: DiscreteSCM, slip: float, seed: int) -> DiscreteSCM:
    """Let a variable copy one of its parents, but for a share `slip` of the time."""
    rng = random.Random(seed)
    parent, child = rng.choice(sorted(scm.graph.directed))
    table = scm.tables[child].copy()
    axis = scm.inputs(child).index(parent)
    for value in range(2):
        rows = np.moveaxis(table, axis, 0)[value]
        rows[..., value], rows[..., 1 - value] = 1 - slip, slip
    return DiscreteSCM(scm.graph, scm.priors, {**scm.tables, child: table})


def filled_samples(scm: DiscreteSCM, rows: int, seed: int) -> list[np.ndarray]:
    """Count samples of the observed variables; what is never seen is filled in at random."""
    joint, generator = torch.as_tensor(scm.joint()), spawn(seed, "samples")
    samples = []
    for _ in range(REPEATS):
        cells = torch.multinomial(joint.flatten(), rows, replacement=True, generator=generator)
        counts = torch.bincount(cells, minlength=joint.numel()).double()
        invented = torch.empty_like(counts).exponential_(generator=generator) ** 4  # uneven
        samples.append((counts + 1e-9 * invented).view(joint.shape).numpy())
    return samples


def is_undefined(scm: DiscreteSCM, estimand: Estimand) -> bool:
    """Ask whether the estimand reads what has probability zero."""
    return bool(np.isnan(estimand.evaluate(scm.joint(), scm.graph.variables).values).any())


def truths(scm: DiscreteSCM, estimand: Estimand, samples: list[np.ndarray]) -> dict:
    """Ask the estimand itself how far off it is, and whether it is defined at all."""
    x, y, names = estimand.do[0], estimand.outcomes[0], scm.graph.variables
    truth = scm.interventional([y], do=[x]).values
    errors = []
    for counts in samples:
        answer = estimand.evaluate(counts, names).order(y, x).values
        errors.append(0.5 * np.abs(answer - truth).sum(axis=0).max())
    return {"off": float(np.quantile(errors, 0.95)), "undefined": is_undefined(scm, estimand)}


def judge(scm: DiscreteSCM, estimand: Estimand, rows: int, seed: int) -> dict:
    """Diagnose one query from one sample."""
    data = scm.sample(rows, generator=spawn(seed, "rows"))
    graph = scm.graph
    pipe = CausalPipeline.from_graph(graph, dict.fromkeys(graph.variables, Categorical([0, 1])))
    report = diagnose(pipe, estimand, data)
    return {
        "query": estimand.query,
        "verdict": max(
            (f.verdict for f in report.factors), key=VERDICTS.index, default="supported"
        ),
        "missing": max((f.missing for f in report.factors), default=0.0),
        "effective rows": min((f.effective_rows for f in report.factors), default=rows),
    }


def discrete(systems: int, rows: int) -> list[dict]:
    """Judge every query of so many systems of each kind, a graph of its own for each."""
    results, found, lacking, seeds = [], 0, 0, itertools.count()
    while lacking < LACKING:
        seed = next(seeds)
        graph = random_graph(seed)
        estimands = list(identifiable_queries(graph))
        if not estimands:
            continue
        is_chosen = found >= systems * len(SLIPS)
        slip = 0.0 if is_chosen else SLIPS[found % len(SLIPS)]
        scm = DiscreteSCM.random(graph, generator=spawn(seed, "system"))
        scm = scm if slip is None else copying(scm, slip, seed)
        if is_chosen and not any(is_undefined(scm, estimand) for estimand in estimands):
            continue
        found, lacking = found + 1, lacking + is_chosen
        samples = filled_samples(scm, rows, seed)
        for estimand in estimands:
            about = {"system": seed, "slip": slip, "chosen": is_chosen}
            verdict = judge(scm, estimand, rows, seed)
            results.append({**about, **verdict, **truths(scm, estimand, samples)})
    return results


def confusion(results: list[dict]) -> dict:
    """Print how many queries got which verdict, by how far off their estimand is."""
    bands = list(itertools.pairwise(BANDS))
    groups = {
        f"off {low:.2f} to {min(high, 1):.2f}": [r for r in results if low <= r["off"] < high]
        for low, high in bands
    }
    groups |= {
        "with support": [r for r in results if r["off"] <= LIMIT],
        "without": [r for r in results if r["off"] > LIMIT],
        "defined": [r for r in results if not r["undefined"]],
        "undefined": [r for r in results if r["undefined"]],
    }
    table = {
        name: {v: sum(r["verdict"] == v for r in group) for v in VERDICTS}
        for name, group in groups.items()
    }
    print(f"{'':20}" + "".join(f"{v:>14}" for v in VERDICTS))
    for name, row in table.items():
        print(f"{name:20}" + "".join(f"{n:14}" for n in row.values()))
    return table


def digits(rows: int) -> list[dict]:
    """Diagnose front-door digits; the error is that of a front-door that sees only D, W, A."""
    digit, verdict = Categorical(range(10)), Categorical([0, 1])
    variables = {"D": digit, "W": digit, "I": Image(1, 8, 8), "A": verdict}
    results = []
    for slips in (0.3, 0.1, 0.0):
        system = FrontDoorDigits(slips)
        data = system.sample(rows, generator=spawn(0, "digits"))
        base = DiffusionMechanism.from_pretrained("causal-diffusers/digits-ddpm")
        pipe = CausalPipeline.from_graph(system.graph, variables, {"I": base})
        report = diagnose(pipe, pipe.identify("A", do="D"), data)
        error = (system.tabular_front_door(data, "D") - system.verdict_under_do("D")).abs()
        print(f"slips {slips}: {report}\n", flush=True)
        results.append(
            {
                "slips": slips,
                "flagged": not report.is_supported,
                "missing": report["P(A | D, I)"].missing,
                "effective rows": report["P(A | D, I)"].effective_rows,
                "revealed": report["P(A | D, I)"].revealed,
                "error": float(error.max()),
            }
        )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", type=int, default=15, help="of each kind")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = discrete(options.systems, options.rows)
    print(f"{len(results)} queries of {len({r['system'] for r in results})} systems:")
    table = confusion(results)
    for result in results:
        if (result["off"] <= LIMIT) != (result["verdict"] == "supported"):
            print("  FALSE", result)
    everything = {"discrete": results, "table": table, "digits": digits(options.rows)}
    if options.output:
        options.output.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
