"""Every notebook runs from top to bottom, and says what its words promise."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))


def cells_of(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_of_a_run_is_kept(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_a_graph_is_found_drawn_and_asked(capsys):
    (path,) = NOTEBOOKS
    names = {}
    for source in cells_of(path):
        exec(compile(source, path.name, "exec"), names)
    graph = names["found"].to_admg()
    assert {("age", "weight"), ("weight", "pressure"), ("age", "pressure")} <= graph.directed
    assert "<svg" in names["found"]._repr_html_()
    said = re.search(
        r"do\(weight\): (\d\.\d\d) a unit.*goes with (\d\.\d\d)", capsys.readouterr().out
    )
    slope, seen = map(float, said.groups())
    assert abs(slope - 1.5) < 0.15 < seen - 1.5
