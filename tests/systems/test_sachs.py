"""The cells are sorted into their conditions, cut into levels, and tagged with what was set."""

import csv

import numpy as np
import pytest

from causal_diffusers import ADMG
from causal_diffusers.graphs import identify
from causal_diffusers.systems.sachs import (
    CONDITIONS,
    PROTEINS,
    SACHS_GRAPH,
    SACHS_GRAPHS,
    discretise,
    quantiles,
    read_sachs,
)

REAGENTS = ["cd3_cd28", "icam2", "aktinhib", "g0076", "psitect", "u0126", "ly", "pma", "b2camp"]
GIVEN = [*({"cd3_cd28", name} for name in REAGENTS[:7]), {"pma"}, {"b2camp"}]


@pytest.fixture
def table(tmp_path):
    """Write three cells a condition; the numbers say which."""
    with (tmp_path / "sachs_full.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*PROTEINS, *REAGENTS])
        for i, given in enumerate(GIVEN):
            for cell in range(3):
                flags = [int(name in given) for name in REAGENTS]
                writer.writerow([10 * i + cell] * len(PROTEINS) + flags)
    return tmp_path


def test_each_cell_belongs_to_one_condition(table):
    cells = read_sachs(table)
    first = {name: int(own["mek"][0]) // 10 for name, own in cells.items()}
    assert first == {
        "cd3_cd28": 0, "icam2": 1, "aktinhib": 2, "g0076": 3, "u0126": 5, "pma": 7, "b2camp": 8
    }  # fmt: skip
    assert all(len(own["pka"]) == 3 for own in cells.values())


def test_rows_say_what_was_set_and_to_what(table):
    rows, held_out = discretise(read_sachs(table))
    where = {
        name: [i for i, word in enumerate(rows["intervened"]) if word == name]
        for name in ("akt", "pkc", "mek", "pka")
    }
    assert {rows["akt"][i] for i in where["akt"]} == {0}
    assert [rows["pkc"][i] for i in where["pkc"]] == [0, 0, 0, 2, 2, 2]
    assert where["pka"] == []
    assert held_out["mek"].tolist() == [2, 2, 2]  # beyond all that was trained on


def test_levels_can_be_left_as_measured(table):
    rows, _ = discretise(read_sachs(table), is_hard=False)
    measured, _ = discretise(read_sachs(table), is_hard=True)
    where = [i for i, word in enumerate(rows["intervened"]) if word == "akt"]
    assert {rows["akt"][i] for i in where} != {measured["akt"][i] for i in where} == {0}
    assert rows["intervened"] == measured["intervened"]
    assert {rows["condition"][i] for i in where} == {"aktinhib"}
    assert "b2camp" not in rows["condition"]


def test_cuts_may_come_from_elsewhere(table):
    cells = read_sachs(table)
    cuts = quantiles({"cd3_cd28": cells["cd3_cd28"]})
    rows, _ = discretise(cells, cut_at=cuts)
    own = [i for i, name in enumerate(rows["condition"]) if name == "cd3_cd28"]
    assert [rows["raf"][i] for i in own] == [0, 1, 2]
    others = {rows["raf"][i] for i in range(len(rows["raf"])) if i not in own}
    assert others == {2}  # all beyond the first condition


def test_the_graphs_differ_where_they_are_said_to():
    graphs = {name: ADMG.parse(text) for name, text in SACHS_GRAPHS.items()}
    assert all(set(G.variables) == set(PROTEINS) for G in graphs.values())
    assert not graphs["bnlearn_17"].bidirected
    first, cyclic = (set(graphs[n].directed) for n in ("consensus_20", "cyclic_18"))
    assert first - cyclic == {("pkc", "pka"), ("erk", "akt")}
    assert cyclic <= first


def test_what_is_asked_follows_from_observation():
    G = ADMG.parse(SACHS_GRAPH)
    assert G.siblings("akt") == {"pkc"}
    for outcome in ("mek", "akt"):
        assert identify(G, outcome, "pka").experiments == ((),)


def test_the_cells_are_those_that_were_published(data_folder):
    sizes = {name: len(own["pka"]) for name, own in read_sachs(data_folder).items()}
    assert list(sizes.values()) == [853, 902, 911, 723, 799, 913, 707]
    assert [*sizes] == [*CONDITIONS]
    assert np.isclose(read_sachs(data_folder)["cd3_cd28"]["raf"][0], 26.4)
