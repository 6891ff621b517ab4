"""Forced choice: chance where there is nothing to tell, and more where there is."""

import pytest
import torch

from causal_diffusers.metrics.pairs import paired_choice


def test_chance_is_one_half():
    """The p-values of perfect models are those of chance: few are small."""
    small = 0
    for seed in range(20):
        x, one, two = torch.randn(3, 200, 2, generator=torch.Generator().manual_seed(seed))
        found = paired_choice(x, x + one, x + two, seed=seed)
        small += found.p_value < 0.05
    assert small <= 4  # of 20; five happen in one run of a hundred


def test_a_model_that_ignores_its_past_is_told(generator):
    """Both marginals are right; only beside its past is a value of the model odd."""
    x, e, other = torch.randn(3, 1000, 1, generator=generator)
    found = paired_choice(x, 0.8 * x + 0.6 * e, other)
    assert found.p_value < 1e-6
    assert found.share.estimate > 0.6
    blind = paired_choice(torch.zeros(1000, 0), 0.8 * x + 0.6 * e, other)
    assert blind.p_value > 0.01


def test_a_share_is_no_more_than_the_total_variation_allows(generator):
    """Labels with TV .3 give .65: ties, decided by a coin, make it less than .755."""
    p, q = torch.tensor([0.65, 0.35]), torch.tensor([0.35, 0.65])
    drawn = [
        torch.nn.functional.one_hot(
            torch.multinomial(w, 4000, replacement=True, generator=generator), 2
        )
        for w in (p, q)
    ]
    share = paired_choice(torch.zeros(4000, 0), *drawn).share
    assert share.estimate == pytest.approx(0.5 + 0.3 / 2, abs=0.03)


def test_copies_of_rows_are_no_evidence():
    """Each row occurs twenty times: a network that saw one of them knows the others by heart."""
    for seed in range(6):
        g = torch.Generator().manual_seed(seed)
        past, real = (torch.randn(20, 2, generator=g).repeat(20, 1) for _ in range(2))
        made = torch.randn(400, 2, generator=g)
        assert paired_choice(past, real, made, seed=seed).p_value > 0.05


def test_copies_count_once():
    x, one, two = torch.randn(3, 60, 1, generator=torch.Generator().manual_seed(0))
    alone = paired_choice(x, x + one, two)
    again = paired_choice(*(t.repeat(4, 1) for t in (x, x + one, two)))
    assert (again.share.high - again.share.low) > 0.9 * (alone.share.high - alone.share.low)


def test_few_rows_are_refused():
    with pytest.raises(ValueError, match="at least four rows: got 3"):
        paired_choice(torch.zeros(3, 0), torch.zeros(3, 1), torch.zeros(3, 1))
