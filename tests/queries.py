"""Random graphs, queries and systems, and what a hedge must satisfy. Helpers raise."""

import random

import networkx as nx
import numpy as np
import torch

from causal_diffusers.graphs import ADMG
from causal_diffusers.graphs.identify import identify
from causal_diffusers.graphs.table import Table
from causal_diffusers.systems import DiscreteSCM

NAMES = "ABCDEFGHIJ"


def random_admg(rng, size, directed=0.4, bidirected=0.25):
    """Draw a graph whose declared order is not topological."""
    order = rng.sample(NAMES[:size], size)
    pairs = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]
    arrows = [pair for pair in pairs if rng.random() < directed]
    arcs = [pair for pair in pairs if rng.random() < bidirected]
    shared = {"U": rng.sample(order, 3)} if size > 2 and rng.random() < 0.2 else {}
    return ADMG(rng.sample(order, size), arrows, arcs, shared)


def grown_napkin(rng, size):
    """Draw a graph around the napkin, whose answers need quotients of sums."""
    G = random_admg(rng, size, 0.3, 0.1)
    W, Z, X, Y, *_ = rng.sample(G.topological_order()[:4], 4)
    cut = [edge for edge in G.directed if not {*edge} <= {W, Z, X, Y} and edge[1] not in (X, Z)]
    arcs = [edge for edge in G.bidirected if not edge & {X, Y, Z}]
    return ADMG(G.variables, [*cut, (W, Z), (Z, X), (X, Y)], [*arcs, (W, X), (W, Y)])


def random_query(rng, G, conditional=False):
    """Draw disjoint outcomes, interventions and conditions."""
    names = rng.sample(G.variables, len(G.variables))
    sizes = [rng.choice([1, 1, 1, 2]), rng.choice([1, 1, 1, 2]), rng.choice([1, 1, 2])]
    Y, X, Z = (tuple(names.pop() for _ in range(min(size, len(names)))) for size in sizes)
    return Y, X, (Z if conditional else ())


def random_system(G, rng):
    """Draw a system with variables of two or three values."""
    cardinalities = {name: rng.choice([2, 2, 3]) for name in G.variables}
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    return DiscreteSCM.random(G, cardinalities, generator=generator)


def case(seed, conditional=False):
    """Draw a graph, a query and a system of the graph; a third of them around the napkin."""
    rng = random.Random(seed)
    if seed % 3:
        size, density = rng.randint(3, 7), rng.choice([0.1, 0.2, 0.35])
        G = random_admg(rng, size, rng.choice([0.3, 0.5]), density)
    else:
        G = grown_napkin(rng, rng.randint(4, 7))
    return G, random_query(rng, G, conditional), random_system(G, rng)


def error_of(G, query, system):
    """Compare an estimand, evaluated on P(V), with the enumerated truth."""
    answer = identify(G, *query).evaluate(system.joint())
    truth = system.interventional(*query)
    if answer.variables != truth.variables or answer.values.shape != truth.values.shape:
        raise AssertionError(f"{answer.variables} {answer.values.shape}")
    return np.abs(answer.values - truth.values).max()


def random_regimes(rng, G):
    """Draw what is set in up to three regimes; in half of the cases one of them is to watch."""
    sizes = [rng.choice([1, 1, 2, 3]) for _ in range(rng.randint(1, 3))]
    regimes = [tuple(rng.sample(G.variables, min(size, len(G.variables) - 1))) for size in sizes]
    return rng.sample([*regimes, ()], len(regimes) + 1) if rng.random() < 0.5 else regimes


def joints_of(system, regimes, rng):
    """Enumerate each regime; the experimenter's choice of values is at random."""
    G, generator = system.graph, np.random.default_rng(rng.randrange(2**31))
    joints = {}
    for Z in regimes:
        rest = [name for name in G.variables if name not in Z]
        table = system.interventional(rest, do=Z)
        chosen = generator.uniform(0.2, 1, size=table.values.shape[len(rest) :])
        joints[Z] = Table(table.values * chosen, table.variables).order(*G.variables).values
    return joints


def error_in_regimes(G, query, regimes, system, seed=0):
    """Compare an estimand, evaluated on the joints of its regimes, with the enumerated truth."""
    estimand = identify(G, *query, experiments=regimes)
    answer = estimand.evaluate(joints_of(system, regimes, random.Random(seed)))
    truth = system.interventional(*query)
    if answer.variables != truth.variables or answer.values.shape != truth.values.shape:
        raise AssertionError(f"{answer.variables} {answer.values.shape}")
    return np.abs(answer.values - truth.values).max()


def check_c_forest(G, forest, roots):
    """Check the definition of a C-forest, with nothing but edge lists."""
    bidirected = nx.Graph([tuple(edge) for edge in forest.bidirected])
    bidirected.add_nodes_from(forest.variables)
    if not nx.is_tree(bidirected):
        raise ValueError("the bidirected edges are no spanning tree")
    parents = [a for a, _ in forest.directed]
    if len(set(parents)) < len(parents):
        raise ValueError("a variable has two children")
    if set(forest.variables) - set(parents) != set(roots):
        raise ValueError("the childless variables are not the roots")
    if not (forest.directed <= G.directed and forest.bidirected <= G.bidirected):
        raise ValueError("an edge is not in the graph")


def check_hedge(G, outcomes, do, hedge):
    """Check Def. 6 of Shpitser & Pearl (2006)."""
    F, inner, roots = hedge.forest, hedge.subforest, hedge.roots
    check_c_forest(G, F, roots)
    check_c_forest(G, inner, roots)
    if not (
        set(inner.variables) <= set(F.variables)
        and inner.directed <= F.directed
        and inner.bidirected <= F.bidirected
    ):
        raise ValueError("the inner forest is no part of the outer one")
    if not set(F.variables) & set(do):
        raise ValueError("the outer forest does not meet the interventions")
    if set(inner.variables) & set(do):
        raise ValueError("the inner forest meets the interventions")
    cut = nx.DiGraph([(a, b) for a, b in G.directed if b not in do])
    cut.add_nodes_from(G.variables)
    if not set(roots) <= set(outcomes).union(*(nx.ancestors(cut, name) for name in outcomes)):
        raise ValueError("a root is no ancestor of the outcomes")
