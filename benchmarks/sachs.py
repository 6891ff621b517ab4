"""What would activating PKA do to Mek and Akt? Protein data, with that experiment held out.

The cells of seven conditions (`causal_diffusers/systems/sachs.py` says which), cut into three
levels. The condition b2camp, which activates PKA, is held out of training and of the cuts.
Every row predicts

    sum over a of q(PKA = a) P(Mek | do(PKA = a)),    q: the levels of PKA as measured there,

and the same for Akt, and is compared with the levels of Mek and Akt measured there: total
variation, beside that of a perfect prediction (its floor), and Kullback-Leibler divergence of
the prediction from the measurement, with 95 % bootstrap intervals over the cells held out
(those of a distance lie a little too high, for a sample drawn anew is further from
everything). The same with q all at the highest level, for the reagent activates PKA and the
measured level does not say so. Rows, none of which has seen the cells held out:

- likelihood, by how the other experiments are read: not at all (`observation`); as hard
  interventions at the outermost level, as Sachs et al. did, or at the level measured; as soft
  ones, where the reagent is a cause of its target, or also of what listens to the target;
  or as if they were none (`ignored`);
- the first of these with other graphs and other cuts;
- joint adversarial: a game of all mechanisms at once, as neural causal models are, on
  observation; joint WGAN-GP: the same with slope 1, five steps of the critic and a learning
  rate of 2e-3. Each gets five times the seconds of CPU that likelihood took;
- plain conditioning on PKA, on observation and on all rows; and `no effect`, the levels in the
  rows in which nothing was set.

They are variants, listed; nothing was chosen by what the held-out cells say.

Measured, total variation for Mek and Akt, with q as measured (floor .003 and .018):

- the pipeline on observation .62, .16, and with reagents as soft experiments that are heard
  .62, .16; the same as conditioning on those rows, for what confounds here hardly matters;
- as hard experiments .65, .34 (.63, .34 with the levels as measured): the reagents are none.
  The PKC inhibitor moves every protein to an outermost level, the Mek inhibitor raises what is
  measured of Mek. All rows as if nothing had been set are as bad, .64, .32, but for the clamped
  ones, .48, .20, which are wrong in the right direction: they put cells whose Mek was high
  into the lowest level;
- joint adversarial .62, .18; joint WGAN-GP .59, .08, nearer because it fits less: after 391
  steps it misses P(Akt | PKA) of its own training rows by .09 (the game before it by .01);
- no effect .62, .19. With q all at the highest level no answer is better than .58 for Mek and
  .28 for Akt, but for the clamped rows (.47) and no effect;
- the graphs do not differ (.62, .16). Other cuts do, and the yardstick with them: at equal
  widths of the logarithm, where most cells are at the lowest level, .27, .12 beside .28, .15
  of no effect; at the quantiles of observation .65, .21 beside .66, .24.

So no graph, cut or method comes near for Mek: the cells under b2camp lack the CD3/CD28
stimulation that nearly all others had, PKC and Mek are at their lowest level in 93 and 99 of
100 of them, and what was measured of PKA is no higher than elsewhere. No change of PKA makes
that of the other cells, and no graph of six proteins says so.

    python benchmarks/sachs.py [sachs_full.csv] [--output benchmarks/results/sachs.json]

Five minutes on a quiet core. It says how far the method and three levels carry, and nothing about
cells in general: one laboratory, one day for each condition.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from adversarial import steps_within, train_joint, train_modular

from causal_diffusers import (
    ADMG,
    Categorical,
    CausalPipeline,
    Confounder,
    TrainingConfig,
)
from causal_diffusers.metrics import sampling_floor, total_variation
from causal_diffusers.metrics.bootstrap import bootstrap_interval
from causal_diffusers.metrics.divergence import kl_divergence
from causal_diffusers.seeding import spawn
from causal_diffusers.systems.sachs import (
    CONDITIONS,
    PROTEINS,
    SACHS_GRAPHS,
    discretise,
    quantiles,
    read_sachs,
)

LEVELS, OUTCOMES, HELD_OUT = 3, ("mek", "akt"), "b2camp"
REAGENTS = {"cd3_cd28": "none", "icam2": "none"}  # both stimulate, and set nothing
TARGETS = "; reagent -> akt; reagent -> pkc; reagent -> mek"
HEARD = f"{TARGETS}; reagent -> pka; reagent -> raf; reagent -> erk"  # what listens to a target
AT_MOST = 5  # times the seconds of likelihood, for a game


@dataclasses.dataclass(frozen=True)
class Variant:
    """How the cells are read, and which graph is believed."""

    experiments: str = "observation"
    graph: str = "consensus_20"
    cuts: str = "training rows"
    method: str = "likelihood"

    def __str__(self) -> str:
        standard = Variant()
        others = [v for f in ("graph", "cuts") if (v := getattr(self, f)) != getattr(standard, f)]
        return ", ".join([self.method, self.experiments, *others])


READINGS = (
    "observation",
    "hard, outermost",
    "hard, measured",
    "soft",
    "soft, heard",
    "ignored",
    "ignored, outermost",
)
GAMES = ("joint adversarial", "joint WGAN-GP")
PLAIN = ("likelihood", "conditioning", "no effect")
VARIANTS = (
    *(Variant(reading) for reading in READINGS),
    *(Variant(r, method="conditioning") for r in ("observation", *READINGS[-2:])),
    Variant(method="no effect"),
    *(Variant(method=method) for method in GAMES),
    *(Variant(graph=graph) for graph in [*SACHS_GRAPHS][1:]),
    *(Variant(cuts=c, method=m) for c in ("observation", "log") for m in PLAIN),
)


class Study:
    """The cells, cut in some way."""

    def __init__(self, cells: dict, options: argparse.Namespace) -> None:
        self.cells, self.options = cells, options
        self.seconds: dict[str, float] = {}
        trained = {name: own for name, own in cells.items() if name != HELD_OUT}
        observed = {name: own for name, own in trained.items() if CONDITIONS[name] is None}
        pooled = {p: np.concatenate([own[p] for own in trained.values()]) for p in PROTEINS}
        ends = {p: np.log(np.quantile(x, [0.01, 0.99])) for p, x in pooled.items()}
        self.cuts = {
            "training rows": quantiles(trained, LEVELS),
            "observation": quantiles(observed, LEVELS),
            "log": {p: np.exp(np.linspace(*e, LEVELS + 1)[1:-1]) for p, e in ends.items()},
        }

    def rows(self, variant: Variant) -> tuple[dict, dict]:
        """Cut the cells, and keep and tag the rows as a variant reads them."""
        hard = variant.experiments.endswith("outermost")
        rows, held_out = discretise(
            self.cells, HELD_OUT, LEVELS, cut_at=self.cuts[variant.cuts], is_hard=hard
        )
        if variant.experiments == "observation":
            kept = [i for i, tag in enumerate(rows["intervened"]) if not tag]
            rows = {name: [column[i] for i in kept] for name, column in rows.items()}
        if not variant.experiments.startswith("hard"):
            del rows["intervened"]
        condition = rows.pop("condition")
        if variant.experiments.startswith("soft"):
            rows["reagent"] = [REAGENTS.get(name, name) for name in condition]
        return rows, held_out

    def pipeline(self, variant: Variant, rows: Mapping[str, list]) -> CausalPipeline:
        """Build the untrained pipeline of a variant."""
        more = {"soft": TARGETS, "soft, heard": HEARD}.get(variant.experiments, "")
        graph = ADMG.parse(SACHS_GRAPHS[variant.graph] + more)
        variables = dict.fromkeys(PROTEINS, Categorical(range(LEVELS)))
        if more:
            variables["reagent"] = Categorical(sorted(set(rows["reagent"])))
        torch.manual_seed(self.options.seed)
        return CausalPipeline.from_graph(
            graph, variables, confounders=dict.fromkeys(graph.confounders, Confounder(states=9))
        )

    def tables(self, variant: Variant) -> tuple[dict[str, np.ndarray], dict]:
        """Compute P(outcome | do(pka)), a row for each level; and give the held-out cells."""
        rows, held_out = self.rows(variant)
        if variant.method in ("conditioning", "no effect"):
            return {
                o: given_pka(rows, o, variant.method == "no effect") for o in OUTCOMES
            }, held_out
        pipe = self.pipeline(variant, rows)
        self.train(variant, pipe, rows)
        fixed = {"reagent": "none"} if "reagent" in rows else {}
        answers = {o: [] for o in OUTCOMES}
        for outcome, level in ((o, level) for o in OUTCOMES for level in range(LEVELS)):
            generator = spawn(self.options.seed, outcome, level)
            do = {"pka": level, **fixed}
            out = pipe(self.options.samples, do=do, outcomes=outcome, generator=generator)
            answers[outcome].append(out.probabilities[outcome].mean(dim=0).double().numpy())
        return {o: np.stack(table) for o, table in answers.items()}, held_out

    def train(self, variant: Variant, pipe: CausalPipeline, rows: Mapping[str, list]) -> None:
        """Train by likelihood, or by a game that gets ten times the seconds."""
        seed, steps = self.options.seed, self.options.steps
        if variant.method == "likelihood":
            config = TrainingConfig(steps=steps, seed=seed)
            spent = train_modular(pipe, rows, config, held_out=0)
            self.seconds.setdefault(variant.experiments, spent)
            return

        def play(pipe: CausalPipeline, config: TrainingConfig) -> float:
            if variant.method == "joint adversarial":
                return train_joint(pipe, rows, config)
            config = dataclasses.replace(config, learning_rate=2e-3)
            return train_joint(pipe, rows, config, critic_steps=5, slope=1.0)

        budget = AT_MOST * self.seconds[variant.experiments]
        steps = 8 if self.options.smoke else steps_within(budget, play, pipe)
        spent = play(pipe, TrainingConfig(steps=steps, seed=seed))
        print(f"{variant}: {steps} steps in {spent:.0f} s of CPU")


def given_pka(rows: Mapping[str, list], outcome: str, is_blind: bool) -> np.ndarray:
    """Compute P(outcome | pka) in some rows, a row for each level of PKA; or P(outcome)."""
    counts = np.zeros((LEVELS, LEVELS))
    np.add.at(counts, (rows["pka"], rows[outcome]), 1)
    counts = np.tile(counts.sum(axis=0), (LEVELS, 1)) if is_blind else counts
    return counts / counts.sum(axis=1, keepdims=True)


def shares(codes: torch.Tensor) -> torch.Tensor:
    return torch.bincount(codes, minlength=LEVELS).double() / len(codes)


def figures(
    predict: Callable[[torch.Tensor], torch.Tensor],
    held_out: Mapping[str, np.ndarray],
    outcome: str,
) -> dict:
    """Compare a prediction, a function of the levels of PKA, with the cells held out."""
    cells = torch.as_tensor(np.stack([held_out["pka"], held_out[outcome]], axis=1))
    result: dict = {"predicted": predict(cells[:, 0]).tolist()}
    for name, distance in (("tvd", total_variation), ("kl", kl_divergence)):
        interval = bootstrap_interval(
            lambda drawn, d=distance: d(shares(drawn[:, 1]), predict(drawn[:, 0])),
            cells,
            generator=torch.Generator().manual_seed(0),
            repeats=500,
        )
        result[name] = [interval.estimate, interval.low, interval.high]
    return result


def run(study: Study, variant: Variant) -> dict:
    """Predict both outcomes by one variant, and compare."""
    tables, held_out = study.tables(variant)
    result: dict = {}
    for outcome in OUTCOMES:
        measured = shares(torch.as_tensor(held_out[outcome]))
        floor = sampling_floor(measured, len(held_out[outcome]), generator=spawn(0, outcome))
        found = result[outcome] = {
            "measured": measured.tolist(),
            "floor": [floor.mean, floor.upper],
        }
        for place, is_high in (("as measured", False), ("highest", True)):
            P = torch.as_tensor(tables[outcome])
            predict = (lambda _, P=P: P[-1]) if is_high else (lambda a, P=P: shares(a) @ P)
            found[place] = figures(predict, held_out, outcome)
        told = [
            f"{place} TVD {found[place]['tvd'][0]:.3f}" for place in ("as measured", "highest")
        ]
        print(f"{variant!s:52} {outcome}: {', '.join(told)} (floor {floor.mean:.3f})", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", nargs="?", help="sachs_full.csv, or a folder that holds it")
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=400, help="of the likelihood")
    parser.add_argument("--smoke", action="store_true", help="a few steps of everything")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--resume", action="store_true", help="keep what the output holds")
    options = parser.parse_args()
    if options.smoke:
        options.steps, options.samples = 8, 500
    torch.set_num_threads(1)
    study = Study(read_sachs(options.source), options)
    results = json.loads(options.output.read_text()) if options.resume else {}
    study.seconds = {r["experiments"]: r["seconds"] for r in results.values() if "seconds" in r}
    for variant in VARIANTS:
        if str(variant) in results:
            continue
        found = run(study, variant)
        if variant == Variant(variant.experiments):
            found["seconds"] = study.seconds[variant.experiments]
        results[str(variant)] = {**dataclasses.asdict(variant), **found}
        if options.output:
            options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
