"""The network as it was published, and the truth under do computed from the file itself."""

import gzip
import itertools
import re

import numpy as np
import pytest

from causal_diffusers.systems.asia import asia_network

OBSERVED = ("tub", "either", "lung", "xray", "dysp", "bronc")
STATES = {"no": 0, "yes": 1}


def published(text):
    """Read P(yes | parents) from BIF, by the values of the parents."""
    tables = {}
    for child, parents, body in re.findall(
        r"probability \( (\w+)(?: \| ([\w, ]+))? \) \{(.*?)\n\}", text, re.DOTALL
    ):
        names = tuple(parents.split(", ")) if parents else ()
        entries = re.findall(r"(?:\((.*?)\)|table) ([\d.]+), [\d.]+;", body)  # yes comes first
        rows = {
            tuple(STATES[word] for word in filter(None, words.split(", "))): float(yes)
            for words, yes in entries
        }
        tables[child] = names, rows
    return tables


def enumerated(tables, kept, do):
    """Sum the product of all tables but those of `do`, world by world."""
    total = np.zeros((2,) * len(kept))
    for codes in itertools.product((0, 1), repeat=len(tables)):
        world = dict(zip(tables, codes, strict=True))
        weight = 1.0
        for child, (parents, rows) in tables.items():
            yes = rows[tuple(world[parent] for parent in parents)]
            weight *= 1.0 if child in do else (yes if world[child] else 1 - yes)
        total[tuple(world[name] for name in kept)] += weight
    return total


@pytest.mark.parametrize("do", [(), ("bronc",), ("lung",), ("either",)])
def test_it_is_the_published_network(data_folder, do):
    with gzip.open(data_folder / "bn" / "asia.bif.gz", "rt") as file:
        tables = published(file.read())
    assert len(tables) == 8
    kept = tuple(name for name in OBSERVED if name not in do) + do
    truth = enumerated(tables, kept, do)
    ours = asia_network().interventional(kept[: len(kept) - len(do)], do).values
    assert np.allclose(ours, truth, atol=1e-12)


def test_or_is_or():
    either = asia_network().interventional("either", ["tub", "lung"]).values
    assert either[1].tolist() == [[0, 1], [1, 1]]
