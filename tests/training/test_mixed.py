"""Districts of numbers and labels against what is known: enumeration, quadrature, closed forms."""

import math

import numpy as np
import pytest
import torch

from causal_diffusers import (
    Categorical,
    CategoricalMechanism,
    CausalPipeline,
    Confounder,
    ConfounderPrior,
    Continuous,
    FlowMechanism,
    ModularTrainer,
    TrainingConfig,
)
from causal_diffusers.training import LikelihoodObjective
from tiny import shake

TWO, NUMBER = Categorical([0, 1]), Continuous()


def district(u, draws=256):
    """A label X and a number Y that listens to it and to a number Z, confounded by U."""
    mechanisms = {
        "X": CategoricalMechanism(width=8).bind(TWO, {}, {"U": u}),
        "Y": FlowMechanism(width=8).bind(NUMBER, {"X": TWO, "Z": NUMBER}, {"U": u}),
    }
    priors = {"U": ConfounderPrior(states=u.states)} if u.states else {}
    shake([*mechanisms.values(), *priors.values()])
    return LikelihoodObjective(mechanisms, {"U": u}, priors, draws=draws)


def rows(number):
    generator = torch.Generator().manual_seed(3)
    x = torch.randint(2, (number,), generator=generator)
    y, z = torch.randn(2, number, 1, generator=generator)
    return {"X": x, "Y": y, "Z": z}


def joint(objective, batch, value, prior):
    """p(u) p(x | u) p(y | x, z, u), row by row."""
    number = len(batch["X"])
    u = {"U": value.expand(number, *value.shape[1:])}
    f, g = objective.mechanisms["X"], objective.mechanisms["Y"]
    p_x = f.probabilities({}, u)[torch.arange(number), batch["X"]].double()
    density = g.log_prob(batch["Y"], {"X": batch["X"], "Z": batch["Z"]}, u).exp().double()
    return prior * p_x * density


@torch.no_grad()
def test_a_finite_confounder_is_summed_exactly():
    objective, batch = district(Confounder(states=5)), rows(20)
    weights = objective.priors["U"].log_weights().exp()
    total = sum(joint(objective, batch, torch.tensor([k]), weights[k]) for k in range(5))
    found = objective(batch, seed=0).double()
    torch.testing.assert_close(found, -total.log(), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_gaussian_confounder_is_integrated():
    objective, batch = district(Confounder(dim=1), draws=4096), rows(20)
    grid = torch.linspace(-6, 6, 601)
    prior = torch.exp(-(grid.double() ** 2) / 2) / math.sqrt(2 * math.pi) * 0.02
    total = sum(joint(objective, batch, u.view(1, 1), p) for u, p in zip(grid, prior, strict=True))
    found = objective(batch, seed=0).double()
    torch.testing.assert_close(found, -total.log(), atol=2e-2, rtol=2e-2)


def test_rows_are_drawn_where_there_are_numbers():
    """More draws of the confounder, fewer rows a step; labels alone are still counted."""
    sizes = [
        district(u, draws=256).defaults.batch_size
        for u in (Confounder(states=4), Confounder(states=128), Confounder(dim=2))
    ]
    assert sizes == [512, 128, 64]


def test_a_number_that_cannot_be_is_blamed():
    objective, batch = district(Confounder(states=2)), rows(1)
    batch["Y"] = torch.full((1, 1), 1e30)
    assert not objective(batch, seed=0).isfinite()
    assert objective.culprits(batch, seed=0) == ("Y",)


def fit(graph, data, *, steps, confounders=None, seed=0):
    variables = {
        name: Continuous.of(column) if column.is_floating_point() else TWO
        for name, column in data.items()
    }
    torch.manual_seed(seed)
    pipe = CausalPipeline.from_graph(graph, variables, confounders=confounders)
    config = TrainingConfig(steps=steps, batch_size=256)
    ModularTrainer(pipe, data, config=config).train()
    return pipe


def ask(pipe, do, number=4000):
    out = pipe(number, do=do, outcomes="Y", generator=torch.Generator().manual_seed(1))
    return np.array(out.values["Y"])


@pytest.mark.slow
def test_back_door(generator):
    """Z -> X -> Y <- Z: Y given do(x) is N(0.5 x, 1 + 0.25), where regression says 1.1 x."""
    z, x, y = torch.randn(3, 10_000, generator=generator)
    x = 0.8 * z + 0.6 * x
    y = 0.5 * x + z + 0.5 * y
    pipe = fit("Z -> X -> Y; Z -> Y", {"Z": z, "X": x, "Y": y}, steps=400)
    for value in (-1.0, 0.0, 1.0):
        drawn = ask(pipe, {"X": value})
        assert abs(drawn.mean() - 0.5 * value) < 0.12
        assert abs(drawn.std() / math.sqrt(1.25) - 1) < 0.1


@pytest.mark.slow
def test_front_door_with_numbers(generator):
    """X -> M -> Y, X <-> Y: Y given do(x) is N(0.42 x, 2.18), where regression says 1.23 x."""
    u, x, m, y = torch.randn(4, 20_000, generator=generator)
    x = u + 0.7 * x
    m = 0.6 * x + m
    y = 0.7 * m + 1.2 * u + 0.5 * y
    spread = math.sqrt(0.49 + 1.44 + 0.25)
    pipe = fit(
        "X -> M -> Y; X <-> Y",
        {"X": x, "M": m, "Y": y},
        steps=600,
        confounders={"U_X_Y": Confounder(states=8)},
    )
    for value in (-1.2, 0.0, 1.2):
        drawn = ask(pipe, {"X": value})
        assert abs(drawn.mean() - 0.42 * value) < 0.2  # regression is off by 0.97
        assert abs(drawn.std() / spread - 1) < 0.15


@pytest.mark.slow
def test_front_door_of_labels_and_a_number(generator):
    """A label X, a label M, a number Y: given do(x) a mixture of two normals, in closed form."""
    u, e = torch.randn(2, 20_000, generator=generator)
    coins = torch.rand(2, 20_000, generator=generator)
    x = (coins[0] < torch.sigmoid(2 * u)).long()
    m = (coins[1] < 0.2 + 0.6 * x).long()
    y = 2.0 * m + u + 0.5 * e
    pipe = fit(
        "X -> M -> Y; X <-> Y",
        {"X": x, "M": m, "Y": y},
        steps=500,
        confounders={"U_X_Y": Confounder(states=8)},
    )

    def below(edge, p):
        normal = torch.distributions.Normal(0.0, math.sqrt(1.25))
        at = [normal.cdf(torch.tensor(edge - 2.0 * value)).item() for value in (0, 1)]
        return (1 - p) * at[0] + p * at[1]

    for value, p in ((0, 0.2), (1, 0.8)):
        drawn = ask(pipe, {"X": value})
        assert abs(drawn.mean() - 2 * p) < 0.15  # conditioning is off by 0.66
        worst = max(abs((drawn < e).mean() - below(e, p)) for e in (-1.0, 0.0, 1.0, 2.0, 3.0))
        assert worst < 0.05
