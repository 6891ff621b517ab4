"""An estimand tells the truth, and a refusal is justified, on every graph."""

import itertools
import json
import random

import numpy as np
import pytest
import torch

from causal_diffusers.errors import NotIdentifiableError
from causal_diffusers.graphs import ADMG
from causal_diffusers.graphs.expression import Probability
from causal_diffusers.graphs.identify import identify
from causal_diffusers.graphs.table import Table
from causal_diffusers.systems import DiscreteSCM
from queries import case, check_hedge, error_of, random_admg, random_query

few_and_many = pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])


def identified(count, conditional):
    """Yield identifiable cases whose answer is more than one conditional probability."""
    found = (case(seed, conditional) for seed in itertools.count())
    return itertools.islice(filter(is_worth_asking, found), count)


def is_worth_asking(drawn):
    G, query, _ = drawn
    try:
        return not isinstance(identify(G, *query).expression, Probability)
    except NotIdentifiableError:
        return False


def refused(count, conditional, size=7):
    """Yield refused cases with their hedges."""
    rng = random.Random(1)
    while count:
        G = random_admg(rng, rng.randint(2 + conditional, size), 0.4, 0.35)
        query = random_query(rng, G, conditional)
        try:
            identify(G, *query)
        except NotIdentifiableError as error:
            count -= 1
            yield G, query, error.hedge


@few_and_many
@pytest.mark.parametrize("conditional", [False, True], ids=["joint", "conditional"])
def test_an_estimand_equals_the_truncated_factorisation(count, conditional):
    errors = [error_of(*drawn) for drawn in identified(count, conditional)]
    assert np.max(errors) < 1e-9


@few_and_many
@pytest.mark.parametrize("conditional", [False, True], ids=["joint", "conditional"])
def test_a_hedge_satisfies_the_definition(count, conditional):
    """For a conditional query the conditions that stay are outcomes of the reduced query."""
    for G, (Y, X, Z), hedge in refused(count, conditional):
        check_hedge(G, Y + Z, X, hedge)


def test_the_checker_of_hedges_can_fail():
    G = ADMG.parse("X -> Y; X <-> Y; Z -> Y")
    with pytest.raises(NotIdentifiableError) as caught:
        identify(G, "Y", "X")
    hedge = caught.value.hedge
    check_hedge(G, ["Y"], ["X"], hedge)
    with pytest.raises(ValueError, match="does not meet"):
        check_hedge(G, ["Y"], ["Z"], hedge)
    with pytest.raises(ValueError, match="inner forest meets"):
        check_hedge(G, ["Y"], ["X", "Y"], hedge)
    with pytest.raises(ValueError, match="no ancestor"):
        check_hedge(G, ["Z"], ["X"], hedge)
    with pytest.raises(ValueError, match="not in the graph"):
        check_hedge(ADMG.parse("Z -> Y; X <-> Y; X"), ["Y"], ["X"], hedge)


@pytest.mark.parametrize("count", [8, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("conditional", [False, True], ids=["joint", "conditional"])
def test_two_models_witness_a_refusal(count, conditional):
    """Each refused query has two answers, in models with one and the same P(V)."""
    for seed, (G, query, _) in enumerate(refused(count, conditional, size=4)):
        one, other = two_models(G, query, seed)
        assert np.abs(one.joint() - other.joint()).max() < 1e-12
        gap = np.abs(one.interventional(*query).values - other.interventional(*query).values).max()
        assert gap > 1e-5, (G, query, gap)


def two_models(G, query, seed):
    """Move a random system along the models that share its P(V), towards another answer."""
    generator = torch.Generator().manual_seed(seed)
    family = Family(G, states=4)
    start = torch.randn(family.size, generator=generator, dtype=torch.float64) / 2
    P = family.joint(start)
    free = kernel(family.joint, start)
    slopes = torch.autograd.functional.jacobian(lambda t: family.answer(t, query), start) @ free
    direction = free @ slopes[slopes.norm(dim=1).argmax()]
    end = start + 0.3 * direction / direction.norm()
    for _ in range(20):
        J = torch.autograd.functional.jacobian(family.joint, end)
        end = end - torch.linalg.pinv(J, rtol=1e-10) @ (family.joint(end) - P)
    return family.system(start), family.system(end)


def kernel(function, point):
    """The directions in which a function does not change to first order, as columns."""
    J = torch.autograd.functional.jacobian(function, point)
    _, scale, rows = torch.linalg.svd(J)
    return rows[int((scale > 1e-10 * scale[0]).sum()) :].T


class Family:
    """All binary systems of a graph with a fixed number of hidden states, by their logits."""

    def __init__(self, G, states):
        self.G = G
        one = DiscreteSCM.random(G, states=states, generator=torch.Generator().manual_seed(0))
        self.shapes = {name: table.shape for name, table in {**one.priors, **one.tables}.items()}
        self.size = sum(int(np.prod(shape)) for shape in self.shapes.values())
        self.inputs = {name: one.inputs(name) for name in G.variables}

    def tables(self, theta):
        parts = theta.split([int(np.prod(shape)) for shape in self.shapes.values()])
        return {
            name: part.reshape(shape).softmax(-1)
            for part, (name, shape) in zip(parts, self.shapes.items(), strict=True)
        }

    def joint(self, theta):
        return self.contract(theta, self.G.variables).flatten()

    def contract(self, theta, kept, do=()):
        axis = {name: i for i, name in enumerate(self.shapes)}
        operands = []
        for name, table in self.tables(theta).items():
            if name not in do:
                operands += [table, [axis[i] for i in (*self.inputs.get(name, ()), name)]]
        for name in do:
            operands += [torch.ones(2, dtype=theta.dtype), [axis[name]]]
        return torch.einsum(*operands, [axis[name] for name in kept])

    def answer(self, theta, query):
        Y, X, Z = query
        P = self.contract(theta, Y + X + Z, X)
        return (P / P.sum(dim=tuple(range(len(Y))), keepdim=True)).flatten()

    def system(self, theta):
        tables = {name: table.detach().numpy() for name, table in self.tables(theta).items()}
        priors = {name: tables.pop(name) for name in self.G.confounders}
        return DiscreteSCM(self.G, priors, tables)


def bank(data_folder):
    with (data_folder / "graph_bank.jsonl").open() as lines:
        return [json.loads(line) for line in lines]


def verdict(row):
    G = ADMG(row["nodes"], row["directed"], row["bidirected"])
    query = row["query"]
    parts = tuple(query["outcomes"]), tuple(query["treatments"]), tuple(query["conditions"])
    try:
        identify(G, *parts)
    except NotIdentifiableError as error:
        check_hedge(G, parts[0] + parts[2], parts[1], error.hedge)
        return False
    if len(G.variables) <= 9:
        system = DiscreteSCM.random(G, generator=torch.Generator().manual_seed(0))
        assert error_of(G, parts, system) < 1e-9
    return True


def test_the_published_verdicts_are_ours(data_folder):
    rows = bank(data_folder)
    wrong = [row["id"] for row in rows if verdict(row) != row["identifiable"]]
    assert len(rows) > 200
    assert wrong == []


@pytest.mark.parametrize("seed", range(10))
def test_relabelling_the_variables_relabels_the_answer(seed):
    rng = random.Random(seed)
    G, query, system = next(itertools.islice(identified(seed + 1, seed % 2 == 1), seed, None))
    renamed = dict(zip(G.variables, rng.sample("STUVWXYZ", 8), strict=False))

    def rename(names):
        return tuple(renamed[name] for name in names)

    H = ADMG(
        rename(G.variables),
        map(rename, G.directed),
        confounders={name: rename(children) for name, children in G.confounders.items()},
    )
    P = system.joint()
    ours, theirs = identify(G, *query).evaluate(P), identify(H, *map(rename, query)).evaluate(P)
    assert theirs.variables == rename(ours.variables)
    np.testing.assert_allclose(theirs.values, ours.values, atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_the_axes_does_not_matter(seed):
    G, query, system = next(itertools.islice(identified(seed + 1, seed % 2 == 1), seed, None))
    estimand, P = identify(G, *query), Table(system.joint(), G.variables)
    order = tuple(reversed(G.variables))
    turned = estimand.evaluate(P.order(*order).values, order)
    np.testing.assert_allclose(turned.values, estimand.evaluate(P.values).values, atol=1e-12)
