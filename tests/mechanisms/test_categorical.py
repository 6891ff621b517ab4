"""Probabilities, draws and their gradients agree."""

import pytest
import torch
from torch.nn.functional import one_hot

from causal_diffusers.mechanisms import CategoricalMechanism
from causal_diffusers.variables import Categorical, Confounder
from mechanisms.zoo import LETTERS, YES, draw_inputs, make, sample

NAMES = ["categorical, of images", "categorical, confounded", "categorical, only confounded"]


@pytest.fixture(params=NAMES)
def f(request, base):
    return make(request.param, base)


def test_probabilities_are_probabilities(f):
    p = f.probabilities(*draw_inputs(f, 9))
    assert p.shape == (9, 3)
    assert (p > 0).all()
    torch.testing.assert_close(p.sum(dim=1), torch.ones(9))


def test_the_log_probability_is_that_of_the_value(f):
    inputs, p = draw_inputs(f, 9), f.probabilities(*draw_inputs(f, 9))
    for code in range(3):
        log_prob = f.log_prob(torch.full((9,), code), *inputs)
        torch.testing.assert_close(log_prob, p[:, code].log())


def test_draws_have_these_probabilities(f):
    parents, confounders = draw_inputs(f, 1)
    number = 20_000
    repeated = [
        {n: v.expand(number, *v.shape[1:]) for n, v in each.items()}
        for each in (parents, confounders)
    ]
    drawn = sample(f, number, inputs=repeated)
    share = one_hot(drawn, 3).float().mean(dim=0)
    p = f.probabilities(parents, confounders)[0]
    assert (share - p).abs().max() < 4 * 0.5 / number**0.5


@pytest.mark.parametrize("name", NAMES[1:])
def test_every_row_meets_every_draw(base, name):
    f = make(name, base)
    parents, _ = draw_inputs(f, 4)
    _, confounders = draw_inputs(f, 7, seed=1)
    values = torch.tensor([0, 1, 2, 1])
    together = f.log_prob(values, parents, confounders, outer=True)
    assert together.shape == (4, 7)
    for m in range(7):
        mine = {n: u[m : m + 1].expand(4, *u.shape[1:]) for n, u in confounders.items()}
        torch.testing.assert_close(together[:, m], f.log_prob(values, parents, mine))


def test_without_anybody_to_listen_to_the_batch_is_said(base):
    f = make("categorical, alone", base)
    assert f.logits({}, {}).shape == (1, 3)
    assert f.logits({}, {}, batch=5).shape == (5, 3)
    assert f.probabilities({}, {}, num_samples=4).shape == (4, 3)
    assert f.log_prob(torch.tensor([0, 2]), {}, {}).shape == (2,)


def test_a_relaxed_sample_is_the_sample_one_hot(f):
    inputs, values = draw_inputs(f, 50), sample(f, 50)
    relaxed = f.relaxed_sample(
        *inputs, num_samples=50, generator=torch.Generator().manual_seed(0), temperature=0.3
    )
    assert torch.equal(relaxed.argmax(dim=1), values)
    torch.testing.assert_close(relaxed, one_hot(values, 3).float())


def test_the_gradient_of_a_relaxed_sample_is_that_of_a_gumbel_softmax():
    f = CategoricalMechanism(width=8).bind(LETTERS, {}, {})
    relaxed = f.relaxed_sample(
        {}, {}, num_samples=5, generator=torch.Generator().manual_seed(0), temperature=0.7
    )
    weights = torch.arange(15.0).reshape(5, 3)
    (relaxed * weights).sum().backward()
    found = f.network[-1].bias.grad.clone()
    logits = f.logits({}, {}, batch=5).detach().requires_grad_()
    uniform = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
    soft = ((logits - (-uniform.log()).log()) / 0.7).softmax(dim=1)
    (soft * weights).sum().backward()
    torch.testing.assert_close(found, logits.grad.sum(dim=0), atol=1e-5, rtol=1e-4)


def test_a_gradient_flows_through_a_relaxed_parent():
    f = CategoricalMechanism(width=8).bind(YES, {"X": LETTERS}, {})
    hard = torch.tensor([0, 2])
    soft = one_hot(hard, 3).float().requires_grad_()
    torch.testing.assert_close(f.logits({"X": soft}, {}), f.logits({"X": hard}, {}))
    f.logits({"X": soft}, {}).sum().backward()
    assert soft.grad.abs().sum() > 0


@pytest.mark.parametrize("temperature", [0, -1, float("nan")])
def test_a_temperature_is_positive(temperature):
    f = CategoricalMechanism().bind(YES, {}, {})
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        f.relaxed_sample(
            {}, {}, num_samples=1, generator=torch.Generator(), temperature=temperature
        )


@pytest.mark.parametrize(
    "arguments",
    [{"width": 0}, {"depth": 0}, {"depth": 65}, {"width": -3}, {"width": 1.5}, {"depth": 2.0}],
)
def test_sizes_are_sensible(arguments):
    with pytest.raises(ValueError, match="needs an integer width of at least 1 and an integer"):
        CategoricalMechanism(**arguments)


def test_depth_and_width_are_those_of_the_network():
    f = CategoricalMechanism(width=5, depth=3).bind(YES, {"X": LETTERS}, {"U": Confounder()})
    linear = [m for m in f.modules() if isinstance(m, torch.nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [
        (4, 5),
        (2, 5),
        (5, 5),
        (5, 5),
        (5, 2),
    ]


def test_a_thousand_labels_are_no_trouble():
    f = CategoricalMechanism().bind(Categorical(range(1000)), {}, {})
    assert int(sample(f, 50).max()) < 1000
