"""Implied independencies hold in every model, and no pair that could be told apart is missed."""

import itertools
import random

import numpy as np
import pytest
import torch

from causal_diffusers import ADMG
from causal_diffusers.graphs.implications import implied_independencies
from causal_diffusers.systems import DiscreteSCM

VERMA = ADMG.parse("A -> B -> C -> D; B <-> D")


def random_graph(seed, size):
    draw = random.Random(seed)
    names = [f"V{i}" for i in range(size)]
    pairs = list(itertools.combinations(names, 2))
    directed = [pair for pair in pairs if draw.random() < 0.4]
    bidirected = [frozenset(pair) for pair in pairs if draw.random() < 0.25]
    return ADMG(names, directed, bidirected)


def conditional(table, axis, given):
    """P(v | given) with all axes kept, of a joint table."""
    others = tuple(i for i in range(table.ndim) if i not in (axis, *given))
    top = table.sum(axis=others, keepdims=True)
    return top / top.sum(axis=axis, keepdims=True)


def dependence(implied, joint, names):
    """The largest |P(a, b | z) - P(a | z) P(b | z)| after fixing, by enumeration."""
    place = {name: i for i, name in enumerate(names)}
    table = joint.copy()
    for each in implied.fixed:
        axis = place[each.variable]
        table = table / conditional(table, axis, [place[n] for n in each.given]) / 2
    a, b, z = place[implied.first], place[implied.second], [place[n] for n in implied.given]
    others = tuple(i for i in range(table.ndim) if i not in (a, b, *z))
    pair = table.sum(axis=others, keepdims=True)
    pair = pair / pair.sum(axis=(a, b), keepdims=True)
    apart = pair.sum(axis=a, keepdims=True) * pair.sum(axis=b, keepdims=True)
    return np.abs(pair - apart).max(), abs(table.sum() - 1)


def fixings(graph):
    """Every graph that fixing leads to, in any order, by brute force."""
    seen, queue = {graph: ()}, [(graph, frozenset())]
    while queue:
        world, done = queue.pop()
        for name in set(world.variables) - done:
            if world.descendants(name) & world.district(name) == {name}:
                left = world.mutilate(incoming=[name])
                if left not in seen:
                    seen[left] = ()
                    queue.append((left, done | {name}))
    return list(seen)


def is_separable(worlds, a, b):
    """Whether any set separates the pair in any of the graphs."""
    rest = [n for n in worlds[0].variables if n not in (a, b)]
    sets = [z for k in range(len(rest) + 1) for z in itertools.combinations(rest, k)]
    return any(world.m_separated(a, b, z) for world in worlds for z in sets)


def test_the_graph_of_verma():
    plain, fixed = implied_independencies(VERMA)
    assert str(plain) == "A _||_ C | B"
    assert str(fixed) == "A _||_ D after dividing by P(C | B)"
    assert fixed.variables == ("A", "D", "C", "B")
    assert fixed.given == ()
    assert (plain.is_verma, fixed.is_verma) == (False, True)


@pytest.mark.parametrize("text", ["X -> Y; X <-> Y", "X -> M -> Y; X <-> Y; X -> Y", "X"])
def test_graphs_that_forbid_nothing_imply_nothing_they_should_not(text):
    graph = ADMG.parse(text)
    assert all(i.first not in graph.parents(i.second) for i in implied_independencies(graph))
    if text != "X -> M -> Y; X <-> Y; X -> Y":
        assert implied_independencies(graph) == ()


@pytest.mark.parametrize("seed", range(40))
def test_they_hold_in_every_model_by_enumeration(seed):
    graph = random_graph(seed, 4 + seed % 2)
    for draw in range(2):
        generator = torch.Generator().manual_seed(100 * seed + draw)
        joint = np.asarray(DiscreteSCM.random(graph, generator=generator).joint())
        for implied in implied_independencies(graph):
            left, mass = dependence(implied, joint, graph.variables)
            assert mass < 1e-9
            assert left < 1e-9, implied


@pytest.mark.parametrize("seed", range(40))
def test_no_pair_is_missed_that_any_fixing_and_any_set_tell_apart(seed):
    graph = random_graph(seed, 4 + seed % 2)
    found = {frozenset((i.first, i.second)) for i in implied_independencies(graph)}
    worlds = fixings(graph)
    for a, b in itertools.combinations(graph.variables, 2):
        is_joined = a in graph.parents(b) or b in graph.parents(a) or b in graph.siblings(a)
        expected = not is_joined and is_separable(worlds, a, b)  # fixing b cuts a -> b itself
        assert (frozenset((a, b)) in found) == expected


def test_models_of_a_larger_graph_break_them():
    """The constraint has teeth: an edge A -> D makes the difference."""
    wrong = ADMG.parse("A -> B -> C -> D; B <-> D; A -> D")
    _, verma = implied_independencies(VERMA)
    found = []
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        joint = np.asarray(DiscreteSCM.random(wrong, generator=generator).joint())
        found.append(dependence(verma, joint, wrong.variables)[0])
    assert np.median(found) > 0.01
