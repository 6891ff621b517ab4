"""Does `diagnose` flag what the data cannot answer, and nothing else?

Ten random discrete SCMs with support and ten in which one cause nearly determines another,
so that configurations the estimand needs are missing; then front-door digits with and
without the slips of the hand. Beside each verdict stands the error that it is about: the
worst total variation from the truth of the estimand, evaluated on the counts, where a
conditional that is never seen counts as uniform. (For the digits that estimand is the
tabular front-door with the digit written in the image's place.)

    python benchmarks/overlap.py [--rows 20000] [--output benchmarks/results/overlap.json]

One minute on one core.
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
from causal_diffusers.graphs.demand import demand
from causal_diffusers.seeding import spawn
from causal_diffusers.systems import DiscreteSCM, FrontDoorDigits

MOST_SYSTEMS = 1000


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


def missing_in_truth(scm: DiscreteSCM, estimand, rows: int) -> float:
    """Sum the demand for conditions that would hardly be met in so many rows."""
    names, joint = scm.graph.variables, scm.joint()
    worst = 0.0
    for x in range(2):
        for factor, table in demand(estimand, joint, names, {estimand.do[0]: x}).items():
            spent = tuple(i for i, name in enumerate(names) if name not in factor.given)
            worst = max(worst, float(table.values[joint.sum(axis=spent) * rows < 1].sum()))
    return worst


def without_support(scm: DiscreteSCM, seed: int) -> DiscreteSCM:
    """Let a variable copy one of its parents, but for one time in a million."""
    rng = random.Random(seed)
    parent, child = rng.choice(sorted(scm.graph.directed))
    table = scm.tables[child].copy()
    axis = scm.inputs(child).index(parent)
    for value in range(2):
        rows = np.moveaxis(table, axis, 0)[value]
        rows[..., value], rows[..., 1 - value] = 1 - 1e-6, 1e-6
    return DiscreteSCM(scm.graph, scm.priors, {**scm.tables, child: table})


def judge(scm: DiscreteSCM, estimand, rows: int, seed: int) -> dict:
    """Diagnose one query of one system; give the verdict and the error of the estimand."""
    data = scm.sample(rows, generator=spawn(seed, "rows"))
    graph = scm.graph
    pipe = CausalPipeline.from_graph(graph, dict.fromkeys(graph.variables, Categorical([0, 1])))
    report = diagnose(pipe, estimand, data)
    counts = np.full((2,) * len(graph.variables), 1e-6)  # never seen: uniform
    np.add.at(counts, tuple(data[v].numpy() for v in graph.variables), 1)
    x, y = estimand.do[0], estimand.outcomes[0]
    answer = estimand.evaluate(counts, graph.variables).order(y, x).values
    error = 0.5 * np.abs(answer - scm.interventional([y], do=[x]).values).sum(axis=0)
    return {
        "query": estimand.query,
        "verdict": "supported" if report.is_supported else "flagged",
        "missing": max((f.missing for f in report.factors), default=0.0),
        "effective rows": min((f.effective_rows for f in report.factors), default=rows),
        "error": float(error.max()),
    }


def discrete(systems: int, rows: int) -> list[dict]:
    """Judge every query of systems with support, and those that lost it of the others."""
    results = []
    for kind in ("with", "without"):
        found = 0
        for seed in range(MOST_SYSTEMS):
            if found == systems:
                break
            graph = random_graph(seed)
            if not graph.directed:
                continue
            scm = DiscreteSCM.random(graph, generator=spawn(seed, "system"))
            scm = scm if kind == "with" else without_support(scm, seed)
            missing = {e: missing_in_truth(scm, e, rows) for e in identifiable_queries(graph)}
            chosen = [e for e, m in missing.items() if (m > 0.1 if kind == "without" else m == 0)]
            if not chosen or (kind == "with" and len(chosen) < len(missing)):
                continue
            found += 1
            for estimand in chosen:
                result = {"support": kind, "system": seed, **judge(scm, estimand, rows, seed)}
                results.append(result)
    return results


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
    parser.add_argument("--systems", type=int, default=10)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = discrete(options.systems, options.rows)
    for kind, right in (("with", "supported"), ("without", "flagged")):
        own = [r for r in results if r["support"] == kind]
        wrong = [r for r in own if r["verdict"] != right]
        print(
            f"{kind} support: {len({r['system'] for r in own})} systems, {len(own)} queries, "
            f"{len(wrong)} false verdicts; error of the estimand up to "
            f"{max(r['error'] for r in own):.3f}; missing share "
            f"{min(r['missing'] for r in own):.3f} to {max(r['missing'] for r in own):.3f}"
        )
        for result in wrong:
            print("  FALSE", result)
    everything = {"discrete": results, "digits": digits(options.rows)}
    if options.output:
        options.output.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
