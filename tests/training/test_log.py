"""The log has each step once, whatever happened in between."""

import json

from causal_diffusers.training.log import Log


def steps(log):
    return [json.loads(line)["step"] for line in log.path.read_text().splitlines()]


def test_lines_are_appended(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    for step in (1, 2):
        log.append(step=step, loss=0.5, seconds=float(step))
    assert steps(log) == [1, 2]


def test_what_came_after_the_checkpoint_is_dropped(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    for step in (1, 2, 3):
        log.append(step=step, seconds=step / 10)
    assert log.trim(2) == 0.2
    assert steps(log) == [1, 2]
    assert log.trim(0) == 0.0
    assert steps(log) == []
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_half_a_line_is_dropped(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    log.append(step=1, seconds=1.0)
    with log.path.open("ab") as file:
        file.write(b'{"step": 2, "sec\xff')
    log.trim(9)
    log.append(step=2, seconds=2.0)
    assert steps(log) == [1, 2]


def test_lines_of_somebody_else_are_dropped(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    log.path.write_text('[1]\n{"step": "x", "seconds": 1}\n{"loss": 1}\nnull\n\n3\n')
    assert log.trim(9) == 0.0
    assert log.path.read_text() == ""


def test_a_log_that_is_not_there_stays_so(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    assert log.trim(3) == 0.0
    assert not log.path.exists()
