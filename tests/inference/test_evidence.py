"""Continuous evidence: likelihood weighting by density, against closed forms and enumeration."""

import numpy as np
import pytest
import torch
from diffusers.configuration_utils import register_to_config

from causal_diffusers.graphs import ADMG
from causal_diffusers.inference import sample
from causal_diffusers.mechanisms import (
    CategoricalMechanism,
    ConfounderPrior,
    FlowMechanism,
    LikelihoodMechanism,
)
from causal_diffusers.scm import StructuralCausalModel
from causal_diffusers.variables import Categorical, Confounder, Continuous
from tiny import shake

NUMBER = Continuous()


class LinearGaussian(LikelihoodMechanism):
    """v = sum of weight times parent or confounder, plus noise: everything in closed form."""

    @register_to_config
    def __init__(self, weights=None, spread=1.0, variable=None, parents=None, confounders=None):
        super().__init__()

    def _check_signature(self, variable, parents, confounders):
        pass

    def _build(self):
        self.anchor = torch.nn.Parameter(torch.zeros(1))

    def _mean(self, parents, confounders, number):
        weights = self.config["weights"] or {}
        terms = [weights[n] * v for n, v in {**parents, **confounders}.items()]
        return sum(terms, torch.zeros(number, 1))

    def log_prob(self, values, parents, confounders, *, outer=False):
        if outer:
            parents = {n: v[:, None] for n, v in parents.items()}
            values = values[:, None]
        mean = self._mean(parents, confounders, 1)
        spread = self.config["spread"]
        return torch.distributions.Normal(mean, spread).log_prob(values).sum(dim=-1)

    def sample(self, parents, confounders, *, num_samples, generator, options):
        noise = torch.randn(num_samples, 1, generator=generator)
        return self._mean(parents, confounders, num_samples) + self.config["spread"] * noise


def linear(graph, weights, spreads):
    """Give the model, and the covariance of its variables with its matrix of weights."""
    G = ADMG.parse(graph)
    names = G.topological_order()
    scm = StructuralCausalModel(
        G,
        dict.fromkeys(names, NUMBER),
        {n: LinearGaussian(weights[n], spreads[n]) for n in names},
        {u: Confounder(dim=1) for u in G.confounders},
    )
    order = [*G.confounders, *names]
    A = np.zeros((len(order), len(order)))
    for name in names:
        for cause, weight in weights[name].items():
            A[order.index(name), order.index(cause)] = weight
    noise = np.diag([1.0] * len(G.confounders) + [spreads[n] ** 2 for n in names])
    return scm, order, A, noise


def truth(order, A, noise, outcome, do, given):
    """Mutilate, multiply, condition: mean and variance of the outcome."""
    A, noise = A.copy(), noise.copy()
    for name in do:
        A[order.index(name)] = 0
        noise[order.index(name)] = 0
    total = np.linalg.inv(np.eye(len(order)) - A)
    shift = np.array([do.get(name, 0.0) for name in order])
    mean, cov = total @ shift, total @ noise @ total.T
    y, z = order.index(outcome), [order.index(n) for n in given]
    gain = cov[y, z] @ np.linalg.inv(cov[np.ix_(z, z)])
    told = np.array(list(given.values())) - mean[z]
    return mean[y] + gain @ told, cov[y, y] - gain @ cov[z, y]


QUERIES = [
    ("X", {}, {"Y": 1.0}),
    ("M", {}, {"Y": -1.5}),
    ("Y", {}, {"X": 1.2}),
    ("Y", {"X": 1.5}, {"M": 0.3}),
    ("M", {"X": -1.0}, {"Y": 0.5}),
    ("X", {"M": 1.0}, {"Y": 1.0}),
    ("X", {}, {"M": 0.5, "Y": 1.0}),
]


@pytest.mark.parametrize(("outcome", "do", "given"), QUERIES)
def test_it_is_gaussian_conditioning(outcome, do, given):
    weights = {"X": {"U_X_Y": 0.8}, "M": {"X": 0.7}, "Y": {"M": 0.9, "U_X_Y": -0.6}}
    scm, *matrices = linear("X -> M -> Y; X <-> Y", weights, {"X": 0.6, "M": 0.7, "Y": 0.8})
    mean, variance = truth(*matrices, outcome, do, given)
    answer = sample(
        scm,
        4000,
        outcomes=[outcome],
        do={n: torch.tensor([v]) for n, v in do.items()},
        given={n: torch.tensor([v]) for n, v in given.items()},
        generator=torch.Generator().manual_seed(0),
        pool_size=40_000,
    )
    drawn = answer.units.values[outcome].double()
    error = 4 * (variance / min(4000, answer.effective_sample_size)) ** 0.5
    assert abs(drawn.mean().item() - mean) < error
    assert abs(drawn.var().item() / variance - 1) < 0.15
    assert answer.effective_sample_size > 0.05 * 40_000


def test_each_row_has_evidence_of_its_own():
    scm, *matrices = linear(
        "X -> Y; X <-> Y", {"X": {"U_X_Y": 1}, "Y": {"X": 0.5, "U_X_Y": 1}}, {"X": 1, "Y": 1}
    )
    asked = torch.tensor([[-1.0], [2.0]]).repeat_interleave(1500, 0)
    answer = sample(scm, 3000, given={"Y": asked}, generator=torch.Generator().manual_seed(0))
    for rows, value in ((slice(0, 1500), -1.0), (slice(1500, 3000), 2.0)):
        mean, variance = truth(*matrices, "X", {}, {"Y": value})
        drawn = answer.units.values["X"][rows]
        assert abs(drawn.mean().item() - mean) < 5 * (variance / 1500) ** 0.5


@pytest.mark.parametrize("seed", range(3))
def test_a_mixed_district_agrees_with_enumeration(seed):
    """X, of three labels, and the number Y share a finite U; Z is what both cause."""
    three, two, U = Categorical("abc"), Categorical([0, 1]), Confounder(states=3)
    mechanisms = {
        "X": CategoricalMechanism(width=8),
        "Y": FlowMechanism(width=8),
        "Z": CategoricalMechanism(width=8),
    }
    scm = StructuralCausalModel(
        ADMG.parse("X -> Y -> Z; X -> Z; X <-> Y"),
        {"X": three, "Y": NUMBER, "Z": two},
        mechanisms,
        {"U_X_Y": U},
        {"U_X_Y": ConfounderPrior(states=3)},
    )
    shake([*mechanisms.values(), *scm.priors.values()], seed=seed)
    y, joint = torch.tensor([[0.4]]), torch.zeros(3, 2)
    for x in range(3):
        code = torch.tensor([x])
        for u, p_u in enumerate(scm.priors["U_X_Y"].log_weights().exp()):
            hidden = {"U_X_Y": torch.tensor([u])}
            p_x = mechanisms["X"].probabilities({}, hidden)[0, x]
            density = mechanisms["Y"].log_prob(y, {"X": code}, hidden).exp()
            p_z = mechanisms["Z"].probabilities({"X": code, "Y": y}, {})[0]
            joint[x] += (p_u * p_x * density * p_z).detach()
    asked = {"generator": torch.Generator().manual_seed(0), "pool_size": 40_000}
    answer = sample(scm, 4000, given={"Y": y[0]}, **asked)
    p_x = joint.sum(dim=1) / joint.sum()
    assert (answer.probabilities["X"].mean(dim=0) - p_x).abs().max() < 0.02
    both = sample(scm, 4000, outcomes=["X"], given={"Y": y[0], "Z": torch.tensor(1)}, **asked)
    p_x = joint[:, 1] / joint[:, 1].sum()
    assert (both.probabilities["X"].mean(dim=0) - p_x).abs().max() < 0.02
