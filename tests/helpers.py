"""Random graphs, and truths about them that are found the slow way. Helpers raise."""

import itertools
import random

import networkx as nx

from causal_diffusers.graphs import ADMG


def random_admg(rng, size, directed=0.3, bidirected=0.2, shared=0.0):
    """Draw a graph whose declared order is not topological.

    `directed` and `bidirected` are the probabilities of an edge between two variables, `shared`
    that of a named confounder with three children.
    """
    names = [f"X{i}" for i in range(size)]
    order = rng.sample(names, size)
    pairs = list(itertools.combinations(order, 2))
    arrows = [pair for pair in pairs if rng.random() < directed]
    arcs = [pair for pair in pairs if rng.random() < bidirected]
    named = {"U": rng.sample(names, 3)} if size > 2 and rng.random() < shared else {}
    return ADMG(names, arrows, arcs, named)


def random_admgs(count, sizes=(3, 9), seed=0, directed=(0, 1), bidirected=(0, 0.4), shared=0.2):
    """Draw graphs of all sizes and densities within the ranges given."""
    rng = random.Random(seed)
    for _ in range(count):
        density = rng.uniform(*directed), rng.uniform(*bidirected)
        yield random_admg(rng, rng.randint(*sizes), *density, shared)


def subsets(items, least=0):
    """Yield every subset, smallest first."""
    items = list(items)
    sizes = range(least, len(items) + 1)
    return itertools.chain.from_iterable(itertools.combinations(items, size) for size in sizes)


def canonical_dag(G):
    """Give every bidirected edge a latent root of its own, with nothing but the edge sets."""
    dag = nx.DiGraph()
    dag.add_nodes_from(G.variables)
    dag.add_edges_from(G.directed)
    for edge in G.bidirected:
        dag.add_edges_from((edge, end) for end in edge)
    return dag


def satisfies_rule_2(G, S):
    """Decide by d-separation with explicit latents whether P(s | pa) = P(s | do(pa))."""
    outside = set().union(*(G.parents(name) for name in S)) - set(S)
    dag = canonical_dag(G)
    dag.remove_edges_from([(a, b) for a, b in G.directed if a in outside])
    return not outside or nx.is_d_separator(dag, set(S), outside, set())


def least_superset(G, H):
    """Find the smallest superset of H that satisfies rule 2, and check that no other lacks it."""
    rest = [name for name in G.variables if name not in H]
    valid = [{*H, *extra} for extra in subsets(rest) if satisfies_rule_2(G, {*H, *extra})]
    least = set.intersection(*valid)
    if least not in valid:
        raise AssertionError(f"{G}: the valid supersets of {set(H)} have no least one")
    return least
