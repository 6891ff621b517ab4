"""What is read from a file is checked before it costs anything."""

import hashlib

import pytest
import torch
from diffusers import DDPMScheduler
from safetensors.torch import save_file

from causal_diffusers.backbones.files import (
    blame,
    check_shapes,
    construct,
    read_json,
    sha256,
    stored_shapes,
)
from causal_diffusers.errors import CheckpointError, ShapeError


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b"[" * 200_000])
def test_what_is_no_json_object_is_refused(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_json(path)
    assert caught.value.path == str(path)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(CheckpointError):
        read_json(tmp_path)
    with pytest.raises(CheckpointError):
        stored_shapes(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04.", b"\xff" * 64, b"\0" * 64])
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        stored_shapes(path)


def test_shapes_are_read(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(())}, path)
    assert stored_shapes(path) == {"a": (2, 3), "b": ()}


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [
        ({}, r"lacks \['a', 'b'\]"),
        ({"a": (2, 3), "b": (), "c": ()}, r"unexpected \['c'\]"),
        ({"a": (3, 2), "b": ()}, r"`a` has shape \(3, 2\) on disk and \(2, 3\) in the model"),
        ({"a": (6,), "b": ()}, "`a` has shape"),
        ({"a": (2, 3), "b": (1,)}, "`b` has shape"),
    ],
)
def test_other_shapes_are_refused(tmp_path, stored, complaint):
    state = {"a": torch.zeros(2, 3, device="meta"), "b": torch.zeros((), device="meta")}
    check_shapes(state, {"a": (2, 3), "b": ()}, tmp_path)
    with pytest.raises(CheckpointError, match=complaint):
        check_shapes(state, stored, tmp_path)


@pytest.mark.parametrize(
    "config", [{"num_train_timesteps": 2**40}, {"trained_betas": [0.1] * (2**20 + 1)}]
)
def test_an_absurd_size_is_refused_before_it_is_allocated(tmp_path, config):
    with pytest.raises(CheckpointError, match="is absurdly large"):
        construct(DDPMScheduler, config, tmp_path)


def test_blame_keeps_the_errors_that_name_a_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"^first$"), blame(tmp_path, "thing"):
        raise CheckpointError("first", path="elsewhere")
    with pytest.raises(CheckpointError, match="a thing: too big"), blame(tmp_path, "thing"):
        raise ShapeError("too big", variable="x", expected=(), received=())


def test_a_hash_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 10**6)
    assert sha256(path) == hashlib.sha256(b"abc" * 10**6).hexdigest()
