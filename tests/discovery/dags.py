"""Acyclic graphs, random ones and all of them, and what linear models on them imply exactly."""

import itertools

import networkx as nx
import numpy as np
import torch


def has_cycle(graph):
    adjacency = (torch.as_tensor(graph) != 0).numpy()
    return not nx.is_directed_acyclic_graph(nx.DiGraph(adjacency.astype(np.int8)))


def random_dag(d, generator, density=0.5):
    graph = (torch.rand(d, d, generator=generator) < density).triu(diagonal=1)
    order = torch.randperm(d, generator=generator)
    return graph[order][:, order]


def random_weights(graph, generator, least=0.5, most=2.0):
    size = least + (most - least) * torch.rand(graph.shape, generator=generator).double()
    sign = torch.randint(2, graph.shape, generator=generator) * 2 - 1
    return graph * sign * size


def covariance_of(weights, deviation=1.0):
    """Give the exact covariance of X = X A + E."""
    inverse = torch.linalg.inv(torch.eye(len(weights)).double() - weights)
    return deviation**2 * inverse.T @ inverse


def sample(weights, n, generator, deviation=1.0):
    errors = deviation * torch.randn(n, len(weights), generator=generator).double()
    return errors @ torch.linalg.inv(torch.eye(len(weights)).double() - weights)


def is_causal(order, graph):
    place = torch.as_tensor(order).argsort()
    i, j = graph.nonzero(as_tuple=True)
    return bool((place[i] < place[j]).all())


def all_dags(d):
    """List the acyclic graphs over d variables."""
    pairs = list(itertools.combinations(range(d), 2))
    graphs = []
    for states in itertools.product(range(3), repeat=len(pairs)):
        graph = torch.zeros(d, d, dtype=torch.bool)
        for (i, j), state in zip(pairs, states, strict=True):
            graph[i, j], graph[j, i] = state == 1, state == 2
        if not has_cycle(graph):
            graphs.append(graph)
    return graphs
