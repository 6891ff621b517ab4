"""A bank gives what its mechanism would have given."""

import itertools

import pytest
import torch

from causal_diffusers import Categorical, CategoricalMechanism, Confounder, Image
from causal_diffusers.training.bank import Bank, check_bank
from tiny import shake

TWO, THREE = Categorical([0, 1]), Categorical("abc")


@pytest.fixture
def mechanism():
    f = CategoricalMechanism(width=8).bind(THREE, {"X": TWO, "W": THREE}, {})
    shake([f], seed=3)
    return f.eval()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_bank_is_its_mechanism_in_distribution(mechanism):
    """What a bank of 4,000 draws may miss of three labels is .01, twice: filled and drawn."""
    bank = Bank(mechanism, 4000, generator())
    for x, w in itertools.product(range(2), range(3)):
        parents = {"X": torch.full((4000,), x), "W": torch.full((4000,), w)}
        drawn = bank.sample(parents, 4000, generator=generator(1))
        found = drawn.bincount(minlength=3) / 4000
        truth = mechanism.probabilities({n: v[:1] for n, v in parents.items()}, {})[0]
        assert 0.5 * (found - truth).abs().sum() < 0.03, (x, w)


def test_parents_may_be_relaxed(mechanism):
    bank = Bank(mechanism, 5, generator())
    codes = {"X": torch.tensor([0, 1, 1, 0]), "W": torch.tensor([2, 1, 0, 2])}
    relaxed = {
        "X": torch.nn.functional.one_hot(codes["X"], 2).float(),
        "W": torch.nn.functional.one_hot(codes["W"], 3).float(),
    }
    first = bank.sample(codes, 4, generator=generator(1))
    assert torch.equal(bank.sample(relaxed, 4, generator=generator(1)), first)


def test_a_variable_without_parents_has_one_configuration():
    f = CategoricalMechanism(width=4).bind(TWO, {}, {})
    bank = Bank(f, 7, generator())
    assert bank.samples.shape == (1, 7)
    assert bank.sample({}, 3, generator=generator()).shape == (3,)


@pytest.mark.parametrize(
    ("parents", "confounders", "message"),
    [
        ({"J": Image(1, 8, 8)}, {}, r'the frozen "I".*: it listens to J\. Train .* by likelihood'),
        ({}, {"U": Confounder()}, r'the frozen "I".*: it listens to U\.'),
        ({n: Categorical(range(11)) for n in "ABC"}, {}, r"at most 1024: got 1331\."),
    ],
)
def test_what_has_no_bank_is_refused(parents, confounders, message):
    f = CategoricalMechanism(width=4).bind(TWO, parents, confounders)
    with pytest.raises(ValueError, match=message):
        check_bank("I", f)
