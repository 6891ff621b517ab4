"""Likelihood, modular adversarial and joint adversarial training: how right, how fast?

Random discrete SCMs over six graphs, 20,000 rows each; every method sees the same rows.
For each method the worst total variation distance to the truth of P(y | do(x)) over all
identifiable queries with one outcome and one intervention, the distance of P(V), and the
seconds of CPU that training took. The likelihood takes 100 steps on the published graphs and
400 on the random ones of eight variables, with which it is within .02 on three other systems
of each.

- likelihood: district by district, counts and Sobol sets (`LikelihoodObjective`);
- modular: a game by h-node, frozen ancestors sampled under do(pa) (`AdversarialObjective`);
- joint: the same game of all mechanisms at once against P(V), as neural causal models are;
- published: the joint game as WGAN-GP: slope 1, five steps of the critic, learning rate 2e-3
  (front-door and napkin only);
- factors: each P(v | its Markov pillow) as a plain conditional, no latent, put into the
  estimand, as ID-GEN chains its generators;
- counts: the estimand of the frequencies of the rows, which is what the data allow.

All games get ten times the seconds that likelihood took, and no more than `--at-most`:
their number of steps is chosen after a few steps that are timed, and it is the same in every
stage of the modular one. `--image` adds the front-door through
images of digits, whose pretrained mechanism is the shipped one.

    python benchmarks/adversarial.py [--seeds 3] [--image] [--smoke]
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from causal_diffusers import (
    ADMG,
    Categorical,
    CausalPipeline,
    ModularTrainer,
    NotIdentifiableError,
    TrainingConfig,
    identify,
)
from causal_diffusers.graphs import NAMED
from causal_diffusers.seeding import spawn
from causal_diffusers.systems import DiscreteSCM, FrontDoorDigits
from causal_diffusers.training import AdversarialObjective, Rows, train_stage
from causal_diffusers.training.likelihood import confounder_grid

PUBLISHED = ("front_door", "napkin", "verma", "bow_free_diamond")
DRAWN = {"random_4": 4, "random_7": 7}  # seeds whose graph has frozen ancestors to sample
STEPS = dict.fromkeys(PUBLISHED, 100) | dict.fromkeys(DRAWN, 400)  # of the likelihood
WITH_PUBLISHED = ("front_door", "napkin")
METHODS = ("likelihood", "modular", "joint", "published", "factors", "counts")
TIMED, TIMES, GOAL = 8, 10, 0.02  # steps that are timed; seconds of the likelihood; of do-TVD


def random_admg(seed: int, size: int = 8) -> ADMG:
    """Draw a graph: directed edges with probability .3, bidirected ones with .12."""
    draw, names = random.Random(seed), [f"V{i}" for i in range(size)]
    pairs = list(itertools.combinations(names, 2))
    directed = frozenset(pair for pair in pairs if draw.random() < 0.3)
    bidirected = frozenset(frozenset(pair) for pair in pairs if draw.random() < 0.12)
    return ADMG(tuple(names), directed=directed, bidirected=bidirected)


def graph_of(name: str) -> ADMG:
    return NAMED[name].graph if name in NAMED else random_admg(DRAWN[name])


def queries(graph: ADMG):
    """List the identifiable P(y | do(x)) in which x is an ancestor of y."""
    for x, y in itertools.permutations(graph.variables, 2):
        if x in graph.ancestors([y]):
            try:
                yield x, y, identify(graph, [y], [x])
            except NotIdentifiableError:
                continue


@torch.no_grad()
def model_joint(pipe: CausalPipeline, do: str | None = None, draws: int = 2**11) -> np.ndarray:
    """Enumerate P(v | do(x)) for all values of x, with an axis for each variable."""
    names = pipe.graph.variables
    cells = torch.tensor(list(itertools.product((0, 1), repeat=len(names))))
    values = dict(zip(names, cells.unbind(1), strict=True))
    total = torch.zeros(len(cells))
    for district in pipe.graph.districts():
        mechanisms = {v: pipe.components[v] for v in names if v in district and v != do}
        confounders = {u: c for f in mechanisms.values() for u, c in f.confounders.items()}
        u, log_weights = confounder_grid(confounders, draws, 0, torch.device("cpu"))
        c_factor = log_weights[None]
        for name, f in mechanisms.items():
            own = {c: u[c] for c in f.confounders}
            parents = {p: values[p] for p in f.parents}
            term = f.log_prob(values[name], parents, own, outer=bool(own))
            c_factor = c_factor + (term if own else term[:, None])
        total = total + c_factor.logsumexp(1)
    return total.exp().double().numpy().reshape((2,) * len(names))


def marginal(joint: np.ndarray, names: tuple[str, ...], x: str, y: str) -> np.ndarray:
    """Sum P(v | do(x)) to P(y | do(x)), with axes (y, x)."""
    others = tuple(i for i, name in enumerate(names) if name not in (x, y))
    table = joint.sum(axis=others)
    return table if names.index(y) < names.index(x) else table.T


def model_errors(pipe: CausalPipeline, scm: DiscreteSCM) -> dict[str, float]:
    """Compare a trained pipeline with the truth."""
    names, worst, under_do = scm.graph.variables, 0.0, {}
    for x, y, _ in queries(scm.graph):
        if x not in under_do:
            under_do[x] = model_joint(pipe, x)
        worst = max(worst, distance(marginal(under_do[x], names, x, y), scm, x, y))
    return {"do": worst, "observed": 0.5 * float(np.abs(model_joint(pipe) - scm.joint()).sum())}


def distance(answer: np.ndarray, scm: DiscreteSCM, x: str, y: str) -> float:
    truth = scm.interventional([y], do=[x]).values
    return float(0.5 * np.abs(answer - truth).sum(axis=0).max())


def estimand_errors(joint: np.ndarray, scm: DiscreteSCM) -> dict[str, float]:
    """Put an estimate of P(v), which knows of no latent, into the estimands."""
    names, worst = scm.graph.variables, 0.0
    for x, y, estimand in queries(scm.graph):
        table = estimand.evaluate(joint, names)
        answer = np.moveaxis(table.values, table.variables.index(y), 0)
        worst = max(worst, distance(answer, scm, x, y))
    return {"do": worst, "observed": 0.5 * float(np.abs(joint - scm.joint()).sum())}


def make_pipeline(graph: ADMG, seed: int) -> CausalPipeline:
    torch.manual_seed(seed)
    return CausalPipeline.from_graph(graph, dict.fromkeys(graph.variables, Categorical([0, 1])))


def factor_graph(graph: ADMG) -> ADMG:
    """Draw v's Markov pillow as its parents: the factors of Tian's formula."""
    directed = {(p, v) for v in graph.variables for p in graph.markov_pillow(v)}
    return ADMG(graph.variables, directed=frozenset(directed))


def timed(train: Callable[[], object]) -> float:
    started = time.process_time()
    train()
    return time.process_time() - started


def train_modular(pipe: CausalPipeline, data, config: TrainingConfig, **options) -> float:
    return timed(lambda: ModularTrainer(pipe, data, config=config, **options).train())


def train_joint(pipe: CausalPipeline, data, config: TrainingConfig, trained=None, **game) -> float:
    """Play one game over all variables; those not trained are frozen."""
    everything = pipe.graph.variables
    trained = trained or everything
    objective = AdversarialObjective(pipe.scm, trained, everything, bank_size=64, **game)
    rows = Rows(data, pipe.variables)
    return timed(lambda: train_stage(objective, rows, config, label="{all}"))


def steps_within(seconds: float, train: Callable[[CausalPipeline, TrainingConfig], float], pipe):
    """Say how many steps fit into some seconds, after timing a few on a copy."""
    trial = copy.deepcopy(pipe)
    train(trial, TrainingConfig(steps=1))
    begin = train(trial, TrainingConfig(steps=1))
    cost = (train(trial, TrainingConfig(steps=1 + 2 * TIMED)) - begin) / (2 * TIMED)
    return max(TIMED, int((seconds - begin) / max(cost, 1e-6)))


def budget(likelihood: dict, options: argparse.Namespace) -> float:
    return min(TIMES * likelihood["seconds"], options.at_most)


def run(name: str, seed: int, options: argparse.Namespace) -> list[dict]:
    """Train by every method on one SCM."""
    graph = graph_of(name)
    scm = DiscreteSCM.random(graph, generator=spawn(seed, name))
    data = scm.sample(options.rows, generator=spawn(seed, name, "rows"))
    few = TIMED if options.smoke else STEPS[name]
    likelihood = TrainingConfig(steps=few, seed=seed)

    def modular(pipe: CausalPipeline, config: TrainingConfig) -> float:
        game = TrainingConfig(steps=config.steps, seed=seed, objective="adversarial")
        return train_modular(pipe, data, game)

    def joint(pipe: CausalPipeline, config: TrainingConfig) -> float:
        return train_joint(pipe, data, TrainingConfig(steps=config.steps, seed=seed))

    def published(pipe: CausalPipeline, config: TrainingConfig) -> float:
        rate = TrainingConfig(steps=config.steps, seed=seed, learning_rate=2e-3)
        return train_joint(pipe, data, rate, critic_steps=5, slope=1.0)

    games = {"modular": modular, "joint": joint}
    games |= {"published": published} if name in WITH_PUBLISHED else {}
    pipe = make_pipeline(graph, seed)
    found = [{"method": "likelihood", "seconds": train_modular(pipe, data, likelihood)}]
    found[0] |= {"steps": few, **model_errors(pipe, scm)}
    for method, train in games.items():
        pipe = make_pipeline(graph, seed)
        steps = steps_within(budget(found[0], options), train, pipe)
        steps = TIMED if options.smoke else steps
        seconds = train(pipe, TrainingConfig(steps=steps))
        found.append({"method": method, "seconds": seconds, "steps": steps})
        found[-1] |= model_errors(pipe, scm)
    pipe = make_pipeline(factor_graph(graph), seed)
    found.append({"method": "factors", "seconds": train_modular(pipe, data, likelihood)})
    found[-1] |= {"steps": few, **estimand_errors(model_joint(pipe), scm)}
    counts = np.zeros((2,) * len(graph.variables))
    np.add.at(counts, tuple(data[v].numpy() for v in graph.variables), 1 / options.rows)
    found.append({"method": "counts", "seconds": 0.0, "steps": 0})
    found[-1] |= estimand_errors(counts, scm)
    return [{"graph": name, "seed": seed, **row} for row in found]


def image_answers(pipe: CausalPipeline, system: FrontDoorDigits, samples: int) -> dict[str, float]:
    """The worst TVD of P(A | do(D)), averaging probabilities over images."""
    truth, answers = system.verdict_under_do("D"), []
    for digit in range(10):
        out = pipe(samples, do={"D": digit}, outcomes="A", generator=spawn(1, "D", digit))
        answers.append(out.probabilities["A"][:, 1].mean())
    return {"do": (torch.stack(answers) - truth).abs().max().item()}


def run_image(seed: int, options: argparse.Namespace) -> list[dict]:
    """Keep the shipped image mechanism; train the labels anew by each method."""
    system, samples = FrontDoorDigits(), 20 if options.smoke else 300
    data = system.sample(options.rows, generator=spawn(seed, "digits"))
    labels = ("D", "W", "A")

    def fresh() -> CausalPipeline:
        pipe = CausalPipeline.from_pretrained("causal-diffusers/digits-front-door")
        torch.manual_seed(seed)
        new = CausalPipeline.from_graph(
            pipe.graph, pipe.variables, {"I": pipe.components["I"]}, pipe.confounders
        )
        new.set_progress_bar_config(disable=True)
        new.components["I"].requires_grad_(False)
        return new

    def by(pipe: CausalPipeline, config: TrainingConfig) -> float:
        """Train W and {D, A} as planned, but never the image."""
        trainer = ModularTrainer(pipe, data, overrides=dict.fromkeys(labels, config))
        modules = [m for _, m, _ in trainer.plan.modules if "I" not in m]

        def train() -> None:
            for module in modules:
                for objective in trainer.objectives(module):
                    train_stage(objective, trainer.rows, config, label=str(module))

        return timed(train)

    pipe, steps = fresh(), options.image_steps
    base = TrainingConfig(steps=steps, seed=seed)
    found = [{"method": "likelihood", "seconds": by(pipe, base), "steps": steps}]
    found[0] |= image_answers(pipe, system, samples)
    game = {"objective": "adversarial", "bank_size": 64, "seed": seed}
    methods = {
        "modular": lambda p, c: by(p, TrainingConfig(steps=c.steps, **game)),
        "joint": lambda p, c: train_joint(
            p, data, TrainingConfig(steps=c.steps, seed=seed), trained=labels
        ),
    }
    for method, train in methods.items():
        pipe = fresh()
        steps = TIMED if options.smoke else steps_within(budget(found[0], options), train, pipe)
        row = {"method": method, "seconds": train(pipe, TrainingConfig(steps=steps))}
        found.append({**row, "steps": steps, **image_answers(pipe, system, samples)})
    return [{"graph": "digits_front_door", "seed": seed, **row} for row in found]


def tell(row: dict) -> None:
    observed = f"{row['observed']:.4f}" if "observed" in row else "     -"
    print(
        f"{row['graph']:18} {row['seed']}  {row['method']:10}  do {row['do']:.4f}  observed "
        f"{observed}  {row['steps']:5} steps  {row['seconds']:6.1f} s",
        flush=True,
    )


def summary(results: list[dict]) -> str:
    """Give the worst and the mean over seeds, and the seconds as multiples of likelihood."""
    lines = ["graph              method      worst do-TVD   mean   observed   seconds   times"]
    for name in dict.fromkeys(r["graph"] for r in results):
        own = [r for r in results if r["graph"] == name]
        base = np.mean([r["seconds"] for r in own if r["method"] == "likelihood"])
        for method in METHODS:
            if cells := [r for r in own if r["method"] == method]:
                do, seconds = [r["do"] for r in cells], np.mean([r["seconds"] for r in cells])
                seen = np.mean([r.get("observed", np.nan) for r in cells])
                lines.append(
                    f"{name:18} {method:10}  {max(do):12.4f}  {np.mean(do):.4f}    {seen:.4f}  "
                    f"{seconds:8.1f}  {seconds / base:6.1f}"
                )
    return "\n".join(lines)


def verdict(results: list[dict]) -> str:
    """Say in words which method reached the goal, and in which time."""
    lines = []
    for name in dict.fromkeys(r["graph"] for r in results):
        own = [r for r in results if r["graph"] == name]
        base = {r["seed"]: r["seconds"] for r in own if r["method"] == "likelihood"}
        words = []
        for method in METHODS[:4]:
            cells = [r for r in own if r["method"] == method]
            if cells:
                reached = sum(r["do"] <= GOAL for r in cells)
                times = np.mean([r["seconds"] / base[r["seed"]] for r in cells])
                within = "" if method == "likelihood" else f" within {times:.1f} times its seconds"
                words.append(f"{method} on {reached} of {len(cells)}{within}")
        lines.append(f"{name}: do-TVD {GOAL} is reached by {', '.join(words)}.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--at-most", type=float, default=300.0, help="seconds of a game")
    parser.add_argument("--image-steps", type=int, default=150, help="of the likelihood")
    parser.add_argument("--graphs", nargs="*", default=[*PUBLISHED, *DRAWN])
    parser.add_argument("--image", action="store_true", help="also the digits")
    parser.add_argument("--smoke", action="store_true", help="a few steps of everything")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.smoke:
        options.seeds, options.rows, options.image_steps = 1, 500, TIMED
    torch.set_num_threads(1)
    results: list[dict] = []
    jobs = [(run, (name, seed)) for seed in range(options.seeds) for name in options.graphs]
    jobs += [(run_image, (0,))] if options.image else []
    if options.output and options.output.exists():  # a run that was cut off goes on
        results = json.loads(options.output.read_text())
    done = {(r["graph"], r["seed"]) for r in results}
    for job, arguments in jobs:
        if (arguments if job is run else ("digits_front_door", *arguments)) in done:
            continue
        for row in job(*arguments, options):
            results.append(row)
            tell(row)
        if options.output:
            options.output.write_text(json.dumps(results, indent=1) + "\n")
    print(summary(results), verdict(results), sep="\n\n")


if __name__ == "__main__":
    main()
