"""Odds that give every pair the chance that it was said to have."""

import pytest
import torch

from causal_diffusers.discovery.beforehand import edge_odds
from causal_diffusers.discovery.edges import pair_probabilities


@pytest.mark.parametrize("density", [0.02, 0.25, 0.9])
def test_a_pair_is_joined_with_the_chance_said(density, generator):
    possible = (torch.rand(3, 6, 6, generator=generator) < 0.6) & ~torch.eye(6, dtype=torch.bool)
    odds = torch.where(possible, edge_odds(density, possible), -torch.inf)
    P = pair_probabilities(odds)
    joined = P + P.mT
    able = possible | possible.mT
    torch.testing.assert_close(joined, density * able.float())
    assert torch.equal(P > 0, possible)


def test_no_way_is_preferred():
    possible = ~torch.eye(3, dtype=torch.bool)
    odds = edge_odds(0.3, possible)
    assert torch.equal(odds, odds.T)
