"""Ten interventional queries on the Asia network with smoking hidden, against enumeration.

200,000 rows are drawn from the network with `smoke` and `asia` hidden
(`causal_diffusers/systems/asia.py`), a pipeline is trained on the other six variables by
likelihood, and asked. For each query the table has the worst total variation distance to the
truth over the values of `do`

- of the pipeline, its probabilities averaged over its samples,
- of the same samples with the drawn labels counted,
- of the exact estimand evaluated on the same rows: what the data allow,
- of plain conditioning, P(y | x) on the same rows,

and the share of the rarest value of `do` among the rows: none is below 1 %. Below are the mean
and the 95 % point of the worst of the ten for a perfect sampler that counts labels.

Left out are do(tub, lung), do(tub, either) and do(lung, bronc, tub), whose rarest combination has
at most .1 % of the rows, and everything that conditions on `either` beside both of its parents:
it is their logical or, and the other combinations do not exist.

    python benchmarks/asia.py [--seeds 3] [--output benchmarks/results/asia.json]

A quarter of a minute for each seed on one core. Kept in `benchmarks/results/asia.json`.
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
    Categorical,
    CausalPipeline,
    Confounder,
    ModularTrainer,
    TrainingConfig,
)
from causal_diffusers.metrics import sampling_floor
from causal_diffusers.seeding import spawn
from causal_diffusers.systems import asia_network

QUERIES = (
    ("dysp", ("bronc",)),
    ("dysp", ("lung",)),
    ("dysp", ("lung", "bronc")),
    ("dysp", ("either",)),
    ("dysp", ("tub",)),
    ("xray", ("lung",)),
    ("xray", ("tub",)),
    ("xray", ("either",)),
    ("either", ("lung",)),
    ("lung", ("bronc",)),
)
RAREST = 0.01


def tables(pipe: CausalPipeline, outcome: str, do: tuple[str, ...], samples: int, seed: int):
    """Ask the pipeline for every value of `do`; probabilities and counted labels, by cell."""
    shape = (2,) * (1 + len(do))
    found = {"pipeline": np.zeros(shape), "counted": np.zeros(shape)}
    for codes in itertools.product((0, 1), repeat=len(do)):
        generator = spawn(seed, outcome, *do, *codes)
        held = dict(zip(do, codes, strict=True))
        out = pipe(samples, do=held, outcomes=outcome, generator=generator)
        found["pipeline"][:, *codes] = out.probabilities[outcome].mean(dim=0).numpy()
        yes = float(np.mean(out.values[outcome]))
        found["counted"][:, *codes] = 1 - yes, yes
    return found


def run(seed: int, rows: int, samples: int, steps: int | None = None) -> dict:
    """Train on rows of one seed, and ask all queries."""
    system = asia_network()
    names = system.graph.variables
    data = system.sample(rows, generator=spawn(seed, "rows"))
    counts = np.zeros((2,) * len(names))
    np.add.at(counts, tuple(data[name].numpy() for name in names), 1)
    torch.manual_seed(seed)
    pipe = CausalPipeline.from_graph(
        system.graph,
        dict.fromkeys(names, Categorical([0, 1])),
        confounders={"smoke": Confounder(states=4)},
    )
    started = time.process_time()
    config = TrainingConfig(steps=steps, seed=seed)
    ModularTrainer(pipe, data, config=config, held_out=0).train()  # the rows of the estimand
    seconds = time.process_time() - started
    results, truths = [], []
    for outcome, do in QUERIES:
        truth = system.interventional(outcome, do).values
        answers = tables(pipe, outcome, do, samples, seed)
        answers["estimand"] = pipe.identify(outcome, do).evaluate(counts, names).values
        answers["conditioning"] = pipe.identify(outcome, (), do).evaluate(counts, names).values
        off = {who: float(np.abs(p - truth).sum(axis=0).max() / 2) for who, p in answers.items()}
        kept = [names.index(name) for name in do]
        margin = counts.sum(axis=tuple(i for i in range(len(names)) if i not in kept)) / rows
        results.append({"query": f"P({outcome} | do({', '.join(do)}))", **off})
        results[-1]["rarest"] = float(margin.min())
        truths += list(np.moveaxis(truth, 0, -1).reshape(-1, 2))
    return {"seed": seed, "seconds": seconds, "queries": results, "truths": truths}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = [
        run(seed, options.rows, options.samples, options.steps) for seed in range(options.seeds)
    ]
    who = ("pipeline", "counted", "estimand", "conditioning")
    print(f"{'worst of ' + str(len(runs)) + ' seeds':28}" + "".join(f"{w:>14}" for w in who))
    for i, (outcome, do) in enumerate(QUERIES):
        own = [each["queries"][i] for each in runs]
        line = "".join(f"{max(q[w] for q in own):14.4f}" for w in who)
        print(
            f"P({outcome} | do({', '.join(do)}))".ljust(28) + line + f"   {own[0]['rarest']:.3f}"
        )
        if own[0]["rarest"] < RAREST:
            raise SystemExit(f"do({', '.join(do)}) has a value with under 1 % of the rows.")
    worst = {w: max(q[w] for each in runs for q in each["queries"]) for w in who}
    print("worst".ljust(28) + "".join(f"{worst[w]:14.4f}" for w in who))
    floor = sampling_floor(
        np.stack(runs[0]["truths"]), options.samples, generator=torch.Generator().manual_seed(0)
    )
    print(f"a perfect sampler that counts labels: worst {floor}")
    seconds = [each["seconds"] for each in runs]
    print(f"training: {sum(seconds) / len(seconds):.0f} s of CPU a seed")
    if options.output:
        record = [{k: v for k, v in each.items() if k != "truths"} for each in runs]
        options.output.write_text(json.dumps({"runs": record, "worst": worst}, indent=1) + "\n")


if __name__ == "__main__":
    main()
