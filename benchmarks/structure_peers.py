"""How well do other methods learn the graphs of linear families, one task at a time?

Each peer is a function from data, with shape (T, n, d), to weights, with shape (T, d, d):
DAGMA, NOTEARS, sortnregress, and regression by someone who is told the causal order. What
has a penalty or a threshold gets those that are best on tuning tasks of the same family,
and is then judged on test tasks. Beside them the Bayes posterior under the true law of the
tasks, by someone who is told that law and the order: nobody who is told less does better.

    python benchmarks/structure_peers.py [--cache FOLDER] [--only order-consistent-10-30 ...]

Some hours on one core, nearly all of them DAGMA's; what is in the cache is not done again.
Seconds are those of one core, its waits left out.

References:
    DAGs with NO TEARS (Zheng et al., 2018).
    Beware of the simulated DAG! (Reisach, Seiler & Weichwald, 2021): sortnregress.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.linalg
import scipy.optimize
import torch
from structure_dagma import dagma, dagma_package
from structure_posterior import Posterior, edge_posterior
from torch import Tensor

from causal_diffusers.metrics import (
    average_precision,
    bootstrap_interval,
    calibration,
    edge_rates,
    structural_hamming_distance,
)
from causal_diffusers.systems.sem import LinearFamily, Tasks

LAMBDAS = 0.05, 0.1, 0.2  # and on, where the best is at an end
THRESHOLDS = torch.linspace(0.1, 2.5, 49)
TUNING, TEST = (50, 11), (100, 12)  # how many tasks, and the seed that draws them
CACHE = Path(tempfile.gettempdir()) / "peers"
OUTPUT = Path(__file__).parent / "results" / "structure_peers.json"


@dataclasses.dataclass(frozen=True)
class Setting:
    """A family, and how many samples its tasks have."""

    family: LinearFamily
    n: int

    @property
    def name(self) -> str:
        return f"{self.family.setting}-{self.family.variables}-{self.n}"

    def tasks(self, part: str) -> Tasks:
        count, seed = TUNING if part == "tuning" else TEST
        generator = torch.Generator().manual_seed(seed)
        return self.family.sample(count, self.n, generator=generator)


SMALL, LARGE = (LinearFamily(d, E, "order-consistent", seed=1) for d, E in ((10, 13.5), (20, 40)))
SETTINGS = {
    setting.name: setting
    for setting in (
        Setting(SMALL, 30),
        Setting(SMALL, 10),
        Setting(LinearFamily(10, 13.5, "general"), 30),
        Setting(LARGE, 30),
        Setting(LARGE, 10),
        Setting(LinearFamily(10, 13.5, "general"), 100),
    )
}


def notears(data: Tensor, penalty: float) -> Tensor:
    """Run NOTEARS with an L1 penalty, as its authors' `notears_linear`, with their constants."""
    x = data.double() - data.double().mean(dim=1, keepdim=True)
    covariances = (x.mT @ x / x.shape[1]).numpy()
    return torch.as_tensor(np.stack([_notears_one(cov, penalty) for cov in covariances]))


def _notears_one(cov: np.ndarray, penalty: float) -> np.ndarray:
    """Minimise by the augmented Lagrangian; W is the difference of two non-negative arrays."""
    d = len(cov)
    rho, alpha, h, w = 1.0, 0.0, np.inf, np.zeros(2 * d * d)

    def cycles(w):
        W = (w[: d * d] - w[d * d :]).reshape(d, d)
        E = scipy.linalg.expm(W * W)
        return W, np.trace(E) - d, 2 * E.T * W

    def objective(w):
        W, h, slope = cycles(w)
        rest = np.eye(d) - W
        value = 0.5 * np.sum(rest * (cov @ rest)) + 0.5 * rho * h * h + alpha * h
        smooth = (-cov @ rest + (rho * h + alpha) * slope).ravel()
        return value + penalty * w.sum(), np.concatenate([smooth + penalty, penalty - smooth])

    off = (1 - np.eye(d)).ravel()
    bounds = [(0, None if free else 0) for free in np.concatenate([off, off])]
    for _ in range(100):
        new, now = w, h
        while rho < 1e16:
            fit = scipy.optimize.minimize(objective, w, jac=True, method="L-BFGS-B", bounds=bounds)
            new, now = fit.x, cycles(fit.x)[1]
            if now <= 0.25 * h:
                break
            rho *= 10
        w, h = new, now
        alpha += rho * h
        if h <= 1e-8 or rho >= 1e16:
            break
    return cycles(w)[0]


def sortnregress(data: Tensor) -> Tensor:
    """Order the variables by their variance, then regress by an adaptive lasso with BIC.

    With too few samples for its own estimate of it, the lasso is told the variance of the noise.
    """
    from sklearn.linear_model import LassoLarsIC

    W = np.zeros((len(data), data.shape[2], data.shape[2]))
    for t, x in enumerate(data.double().numpy()):
        x = x - x.mean(axis=0)
        order = x.var(axis=0).argsort()
        for k in range(1, len(order)):
            before, target = order[:k], order[k]
            size = np.abs(np.linalg.lstsq(x[:, before], x[:, target])[0])
            lasso = LassoLarsIC("bic", noise_variance=None if len(x) > k + 1 else 1.0)
            W[t, before, target] = lasso.fit(x[:, before] * size, x[:, target]).coef_ * size
    return torch.as_tensor(W)


def ordered_regression(data: Tensor, order: Tensor) -> Tensor:
    """Regress each variable on those before it: least squares, the shortest if many fit."""
    x = data.double()
    W = torch.zeros(len(x), x.shape[2], x.shape[2], dtype=x.dtype)
    for k in range(1, len(order)):
        before, target = order[:k], order[k]
        W[:, before, target] = (torch.linalg.pinv(x[..., before]) @ x[..., target, None])[..., 0]
    return W


@dataclasses.dataclass
class Cache:
    """Estimates and the seconds they took, on disk, one file for each call of a peer."""

    folder: Path

    def get(self, setting: Setting, part: str, name: str, peer: Callable[[Tensor], Tensor]):
        """Give (weights, seconds a task), computing what is missing."""
        path = self.folder / f"{setting.name}_{name}_{part}.npz"
        if not path.exists():
            tasks = setting.tasks(part)
            started = time.process_time()
            weights = peer(tasks.data)
            seconds = (time.process_time() - started) / weights.shape[-3]
            self.folder.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".part.npz")
            np.savez(unfinished, weights=weights.numpy(), seconds=seconds)
            unfinished.rename(path)
            print(f"{path.stem}: {seconds:.2f} s a task", flush=True)
        with np.load(path) as stored:
            return torch.as_tensor(stored["weights"]), float(stored["seconds"])


def best_threshold(weights: Tensor, truth: Tensor) -> tuple[float, float]:
    """Give the mean distance at the best threshold, and that threshold."""
    graphs = weights.abs() > THRESHOLDS[:, None, None, None]
    distances = structural_hamming_distance(graphs, truth).double().mean(dim=1)
    return distances.min().item(), THRESHOLDS[distances.argmin()].item()


def tune(setting: Setting, name: str, peer: Callable[[Tensor, float], Tensor], cache: Cache):
    """Give the penalty and threshold that are best on the tuning tasks, and what was tried."""
    truth, tried = setting.tasks("tuning").graphs, {}

    def attempt(penalty: float) -> None:
        found = cache.get(setting, "tuning", f"{name}-{penalty}", lambda x: peer(x, penalty))
        tried[penalty] = best_threshold(found[0], truth)

    for penalty in LAMBDAS:
        attempt(penalty)
    while (best := min(tried, key=lambda p: tried[p])) in (min(tried), max(tried)):
        attempt(best * 2 if best == max(tried) else best / 2)
    return best, tried[best][1], tried


def score(weights: Tensor, threshold: float, truth: Tensor) -> dict:
    """Judge the edges whose absolute weight is above the threshold, and the ranking of all."""
    graphs = weights.abs() > threshold
    distances = structural_hamming_distance(graphs, truth).double()
    interval = bootstrap_interval(
        torch.mean, distances, generator=torch.Generator().manual_seed(0)
    )
    return {
        "threshold": round(threshold, 3),
        "shd": [round(v, 3) for v in (interval.estimate, interval.low, interval.high)],
        "average precision": round(average_precision(weights.abs(), truth), 4),
        **{k: round(v, 4) for k, v in dataclasses.asdict(edge_rates(graphs, truth)).items()},
    }


def tuned(setting: Setting, name: str, peer: Callable, cache: Cache) -> dict:
    """Tune a peer that has a penalty, and judge it on the test tasks."""
    penalty, threshold, tried = tune(setting, name, peer, cache)
    weights, seconds = cache.get(setting, "test", f"{name}-{penalty}", lambda x: peer(x, penalty))
    return {
        "penalty": penalty,
        **score(weights, threshold, setting.tasks("test").graphs),
        "seconds a task": round(seconds, 3),
        "tuning (penalty, shd, threshold)": [
            [p, *(round(v, 3) for v in found)] for p, found in sorted(tried.items())
        ],
    }


def untuned(
    setting: Setting, name: str, peer: Callable[[Tensor], Tensor], usual: float, cache: Cache
) -> dict:
    """Judge a peer without a penalty, at its usual threshold and at the best one."""
    truth = setting.tasks("test").graphs
    weights, seconds = cache.get(setting, "test", name, peer)
    tuning = cache.get(setting, "tuning", name, peer)[0]
    best = best_threshold(tuning, setting.tasks("tuning").graphs)[1]
    return {
        f"{name}, threshold {usual:g}": score(weights, usual, truth),
        f"{name}, threshold tuned": score(weights, best, truth)
        | {"seconds a task": round(seconds, 4)},
    }


def bayes(setting: Setting, cache: Cache) -> dict:
    """Judge the posterior, whose probabilities need no threshold but one half."""

    def peer(data: Tensor) -> Tensor:
        generator, sweeps = torch.Generator().manual_seed(0), 15_000 // data.shape[2]
        return edge_posterior(data, setting.family, generator=generator, sweeps=sweeps).halves

    truth = setting.tasks("test").graphs
    halves, seconds = cache.get(setting, "test", "posterior", peer)
    posterior = Posterior(halves)
    found = calibration(posterior.probabilities, truth)
    bins = torch.stack([found.probability, found.frequency, found.count], dim=1)
    return {
        **score(posterior.probabilities, 0.5, truth),
        "calibration error": round(found.error, 4),
        "bins (probability, frequency, count)": [
            [round(value, 3) for value in row] for row in bins[found.count > 0].tolist()
        ],
        "halves differ": {k: round(v, 4) for k, v in posterior.disagreement.items()},
        "seconds a task": round(seconds, 3),
    }


def package(setting: Setting, penalty: float, cache: Cache, count: int = 3) -> dict:
    """Compare the batch with the package dagma on a few tasks."""
    ours = cache.get(setting, "test", f"dagma-{penalty}", lambda x: dagma(x, penalty))[0]
    theirs, seconds = cache.get(
        setting, "test", f"package-{penalty}", lambda x: dagma_package(x[:count], penalty)
    )
    gap = (theirs - ours[:count]).abs().max().item()
    return {"largest difference": round(gap, 5), "seconds a task": round(seconds, 3)}


def report(setting: Setting, cache: Cache) -> dict:
    """Judge all peers in a setting."""
    results = untuned(setting, "sortnregress", sortnregress, 0.0, cache)
    if setting.family.setting == "order-consistent":
        order = setting.family.order
        results |= untuned(
            setting, "true order", lambda x: ordered_regression(x, order), 0.3, cache
        )
        results["posterior, true order"] = bayes(setting, cache)
    results["DAGMA"] = tuned(setting, "dagma", dagma, cache)
    results["DAGMA"]["package"] = package(setting, results["DAGMA"]["penalty"], cache)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--only", nargs="*", default=list(SETTINGS))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--without-notears", action="store_true", help="which takes the longest")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cache, results = Cache(options.cache), {name: {} for name in options.only}

    def publish(name: str, found: dict) -> None:
        results[name] |= found
        for peer, row in found.items():
            print(f"{name:24} {peer:32} {row['shd']} {row['average precision']}", flush=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n")

    for name in options.only:
        publish(name, report(SETTINGS[name], cache))
    for name in options.only:  # last, being slow
        if SETTINGS[name].family.variables <= 10 and not options.without_notears:
            publish(name, {"NOTEARS": tuned(SETTINGS[name], "notears", notears, cache)})


if __name__ == "__main__":
    main()
