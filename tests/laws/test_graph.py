"""What holds for every graph."""

import random
from collections import Counter

import networkx as nx
import numpy as np
import pytest
import torch

from causal_diffusers.graphs import ADMG, HGraph, least_rule2_superset
from causal_diffusers.systems import DiscreteSCM
from helpers import least_superset, random_admgs, satisfies_rule_2

some_or_many = pytest.mark.parametrize(
    ("count", "seed"), [(500, 0), pytest.param(10_000, 1, marks=pytest.mark.slow)]
)
few_or_hundreds = pytest.mark.parametrize(
    ("count", "seed"), [(60, 0), pytest.param(500, 1, marks=pytest.mark.slow)]
)


def entangled(count, seed=0):
    """Draw graphs of 3 to 9 variables in which districts often need one another."""
    return random_admgs(count, seed=seed, directed=(0.3, 1), bidirected=(0.05, 0.25), shared=0.1)


def two_sets(rng, G):
    """Draw two disjoint sets of variables."""
    names = rng.sample(G.variables, len(G.variables))
    cut = rng.randint(0, len(names))
    return names[:cut], names[cut : rng.randint(cut, len(names))]


def test_mutilate_keeps_the_variables_and_is_idempotent():
    rng = random.Random(0)
    for G in random_admgs(200):
        X, Z = two_sets(rng, G)
        cut = G.mutilate(incoming=X, outgoing=Z)
        assert cut.variables == G.variables
        assert cut.mutilate(incoming=X, outgoing=Z) == cut
        assert G.mutilate() == G


def test_mutilate_commutes_over_disjoint_sets():
    rng = random.Random(1)
    for G in random_admgs(200):
        X, Z = two_sets(rng, G)
        both = G.mutilate(incoming=[*X, *Z])
        assert both == G.mutilate(incoming=X).mutilate(incoming=Z)
        assert both == G.mutilate(incoming=Z).mutilate(incoming=X)
        assert G.mutilate(incoming=X, outgoing=Z) == G.mutilate(outgoing=Z).mutilate(incoming=X)


def test_districts_partition_the_variables():
    for G in random_admgs(200):
        assert sorted(name for D in G.districts() for name in D) == sorted(G.variables)


def test_subgraphs_of_subgraphs_are_subgraphs():
    rng = random.Random(2)
    for G in random_admgs(200):
        S = rng.sample(G.variables, rng.randint(0, len(G.variables)))
        T = S[: rng.randint(0, len(S))]
        assert G.subgraph(S).subgraph(T) == G.subgraph(T)
        assert G.subgraph(G.variables) == G


@some_or_many
def test_every_training_set_satisfies_rule_2_and_its_frozen_part_is_trained_before(
    count, seed, record_property
):
    found = Counter()
    for G in entangled(count, seed):
        trained = set()
        for stage in HGraph(G).plan():
            assert stage.variables <= stage.joint
            assert stage.parents == G.parents(stage.joint) - stage.joint
            assert satisfies_rule_2(G, stage.joint)
            assert stage.frozen <= trained
            trained |= stage.variables
            found.update(stages=1, frozen=bool(stage.frozen), parents=bool(stage.parents))
        assert trained == set(G.variables)
    record_property("found", dict(found))
    assert min(found.values()) > count / 10


@some_or_many
def test_the_h_graph_is_acyclic_and_its_nodes_partition_the_districts(
    count, seed, record_property
):
    merged = 0
    for G in entangled(count, seed):
        H = HGraph(G)
        dag = nx.DiGraph(H.edges)
        dag.add_nodes_from(H.nodes)
        assert nx.is_directed_acyclic_graph(dag)
        place = {node: i for i, node in enumerate(H.nodes)}
        assert all(place[first] < place[later] for first, later in H.edges)
        districts = [D for node in H.nodes for D in node.districts]
        assert sorted(map(sorted, districts)) == sorted(map(sorted, G.districts()))
        assert [node.variables for node in H.nodes] == [stage.variables for stage in H.plan()]
        merged += len(H.nodes) < len(G.districts())
    record_property("graphs with districts that had to be merged", merged)
    assert merged > count / 50


@few_or_hundreds
def test_the_training_set_is_the_least_by_brute_force(count, seed, record_property):
    checked = larger = 0
    for G in entangled(count, seed):
        parts = [*G.districts(), *(stage.variables for stage in HGraph(G).plan())]
        for H in dict.fromkeys(parts):
            S = least_rule2_superset(G, H)
            assert least_superset(G, H) == S
            checked, larger = checked + 1, larger + (S > H)
        assert all(least_rule2_superset(G, s.variables) == s.joint for s in HGraph(G).plan())
    record_property("sets, and those that grew", (checked, larger))
    assert larger > checked / 20


def test_what_a_stage_matches_is_interventional_and_smaller_sets_are_not():
    """P(s | pa(S)) = P(s | do(pa(S))) by enumeration; for H in place of S(H) it mostly fails."""
    errors, grown = [], []
    for seed, G in enumerate(random_admgs(60, sizes=(3, 6), directed=(0.3, 1))):
        system = DiscreteSCM.random(G, 2, generator=torch.Generator().manual_seed(seed))
        for stage in HGraph(G).plan():
            errors.append(gap(system, stage.joint))
            if stage.frozen:
                grown.append(gap(system, stage.variables))
    assert max(errors) < 1e-9
    assert len(grown) > 5
    assert np.median(grown) > 1e-3


def gap(system, S):
    """Compare P(s | pa(S)) with P(s | do(pa(S)))."""
    P = sorted(system.graph.parents(S) - S)
    seen, done = (system.interventional(sorted(S), **{how: P}) for how in ("given", "do"))
    return np.abs(seen.values - done.values).max()


def test_no_need_is_merged_that_could_be_ordered():
    """Districts share an h-node only if a cycle of needs joins them, found one step at a time."""
    for G in entangled(200):
        parts = list(G.districts())
        while True:
            need = nx.DiGraph()
            need.add_nodes_from(parts)
            joints = {H: least_rule2_superset(G, H) for H in parts}
            need.add_edges_from((A, B) for A in parts for B in parts if A != B and A & joints[B])
            cycle = next(nx.simple_cycles(need), None)
            if cycle is None:
                break
            parts = [H for H in parts if H not in cycle] + [frozenset().union(*cycle)]
        assert {node.variables for node in HGraph(G).nodes} == set(parts)


def test_renaming_the_variables_renames_the_plan():
    rng = random.Random(3)
    for G in random_admgs(200):
        new = dict(zip(G.variables, rng.sample([f"N{i}" for i in range(20)], 9), strict=False))
        renamed = ADMG(
            [new[name] for name in G.variables],
            [(new[a], new[b]) for a, b in G.directed],
            [[new[name] for name in edge] for edge in G.bidirected],
        )
        for stage, other in zip(HGraph(G).plan(), HGraph(renamed).plan(), strict=True):
            assert {new[name] for name in stage.variables} == other.variables
            assert {new[name] for name in stage.joint} == other.joint
            assert {new[name] for name in stage.parents} == other.parents


def test_the_order_of_the_variables_changes_no_stage():
    rng = random.Random(4)
    for G in random_admgs(200):
        shuffled = ADMG(rng.sample(G.variables, len(G.variables)), G.directed, G.bidirected)
        assert set(HGraph(shuffled).plan()) == set(HGraph(G).plan())
