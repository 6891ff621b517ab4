"""What holds for every structural causal model, whatever its mechanisms."""

import itertools

import pytest
import torch

from causal_diffusers import (
    ADMG,
    Categorical,
    CategoricalMechanism,
    DiffusionMechanism,
    Image,
    StructuralCausalModel,
)
from causal_diffusers.mechanisms import SamplingOptions
from exact import ExactModel
from tiny import make_tiny_base

N = 6
THREE = Categorical("abc")
OPTIONS = SamplingOptions(num_inference_steps=2)
GRAPHS = {
    "front-door": "D -> W -> I -> A; D <-> A",
    "several images": "D -> I -> J -> A; D -> J; D <-> A",
    "napkin": "R -> W -> X -> Y; R <-> X; R <-> Y",
    "three": "X -> Y -> Z -> I; U: X, Y, Z",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(params=GRAPHS, ids=str)
def scm(request, base):
    """A model in which I and J are images, with adapters that are not zero."""
    graph = ADMG.parse(GRAPHS[request.param])
    images = [name for name in graph.variables if name in "IJ"]
    variables = dict.fromkeys(graph.variables, THREE) | dict.fromkeys(images, Image(1, 8, 8))
    made = {name: CategoricalMechanism() for name in graph.variables if name not in images}
    made |= {name: DiffusionMechanism.from_pretrained(base, rank=2) for name in images}
    model = StructuralCausalModel(graph, variables, made)
    generator = torch.Generator().manual_seed(0)
    for mechanism in made.values():
        for tensor in mechanism.trainable_state().values():
            tensor.data += 0.3 * torch.randn(tensor.shape, generator=generator)
    return model


def draw(scm, seed=0, **query):
    generator = torch.Generator().manual_seed(seed)
    return scm.sample(N, generator=generator, options=OPTIONS, **query)


def some_value(scm, name, seed=5):
    return draw(scm, seed)[name]


def same(one, two, names):
    return all(torch.equal(one[name], two[name]) for name in names)


def test_intervening_on_nothing_is_observing(scm):
    assert same(draw(scm), draw(scm, do={}), scm.graph.variables)


def test_another_seed_is_another_sample(scm):
    assert not same(draw(scm, 0), draw(scm, 1), scm.graph.variables)


def test_effectiveness(scm):
    for name in scm.graph.variables:
        value = some_value(scm, name)
        assert torch.equal(draw(scm, do={name: value})[name], value)


def test_only_descendants_move(scm):
    before = draw(scm)
    for name in scm.graph.variables:
        after = draw(scm, do={name: some_value(scm, name)})
        assert same(before, after, set(scm.graph.variables) - scm.graph.descendants(name))


def test_descendants_can_move(scm):
    """The law above would hold of a model in which nobody listens to anybody."""
    for cause, effect in scm.graph.directed:
        one, two = (some_value(scm, cause, seed) for seed in (5, 6))

        def moves(seed, cause=cause, effect=effect, one=one, two=two):
            before, after = (
                draw(scm, seed, do={cause: value}, outcomes=[effect])[effect]
                for value in (one, two)
            )
            return not torch.equal(before, after)

        assert any(map(moves, range(20))), (cause, effect)


def test_leaving_variables_out_moves_nothing(scm):
    whole = draw(scm)
    for name in scm.graph.variables:
        part = draw(scm, outcomes=[name])
        assert set(part) == scm.graph.ancestors(name)
        assert same(whole, part, part)


def test_consistency(scm):
    """To set a variable to the value it would have had changes nothing."""
    before = draw(scm)
    for name in scm.graph.variables:
        assert same(before, draw(scm, do={name: before[name]}), scm.graph.variables)


@pytest.mark.parametrize("text", ["X -> M -> Y; X <-> Y", "A -> C <- B; C -> D", "X <-> Y <-> Z"])
def test_samples_respect_every_separation(text):
    model, size = ExactModel(text, seed=1), 40_000
    values = model.scm().sample(size, generator=torch.Generator().manual_seed(0))
    for a, b in itertools.combinations(model.graph.variables, 2):
        rest = [name for name in model.graph.variables if name not in {a, b}]
        for k in range(len(rest) + 1):
            for given in itertools.combinations(rest, k):
                separated = model.graph.m_separated(a, b, given)
                if separated:
                    assert dependence(values, a, b, given) < 0.015, (a, b, given)


def test_a_dependence_would_be_seen():
    values = ExactModel("X -> Y", seed=1).scm().sample(40_000)
    assert dependence(values, "X", "Y", ()) > 0.015


def dependence(values, a, b, given):
    """Average over the cells of `given` how far P(a, b | given) is from a product."""
    cell = sum((values[z] * 2**i for i, z in enumerate(given)), torch.zeros_like(values[a]))
    counts = torch.zeros(2 ** len(given), 2, 2, dtype=torch.float64)
    counts.index_put_((cell, values[a], values[b]), torch.ones(1).double(), accumulate=True)
    joint = counts / counts.sum(dim=(1, 2), keepdim=True)
    product = joint.sum(dim=2, keepdim=True) * joint.sum(dim=1, keepdim=True)
    share = counts.sum(dim=(1, 2)) / counts.sum()
    return (share * 0.5 * (joint - product).abs().sum(dim=(1, 2))).sum().item()
