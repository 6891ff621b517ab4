"""The likelihood against brute-force enumeration and dense quadrature."""

import itertools
import math

import numpy as np
import pytest
import torch

from causal_diffusers import (
    Categorical,
    CategoricalMechanism,
    Confounder,
    ConfounderPrior,
    DiffusionMechanism,
)
from causal_diffusers.training import LikelihoodObjective, Rows
from causal_diffusers.training.likelihood import confounder_grid
from tiny import shake

TWO, THREE = Categorical([0, 1]), Categorical("abc")
CPU = torch.device("cpu")


class District:
    """Z -> X -> Y with X <-> Y by U, Y <-> W by V, each confounder as one likes it."""

    def __init__(self, u, v, *, seed=0, draws=256):
        self.confounders = {"U": u, "V": v}
        self.mechanisms = {
            "X": CategoricalMechanism(width=8).bind(THREE, {"Z": TWO}, {"U": u}),
            "Y": CategoricalMechanism(width=8).bind(TWO, {"X": THREE}, {"U": u, "V": v}),
            "W": CategoricalMechanism(width=8).bind(TWO, {}, {"V": v}),
        }
        finite = {name: c for name, c in self.confounders.items() if c.states}
        self.priors = {name: ConfounderPrior(states=c.states) for name, c in finite.items()}
        shake([*self.mechanisms.values(), *self.priors.values()], seed=seed)
        self.objective = LikelihoodObjective(
            self.mechanisms, self.confounders, self.priors, draws=draws
        )

    def cells(self):
        """Give every configuration of Z, X, Y, W."""
        grid = torch.tensor(list(itertools.product(*map(range, (2, 3, 2, 2)))))
        return dict(zip("ZXYW", grid.unbind(1), strict=True))

    @torch.no_grad()
    def brute_force(self, points=24):
        """Sum p(u) p(v) p(x | z, u) p(y | x, u, v) p(w | v) over a table of u and v."""
        us, vs = (list(self._table(name, points)) for name in "UV")
        cells, total = self.cells(), torch.zeros(24, dtype=torch.float64)
        for (p_u, u), (p_v, v) in itertools.product(us, vs):
            own = {"X": {"U": u}, "Y": {"U": u, "V": v}, "W": {"V": v}}
            product = torch.full((24,), p_u * p_v, dtype=torch.float64)
            for name, f in self.mechanisms.items():
                drawn = {
                    c: value.repeat(24, *[1] * (value.dim() - 1)) for c, value in own[name].items()
                }
                table = f.probabilities({p: cells[p] for p in f.parents}, drawn, num_samples=24)
                product *= table[torch.arange(24), cells[name]]
            total += product
        return total

    def _table(self, name, points):
        """Yield weights and values: the states, or the nodes of Gauss and Hermite."""
        if name in self.priors:
            weights = self.priors[name].logits.softmax(0)
            yield from ((weights[k].item(), torch.tensor([k])) for k in range(len(weights)))
            return
        nodes, weights = np.polynomial.hermite_e.hermegauss(points)
        weights = weights / math.sqrt(2 * math.pi)
        for axes in itertools.product(range(points), repeat=self.confounders[name].dim):
            yield math.prod(weights[list(axes)]), torch.from_numpy(nodes[list(axes)])[None].float()


def likelihood(district, seed=0):
    with torch.no_grad():
        return (-district.objective(district.cells(), seed)).double().exp()


@pytest.mark.parametrize("seed", range(5))
def test_finite_confounders_are_summed_exactly(seed):
    district = District(Confounder(states=3), Confounder(states=2), seed=seed)
    found = likelihood(district)
    torch.testing.assert_close(found, district.brute_force(), rtol=1e-5, atol=0)
    by_z = found.view(2, -1).sum(dim=1)
    torch.testing.assert_close(by_z, torch.ones(2, dtype=torch.float64), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("u", "v"),
    [
        (Confounder(dim=1), Confounder(dim=1)),
        (Confounder(states=3), Confounder(dim=1)),
        (Confounder(dim=2), Confounder(states=2)),
    ],
)
def test_gaussian_confounders_agree_with_dense_quadrature(u, v):
    district = District(u, v, draws=2**13)
    truth = district.brute_force()
    torch.testing.assert_close(likelihood(district), truth, rtol=3e-3, atol=0)


def test_a_sobol_set_beats_as_many_independent_draws():
    u = {"U": Confounder(dim=1)}
    f = CategoricalMechanism(width=8).bind(TWO, {}, u)
    shake([f])
    objective, row = LikelihoodObjective({"X": f}, u, {}, draws=256), torch.tensor([1])
    with torch.no_grad():
        sobol = torch.cat([objective({"X": row}, seed) for seed in range(16)])
        u = torch.randn(16 * 256, 1, generator=torch.Generator().manual_seed(0))
        terms = f.log_prob(row, {}, {"U": u}, outer=True).view(16, 256)
        independent = math.log(256) - terms.logsumexp(dim=1)
    assert sobol.std() < 0.2 * independent.std()


def test_ignoring_the_confounder_is_not_the_optimum():
    """The logarithm lies outside the mean: two equal coins are better than two fair ones."""
    u = {"U": Confounder(states=2)}
    mechanisms = {name: CategoricalMechanism(width=8).bind(TWO, {}, u) for name in "XY"}
    prior = {"U": ConfounderPrior(states=2)}
    objective = LikelihoodObjective(mechanisms, u, prior)
    rows = {name: torch.tensor([0, 1]) for name in "XY"}
    adam = torch.optim.Adam(objective.parameters(), lr=0.05)
    for _ in range(150):
        adam.zero_grad()
        objective(rows, 0).mean().backward()
        adam.step()
    assert objective(rows, 0).mean().item() == pytest.approx(math.log(2), abs=0.02)  # not log 4


@pytest.mark.parametrize(
    "confounder", [Confounder(states=3), Confounder(dim=2)], ids=["finite", "gaussian"]
)
def test_counts_give_the_loss_of_the_rows(confounder, generator):
    district = District(confounder, confounder)
    sizes = {"Z": TWO, "X": THREE, "Y": TWO, "W": TWO}
    columns = {
        name: torch.randint(len(v.labels), (300,), generator=generator)
        for name, v in sizes.items()
    }
    rows = Rows(columns, sizes)
    distinct, weights = rows.counts(district.objective.columns)
    assert weights.sum() == 300
    assert len(weights) == 24
    parameters = list(district.objective.parameters())

    def both(loss):
        return loss.detach(), torch.autograd.grad(loss, parameters)

    collapsed, g = both((weights * district.objective(distinct, 4)).sum() / weights.sum())
    raw, h = both(district.objective(rows.batch(torch.arange(300)), 4).mean())
    torch.testing.assert_close(collapsed, raw)
    for one, other in zip(g, h, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_a_factor_is_computed_once_for_what_it_sees(generator, monkeypatch):
    district = District(Confounder(states=3), Confounder(dim=2))
    rows = {"Z": torch.randint(2, (90,), generator=generator)}
    rows |= {"X": torch.randint(3, (90,), generator=generator)}
    rows |= {name: torch.randint(2, (90,), generator=generator) for name in "YW"}
    asked, plain = {}, CategoricalMechanism.log_prob

    def counted(mechanism, value, *arguments, **options):
        asked[tuple(mechanism.parents)] = len(value)
        return plain(mechanism, value, *arguments, **options)

    monkeypatch.setattr(CategoricalMechanism, "log_prob", counted)
    losses = district.objective(rows, seed=3)
    assert asked == {("Z",): 6, ("X",): 6, (): 2}
    alone = [
        district.objective({n: v[i : i + 1] for n, v in rows.items()}, seed=3) for i in range(5)
    ]
    torch.testing.assert_close(losses[:5], torch.cat(alone))


def test_discrete_districts_are_collapsed_and_others_are_not():
    from causal_diffusers import Image

    seen = CategoricalMechanism().bind(TWO, {"X": THREE}, {})
    assert LikelihoodObjective({"Y": seen}, {}, {}).defaults.batch_size is None
    sees = CategoricalMechanism().bind(TWO, {"X": Image(1, 8, 8)}, {})
    assert LikelihoodObjective({"Y": sees}, {}, {}).defaults.batch_size == 512


@pytest.mark.parametrize(
    ("u", "v", "draws", "size"),
    [
        (Confounder(), Confounder(dim=1), 1000, 1000),
        (Confounder(states=3), Confounder(), 100, 300),
        (Confounder(states=30), Confounder(states=40), 100, 1200),
    ],
)
def test_a_step_holds_as_many_rows_as_its_probabilities_allow(u, v, draws, size):
    """X, Y and W each have one for every row and every value of the confounders."""
    most = District(u, v, draws=draws).objective.most_rows
    assert most == max(64, 2**17 // (3 * size))
    assert most * 3 * size <= max(2**17, 64 * 3 * size)


def test_usual_discrete_districts_are_never_cut():
    f = CategoricalMechanism().bind(THREE, {"X": THREE}, {})
    assert LikelihoodObjective({"Y": f}, {}, {}).most_rows == 2**17
    u = {"U": Confounder()}
    pair = {name: CategoricalMechanism().bind(THREE, {"Z": THREE}, u) for name in "XY"}
    assert LikelihoodObjective(pair, u, {}).most_rows >= 3**5


def test_a_mechanism_without_a_likelihood_is_refused():
    label = CategoricalMechanism().bind(TWO, {}, {})
    with pytest.raises(TypeError, match=r'district {A, I} .*DiffusionMechanism for "I"'):
        LikelihoodObjective({"A": label, "I": DiffusionMechanism()}, {}, {})


def test_the_variable_to_blame_is_named():
    district = District(Confounder(states=2), Confounder(states=2))
    row = {name: value[:1] for name, value in district.cells().items()}
    with torch.no_grad():
        district.mechanisms["Y"].network[-1].bias.fill_(math.nan)
    assert district.objective.culprits(row, 0) == ("Y",)
    with torch.no_grad():
        district.priors["U"].logits.fill_(math.nan)
        district.mechanisms["Y"].network[-1].bias.zero_()
    assert district.objective.culprits(row, 0) == ("X", "Y", "W")


def test_the_grid_meets_every_state_with_every_point():
    u = {"A": Confounder(states=2), "B": Confounder(dim=3), "C": Confounder(states=4)}
    values, log_weights = confounder_grid(u, 16, 5, CPU)
    assert {name: tuple(v.shape) for name, v in values.items()} == {
        "A": (128,),
        "B": (128, 3),
        "C": (128,),
    }
    pairs = list(zip(values["A"].tolist(), values["C"].tolist(), strict=True))
    states = itertools.product(range(2), range(4))
    assert {pair: pairs.count(pair) for pair in pairs} == dict.fromkeys(states, 16)
    points = values["B"].view(8, 16, 3)
    assert torch.equal(points, points[:1].expand(8, 16, 3))
    assert log_weights.exp().sum().item() == pytest.approx(8)  # times the priors of A and C: 1


def test_without_confounders_the_grid_is_one_point():
    values, log_weights = confounder_grid({}, 16, 0, CPU)
    assert (values, log_weights.tolist()) == ({}, [0.0])


def test_the_sobol_set_is_standard_normal_and_new_for_each_seed():
    u = {"U": Confounder(dim=2)}
    first, second = (confounder_grid(u, 1024, seed, CPU)[0]["U"] for seed in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first, confounder_grid(u, 1024, 0, CPU)[0]["U"])
    for points in (first, second):
        torch.testing.assert_close(points.mean(0), torch.zeros(2), rtol=0, atol=0.01)
        torch.testing.assert_close(points.T.cov(), torch.eye(2), rtol=0, atol=0.02)
    assert torch.isfinite(confounder_grid(u, 2**14, 3, CPU)[0]["U"]).all()


def test_too_many_states_are_refused():
    many = {f"U{i}": Confounder(states=32) for i in range(5)}
    with pytest.raises(ValueError, match=r"33,554,432 combinations, more than 1,048,576\. Give"):
        confounder_grid(many, 8, 0, torch.device("cpu"))
