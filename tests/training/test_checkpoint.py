"""A file is the old one or the new one, and belongs to who reads it."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from causal_diffusers.errors import CheckpointError
from causal_diffusers.training.checkpoint import Checkpoint, StageFiles

MADE = {"config": {"steps": 3, "seed": 0}, "data": "abc", "components": {"X": {"width": 4}}}


@pytest.fixture
def checkpoint(tmp_path):
    return Checkpoint(tmp_path / "checkpoint.safetensors", MADE)


def test_what_was_written_is_read(checkpoint):
    written = {"a": torch.randn(2, 3), "b": torch.tensor(7.0)}
    assert not checkpoint.exists()
    checkpoint.write(written, step="5")
    assert checkpoint.exists()
    read = {name: torch.zeros_like(tensor) for name, tensor in written.items()}
    assert checkpoint.restore(read)["step"] == "5"
    assert all(torch.equal(read[name], written[name]) for name in written)


def test_a_failed_write_leaves_the_old_file(checkpoint, monkeypatch):
    checkpoint.write({"a": torch.ones(2)})
    for place in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(*((os, "fsync") if place == "fsync" else (Path, "replace")), _fail)
            with pytest.raises(OSError, match="disk"):
                checkpoint.write({"a": torch.zeros(2)})
        read = {"a": torch.zeros(2)}
        checkpoint.restore(read)
        assert read["a"].tolist() == [1, 1]


def _fail(*_):
    raise OSError("disk")


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ({**MADE, "data": "abd"}, "data"),
        ({**MADE, "config": {"steps": 4, "seed": 1}}, "config.seed, config.steps"),
        ({**MADE, "components": {"X": {"width": 5}}}, "components.X"),
        ({**MADE, "components": {}}, "components, components.X"),
    ],
)
def test_what_differs_is_named(checkpoint, made, named):
    checkpoint.write({"a": torch.ones(1)})
    other = Checkpoint(checkpoint.path, made)
    with pytest.raises(CheckpointError, match=f"was made from other {named}. Restore") as caught:
        other.restore({"a": torch.ones(1)})
    assert caught.value.path == str(checkpoint.path)


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-3])


def _empty(path):
    path.write_bytes(b"")


def _garbage(path):
    path.write_bytes(b"\x80\x04\x95 a pickle")


def _without_words(path):
    save_file({"a": torch.ones(1)}, path)


def _with_other_words(path):
    save_file({"a": torch.ones(1)}, path, {"made_from": "[1, 2"})


def _with_a_list(path):
    save_file({"a": torch.ones(1)}, path, {"made_from": "[1]"})


@pytest.mark.parametrize(
    "harm",
    [_truncate, _empty, _garbage, _without_words, _with_other_words, _with_a_list],
)
def test_a_damaged_file_is_named(checkpoint, harm):
    checkpoint.write({"a": torch.ones(1)})
    harm(checkpoint.path)
    with pytest.raises(CheckpointError, match=r"checkpoint.safetensors is damaged.*Delete it"):
        checkpoint.restore({"a": torch.ones(1)})


@pytest.mark.parametrize(
    "held", [{}, {"a": torch.ones(2)}, {"a": torch.ones(1), "b": torch.ones(1)}]
)
def test_other_tensors_are_refused(checkpoint, held):
    checkpoint.write(held)
    with pytest.raises(CheckpointError, match=r"`a`|lacks|unexpected"):
        checkpoint.restore({"a": torch.ones(1)})


def test_no_pickle_is_written(checkpoint):
    checkpoint.write({"a": torch.ones(1)})
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["checkpoint.safetensors"]


def test_a_stage_checks_the_file_that_counts(tmp_path):
    files = StageFiles(tmp_path / "new" / "X", MADE)
    files.check()
    files.checkpoint.write({"a": torch.ones(1)})
    other = StageFiles(tmp_path / "new" / "X", {**MADE, "data": "?"})
    with pytest.raises(CheckpointError, match=r"checkpoint.safetensors was made from other data"):
        other.check()
    other.finished.write({"a": torch.ones(1)})
    other.check()  # the checkpoint of a finished stage means nothing
    with pytest.raises(CheckpointError, match=r"finished.safetensors was made from other data"):
        files.check()
