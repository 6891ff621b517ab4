"""With several regimes, an estimand tells the truth and a refusal is justified, on every graph."""

import itertools
import random

import numpy as np
import pytest
import torch

from causal_diffusers.errors import NotIdentifiableError
from causal_diffusers.graphs import ADMG
from causal_diffusers.graphs.identify import identify
from causal_diffusers.systems import DiscreteSCM
from laws.test_identification import Family, kernel
from queries import (
    case,
    check_c_forest,
    error_in_regimes,
    random_admg,
    random_query,
    random_regimes,
)
from training.test_intervened import answer, trained
from training.test_intervened import regimes as rows_of_regimes

few_and_many = pytest.mark.parametrize("count", [30, pytest.param(1000, marks=pytest.mark.slow)])


def drawn(seed, conditional):
    """Draw a graph, a query, a system and regimes; half of the graphs are much confounded."""
    G, query, system = case(seed, conditional)
    return G, query, random_regimes(random.Random(seed), G), system


def is_answered(G, query, regimes):
    try:
        return identify(G, *query, experiments=regimes)
    except NotIdentifiableError:
        return None


def answered_by_experiments(count, conditional):
    """Yield cases that take an experiment, and whose estimand mixes or conditions regimes."""
    for seed in itertools.count():
        G, query, regimes, system = drawn(seed, conditional)
        estimand = is_answered(G, query, regimes)
        if estimand is not None and estimand.experiments != ((),):
            yield G, query, regimes, system
            count -= 1
        if not count:
            return


@few_and_many
@pytest.mark.parametrize("conditional", [False, True], ids=["joint", "conditional"])
def test_an_estimand_equals_the_truncated_factorisation(count, conditional):
    cases = answered_by_experiments(count, conditional)
    errors = [error_in_regimes(*each, seed=seed) for seed, each in enumerate(cases)]
    assert np.max(errors) < 1e-9


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_estimands_of_several_regimes_tell_the_truth(count):
    """Only those that combine regimes, which are rare among random ones."""
    mixed = (
        each
        for each in answered_by_experiments(10**9, conditional=False)
        if len(is_answered(*each[:3]).experiments) > 1
    )
    errors = [error_in_regimes(*each) for each in itertools.islice(mixed, count)]
    assert np.max(errors) < 1e-9


@few_and_many
def test_the_experiment_itself_always_answers(count):
    rng = random.Random(3)
    for _ in range(count):
        G = random_admg(rng, rng.randint(3, 7), 0.5, 0.4)
        Y, X, Z = random_query(rng, G, conditional=True)
        assert str(identify(G, Y, X, experiments=[(), X])) is not None
        assert is_answered(G, (Y, X, Z), [X]) is not None


@few_and_many
def test_more_regimes_never_answer_less(count):
    for seed in range(count):
        G, query, regimes, _ = drawn(seed, seed % 2 == 0)
        if is_answered(G, query, regimes[:1]) is not None:
            assert is_answered(G, query, regimes) is not None


@few_and_many
def test_the_thicket_is_made_of_hedges(count):
    """Each of them is a hedge in the graph without what its experiment sets."""
    seen = 0
    for seed in itertools.count():
        G, query, regimes, _ = drawn(seed, conditional=False)
        try:
            identify(G, *query, experiments=regimes)
        except NotIdentifiableError as error:
            for Z, hedge in error.thicket.items():
                H = G.subgraph(set(G.variables) - Z)
                check_c_forest(H, hedge.forest, hedge.roots)
                check_c_forest(H, hedge.subforest, hedge.roots)
                assert {*hedge.subforest.variables} < {*hedge.forest.variables}
                assert {*hedge.forest.variables} & {*query[1]}
                assert not {*hedge.subforest.variables} & {*query[1]}
                seen += 1
        if seen >= count:
            return


@pytest.mark.parametrize("count", [2, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("conditional", [False, True], ids=["joint", "conditional"])
def test_two_models_witness_a_refusal(count, conditional):
    """Two models agree in every regime, and not on the query."""
    rng = random.Random(5)
    while count:
        G = random_admg(rng, rng.randint(2 + conditional, 4), 0.5, 0.5)
        query, regimes = random_query(rng, G, conditional), random_regimes(rng, G)
        if is_answered(G, query, regimes) is None:
            count -= 1
            one, other = two_models(G, query, regimes, seed=count)
            for Z in regimes:
                rest = [name for name in G.variables if name not in Z]
                gap = one.interventional(rest, Z).values - other.interventional(rest, Z).values
                assert np.abs(gap).max() < 1e-10
            gap = one.interventional(*query).values - other.interventional(*query).values
            assert np.abs(gap).max() > 1e-5, (G, query, regimes)


def two_models(G, query, regimes, seed):
    """Move a random system along those that agree with it in all regimes."""
    generator = torch.Generator().manual_seed(seed)
    family = Family(G, states=4)
    start = torch.randn(family.size, generator=generator, dtype=torch.float64) / 2

    def seen(theta):
        rests = {Z: [name for name in G.variables if name not in Z] for Z in regimes}
        joints = (family.contract(theta, (*rest, *Z), Z) for Z, rest in rests.items())
        return torch.cat([joint.flatten() for joint in joints])

    P, free = seen(start), kernel(seen, start)
    slopes = torch.autograd.functional.jacobian(lambda t: family.answer(t, query), start) @ free
    direction = free @ slopes[slopes.norm(dim=1).argmax()]
    end = start + 0.3 * direction / direction.norm()
    for _ in range(20):
        J = torch.autograd.functional.jacobian(seen, end)
        end = end - torch.linalg.pinv(J, rtol=1e-10) @ (seen(end) - P)
    return family.system(start), family.system(end)


def test_an_estimand_holds_for_every_choice_of_the_experimenter():
    """The distribution of the values that are set by hand does not matter."""
    G = ADMG.parse("X -> M -> Y; X <-> M; X <-> Y")
    rng, regimes = random.Random(0), [("X",), ("M",)]
    system = case(1)[2].random(G, generator=torch.Generator().manual_seed(0))
    query = ("Y",), ("M",), ()
    assert max(error_in_regimes(G, query, regimes, system, rng.random()) for _ in range(9)) < 1e-12


@pytest.mark.slow
def test_a_trained_pipeline_tells_the_truth_where_an_experiment_is_needed():
    """No further from it than the estimand that is evaluated on the same rows, or .02."""
    rng = random.Random(11)
    for seed in range(3):
        while True:
            G, regimes = random_admg(rng, 4, 0.6, 0.4), [(), (rng.choice("ABCD"),)]
            query = next(thanks_to_an_experiment(G, regimes), None)
            if query is not None and len(G.confounders) < 4:
                break
        system = DiscreteSCM.random(G, generator=torch.Generator().manual_seed(seed))
        rows = rows_of_regimes(system, regimes, 40_000, seed)
        counts = {}
        for Z in regimes:
            own = [i for i, word in enumerate(rows["intervened"]) if word == ",".join(Z)]
            counts[Z] = np.zeros((2,) * len(G.variables))
            np.add.at(counts[Z], tuple(rows[name][own].numpy() for name in G.variables), 1)
        pipe = trained(G, rows, states=4, steps=250)
        (outcome,), (cause,) = query
        truth = system.interventional(outcome, cause).values
        best = pipe.identify(outcome, cause).evaluate(counts).values
        for value in (0, 1):
            found = answer(pipe, outcome, {cause: value})
            allowed = max(0.02, 1.5 * np.abs(best - truth)[:, value].max())
            assert np.abs(found - truth[:, value]).max() < allowed, (G, query, regimes)


def thanks_to_an_experiment(G, regimes):
    """Yield the queries of one cause and one outcome that observation does not answer."""
    for x, y in itertools.permutations(G.variables, 2):
        if is_answered(G, (y, x), [()]) is None and is_answered(G, (y, x), regimes) is not None:
            yield (y,), (x,)
