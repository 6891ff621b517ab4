"""How long does it take to plan the training of a large graph?

The H-graph and its plan at 200 dense and 10,000 sparse variables.

    python benchmarks/graphs.py

A few seconds.
"""

from __future__ import annotations

import random
import time

from causal_diffusers import ADMG, HGraph


def random_graph(size: int, directed: float, bidirected: float, seed: int) -> ADMG:
    """Draw an ADMG with the given expected numbers of edges per variable."""
    generator = random.Random(seed)
    names = [f"V{i}" for i in range(size)]

    def pairs(per_variable: float) -> set[tuple[str, str]]:
        wanted, found = int(per_variable * size), set()
        while len(found) < wanted:
            i, j = sorted(generator.sample(range(size), 2))
            found.add((names[i], names[j]))
        return found

    return ADMG(names, pairs(directed), [frozenset(p) for p in pairs(bidirected)])


def main() -> None:
    for label, size, directed, bidirected in (
        ("200 dense variables", 200, 50.0, 0.3),
        ("10,000 sparse variables", 10_000, 1.5, 0.3),
    ):
        started = time.perf_counter()
        graph = random_graph(size, directed, bidirected, seed=0)
        built = time.perf_counter()
        stages = HGraph(graph).plan()
        planned = time.perf_counter()
        print(
            f"{label}: {len(graph.directed):,} directed and {len(graph.bidirected):,} bidirected "
            f"edges; graph {built - started:.2f} s, H-graph and plan of {len(stages):,} stages "
            f"{planned - built:.2f} s"
        )


if __name__ == "__main__":
    main()
