"""The density of a flow is one, is that of its samples, and has tails."""

import itertools
import math

import pytest
import torch

from causal_diffusers.errors import CheckpointError
from causal_diffusers.mechanisms import FlowMechanism
from causal_diffusers.variables import Categorical, Confounder, Continuous, Image
from hostile import edit
from mechanisms.zoo import NUMBER, draw_inputs, make, sample
from tiny import shake

NAMES = ["flow, alone", "flow, of everything", "flow, confounded", "flow, only confounded"]


@pytest.fixture(params=NAMES)
def f(request, base):
    return make(request.param, base)


def repeat(inputs, number):
    return [{n: v.expand(number, *v.shape[1:]) for n, v in each.items()} for each in inputs]


def bound(dim, *, seed=0, **options):
    mechanism = FlowMechanism(width=8, **options).bind(Continuous(dim), {}, {})
    shake([mechanism], seed=seed)
    return mechanism


@pytest.mark.parametrize("seed", range(3))
def test_the_density_of_a_number_integrates_to_one(seed):
    f = bound(1, seed=seed)
    grid = torch.linspace(-60, 60, 120_001)[:, None]
    density = f.log_prob(grid, {}, {}).exp()
    assert abs(torch.trapezoid(density, grid[:, 0]).item() - 1) < 1e-3


def test_the_density_of_a_pair_integrates_to_one():
    f = bound(2, bins=4)
    axis = torch.linspace(-16, 16, 641)
    grid = torch.cartesian_prod(axis, axis)
    density = f.log_prob(grid, {}, {}).exp().reshape(641, 641)
    assert abs(torch.trapezoid(torch.trapezoid(density, axis), axis).item() - 1) < 5e-3


def test_the_density_is_that_of_a_change_of_variables(f):
    """By automatic differentiation: log N(noise) + log |det d noise / d value|."""
    f.double()
    number = 5
    inputs = [
        {n: v.double() if v.is_floating_point() else v for n, v in each.items()}
        for each in draw_inputs(f, number)
    ]
    values = torch.randn(number, *f.variable.shape, dtype=torch.float64) * 2
    found = f.log_prob(values, *inputs)
    for row in range(number):
        own = [{n: v[row : row + 1] for n, v in each.items()} for each in inputs]

        def noise_of(value, own=own):
            return f.abduct(value[None], *own)[0]

        noise = noise_of(values[row])
        slope = torch.autograd.functional.jacobian(noise_of, values[row])
        normal = -0.5 * (noise.square() + math.log(2 * math.pi)).sum()
        torch.testing.assert_close(found[row], normal + slope.det().abs().log())


def test_samples_have_the_density(f):
    """Shares of cells, against the integral of the density over them."""
    inputs, number = draw_inputs(f, 1), 20_000
    drawn = sample(f, number, inputs=repeat(inputs, number))[:, 0]
    if f.variable.dim == 2:  # the first number is a flow of its own
        f.heads, f.config["variable"]["dim"] = f.heads[:1], 1
    grid = torch.linspace(-30, 30, 60_001)[:, None]
    density = f.log_prob(grid, *repeat(inputs, len(grid))).exp()
    below = torch.cumulative_trapezoid(density, grid[:, 0])
    for quantile in (0.1, 0.5, 0.9):
        edge = grid[int((below < quantile).sum())].item()
        assert abs((drawn < edge).float().mean().item() - quantile) < 4 * 0.5 / number**0.5


@pytest.mark.parametrize("name", NAMES[2:])
def test_every_row_meets_every_draw(base, name):
    f = make(name, base)
    parents, _ = draw_inputs(f, 4)
    _, confounders = draw_inputs(f, 7, seed=1)
    values = torch.randn(4, 1)
    together = f.log_prob(values, parents, confounders, outer=True)
    assert together.shape == (4, 7)
    for m in range(7):
        mine = {n: u[m : m + 1].expand(4, *u.shape[1:]) for n, u in confounders.items()}
        torch.testing.assert_close(together[:, m], f.log_prob(values, parents, mine))


@pytest.mark.parametrize("far", [30.0, 1e3, 1e6, 1e12])
def test_far_values_are_unlikely_and_finite(f, far):
    inputs = draw_inputs(f, 2)
    values = torch.tensor([[far], [-far]]).expand(2, *f.variable.shape).requires_grad_()
    log_prob = f.log_prob(values, *inputs)
    assert (log_prob < -1).all()
    assert log_prob.isfinite().all()
    log_prob.sum().backward()
    assert all(p.grad.isfinite().all() for p in f.parameters() if p.grad is not None)
    noise = f.abduct(values.detach(), *inputs)
    torch.testing.assert_close(f.assign(noise, *inputs), values.detach(), rtol=1e-3, atol=1e-2)


def test_each_number_listens_to_those_before_it():
    f = bound(3)
    values = torch.randn(1, 3)
    slope = torch.autograd.functional.jacobian(lambda v: f.abduct(v, {}, {}), values)[0, :, 0]
    for i, j in itertools.product(range(3), range(3)):
        assert (slope[i, j] != 0) == (j <= i)


def test_a_relaxed_sample_is_the_sample_with_a_gradient(base):
    f = make("flow, confounded", base)
    parents, confounders = draw_inputs(f, 9)
    parents["X"].requires_grad_()
    confounders["U"].requires_grad_()
    relaxed = f.relaxed_sample(
        parents, confounders, num_samples=9, generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(relaxed, sample(f, 9))
    relaxed.sum().backward()
    moved = [parents["X"], confounders["U"], *f.parameters()]
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in moved)


def test_a_relaxed_parent_is_heard():
    f = FlowMechanism(width=8).bind(NUMBER, {"X": Categorical("abc")}, {})
    codes = torch.tensor([0, 2])
    soft = torch.nn.functional.one_hot(codes, 3).float().requires_grad_()
    values = torch.zeros(2, 1)
    found = f.log_prob(values, {"X": soft}, {})
    torch.testing.assert_close(found, f.log_prob(values, {"X": codes}, {}))
    found.sum().backward()
    assert soft.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "arguments",
    [{"width": 0}, {"depth": 1}, {"depth": 65}, {"bins": 1}, {"bins": 257}, {"width": 1.5}],
)
def test_sizes_are_sensible(arguments):
    with pytest.raises(ValueError, match="needs an integer width of at least 1"):
        FlowMechanism(**arguments)


@pytest.mark.parametrize(
    ("variable", "complaint"),
    [
        (Categorical("ab"), "makes continuous variables: got Categorical"),
        (Image(1, 8, 8), "makes continuous variables: got Image"),
        (Continuous(dim=65), "at most 64 numbers: got 65"),
    ],
)
def test_other_variables_are_refused(variable, complaint):
    f = FlowMechanism()
    with pytest.raises(ValueError, match=complaint):
        f.bind(variable, {}, {"U": Confounder()})
    assert not f.is_bound


def test_it_is_planned_without_memory(base):
    f = make("flow, of everything", base)
    with torch.device("meta"):
        planned = FlowMechanism(**{k: v for k, v in f.config.items() if k[0] != "_"})
    assert {t.device.type for t in (*planned.parameters(), *planned.buffers())} == {"meta"}
    assert planned.trainable_state().keys() == f.state_dict().keys()


NONSENSE = [
    ({"width": 10**15}, "has shape|the file lacks|absurdly large"),
    ({"width": 2**19}, "has shape|the file lacks|absurdly large"),
    ({"bins": 9}, "has shape|the file lacks|absurdly large"),
    ({"bins": 257}, "does not describe"),
    ({"bins": None}, "does not describe"),
    ({"depth": 64}, "has shape|the file lacks|absurdly large"),
    ({"depth": 1}, "does not describe"),
    ({"variable": {"type": "continuous", "dim": 2}}, "has shape|the file lacks|absurdly large"),
    ({"variable": {"type": "continuous", "dim": 10**9}}, "does not describe"),
    ({"variable": {"type": "continuous", "scale": 0}}, "does not describe"),
    ({"variable": {"type": "categorical", "labels": [0, 1]}}, "does not describe"),
    (
        {"parents": {"X": {"type": "continuous", "dim": 10**12}}},
        "has shape|the file lacks|absurdly large",
    ),
]


@pytest.mark.parametrize(("changes", "complaint"), NONSENSE, ids=str)
def test_a_damaged_config_is_refused_before_it_costs_anything(base, tmp_path, changes, complaint):
    make("flow, confounded", base).save_pretrained(tmp_path)
    edit(tmp_path / "config.json", **changes)
    with pytest.raises(CheckpointError, match=complaint):
        FlowMechanism.from_pretrained(tmp_path)
