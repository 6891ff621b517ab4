"""One revision: laws of what it is told, and of what it may depend on."""

import pytest
import torch

from causal_diffusers.discovery.layers import Layer, look
from causal_diffusers.discovery.regression import SLAB, regress
from discovery.dags import sample


def told(d, generator, B=2, n=30):
    """Look at random data with random present probabilities."""
    X = torch.stack([sample(torch.zeros(d, d), n, generator) for _ in range(B)])
    S = X.mT @ X / n
    logits = torch.randn(B, d, d, generator=generator).double()
    p = logits.sigmoid() / 2 * (1 - torch.eye(d))
    deviation = 0.1 * torch.randn(B, d, generator=generator).double()
    evidence = regress(S, torch.full((B,), float(n)).double(), p, (2 * deviation).exp())
    return look(evidence, p, logits, deviation, logits / 2), evidence, deviation


def random_layer(width=4, heads=2):
    layer = Layer(width, heads).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return layer


@pytest.mark.parametrize("d", [2, 3, 6])
def test_a_layer_is_equivariant(d, generator):
    layer, (news, _, deviation) = random_layer(), told(d, generator)
    state = torch.randn(2, d, d, 4, generator=generator).double()
    order = torch.randperm(d, generator=generator)
    first = layer(state, news, deviation)
    second = layer(state[:, order][:, :, order], news[:, order][:, :, order], deviation[:, order])
    for a, b in zip(first[:3], second[:3], strict=True):
        torch.testing.assert_close(a[:, order][:, :, order], b)
    torch.testing.assert_close(first[3][:, order], second[3])


def test_everything_may_depend_on_everything(generator):
    """Every pair hears of every other one within a layer or two."""
    d, layer = 4, random_layer()
    news, _, deviation = told(d, generator, B=1)
    state = torch.randn(1, d, d, 4, generator=generator).double().requires_grad_(True)
    first = layer(state, news, deviation)
    layer(*(first[0], news, deviation))[1][0, 0, 1].backward()
    assert bool((state.grad[0].abs().sum(dim=-1) > 0).all())


def test_the_gain_is_a_log_bayes_factor(generator):
    """Beside the ratio of the densities of the estimate with and without a weight."""
    news, evidence, _ = told(4, generator)
    mu, tau = evidence.mean, evidence.precision
    off = ~torch.eye(4, dtype=torch.bool)
    with_it = torch.distributions.Normal(0.0, (SLAB + 1 / tau[:, off]).sqrt())
    without = torch.distributions.Normal(0.0, (1 / tau[:, off]).sqrt())
    factor = with_it.log_prob(mu[:, off]) - without.log_prob(mu[:, off])
    gain = (3 * news[..., 3]).sinh()
    torch.testing.assert_close(gain[:, off], factor, rtol=1e-6, atol=1e-8)


def test_both_ways_of_a_pair_are_told(generator):
    news, _, _ = told(5, generator)
    torch.testing.assert_close(news[..., :9].transpose(1, 2), news[..., 9:18])
    torch.testing.assert_close(news[..., 18:23].transpose(1, 2), news[..., 23:])


def test_what_is_told_is_of_order_one(generator):
    news, _, _ = told(8, generator, n=10_000)
    assert bool(news.isfinite().all())
    assert news.abs().max() < 20


@torch.no_grad()
def test_a_new_layer_adds_a_bounded_gain_and_no_attention(generator):
    layer, (news, _, deviation) = Layer(4, 2).double(), told(3, generator)
    attended = layer.causes(torch.randn(2, 3, 3, 4).double())
    torch.testing.assert_close(attended, layer.causes.out.bias.expand(2, 3, 3, 4))
    news[..., 3] = 100 * torch.randn(2, 3, 3, generator=generator).double()
    state = torch.zeros(2, 3, 3, 4).double()
    _, change, _, after = layer(state, news, deviation)
    calm = news.clone()
    calm[..., 3] = 0
    _, without, _, _ = layer(state + layer.see(news) - layer.see(calm), calm, deviation)
    assert (change - without).abs().max() <= 10 + 1e-9
    torch.testing.assert_close(after, (deviation + layer.node.bias).double())
