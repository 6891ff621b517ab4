"""The three states of a pair are exclusive, and batches can be joined."""

import torch

from causal_diffusers.discovery.edges import Edges, pair_probabilities


def random_edges(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits, weights = (3 * torch.randn(count, 4, 4, generator=generator) for _ in range(2))
    return Edges(logits, weights, torch.randn(count, 4, generator=generator))


def test_the_states_of_a_pair_are_a_softmax_over_three():
    logits = random_edges(50).logits
    P, e = pair_probabilities(logits), logits.exp()
    off = ~torch.eye(4, dtype=torch.bool)
    torch.testing.assert_close(P[:, off], (e / (1 + e + e.mT))[:, off])
    assert not P.diagonal(dim1=1, dim2=2).any()
    assert (P + P.mT <= 1 + 1e-6).all()


def test_batches_are_joined_in_order():
    first, second = random_edges(2), random_edges(3, seed=1)
    both = Edges.cat([first, second])
    assert torch.equal(both.logits, torch.cat([first.logits, second.logits]))
    assert torch.equal(both.weights[2:], second.weights)
    assert torch.equal(both.deviation[:2], first.deviation)
    assert torch.equal(both.probabilities[2:], second.probabilities)
