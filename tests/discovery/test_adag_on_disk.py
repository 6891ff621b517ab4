"""What is saved answers the same; what is damaged or hostile is refused."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from causal_diffusers import CheckpointError
from causal_diffusers.discovery import ADAG
from discovery.models import draw, general, make, ordered
from hostile import WEIGHTS, change_weights, edit
from hub_stub import serve


@pytest.mark.parametrize("family", [None, general(), ordered()], ids=["any", "general", "order"])
def test_what_is_saved_answers_the_same(family, tmp_path, generator):
    model = make(family=family)
    model.save_pretrained(tmp_path)
    again = ADAG.from_pretrained(tmp_path)
    data = draw(20, 3, generator)
    assert torch.equal(model.edges(data).logits, again.edges(data).logits)
    assert again.family == model.family or again.family.to_dict() == model.family.to_dict()
    assert not again.training
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", WEIGHTS]


def test_the_shipped_model_is_found_by_its_name(generator):
    data, shipped = draw(20, 4, generator), ADAG.from_pretrained()
    by_name = ADAG.from_pretrained("causal-diffusers/adag")
    assert torch.equal(by_name.edges(data).logits, shipped.edges(data).logits)
    assert shipped.family is None


def test_a_model_works_in_double_precision(tmp_path, generator):
    model, data = make(), draw(40, 4, generator)
    model.save_pretrained(tmp_path)
    loaded = ADAG.from_pretrained(tmp_path, dtype=torch.float64)
    assert loaded.first.weight.dtype == torch.float64
    after, before = (each.edges(data).probabilities for each in (loaded, model))
    torch.testing.assert_close(after, before.double(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_refused(dtype, tmp_path, generator):
    make().save_pretrained(tmp_path)
    loaded = ADAG.from_pretrained(tmp_path, dtype=dtype)
    with pytest.raises(ValueError, match=f"torch.float32 or torch.float64: got {dtype}.*float"):
        loaded.edges(draw(40, 4, generator))
    assert bool(loaded.float().edges(draw(40, 4, generator)).logits.isfinite().all())


@pytest.fixture
def folder(tmp_path):
    make(family=ordered()).save_pretrained(tmp_path / "hostile")
    return tmp_path / "hostile"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 10}, "has shape"),
        ({"layers": 3}, "the file lacks"),
        ({"layers": 1}, "holds the unexpected"),
        ({"width": 10**9}, "absurdly large"),
        ({"width": 4096}, "a width of 1024"),
        ({"width": "wide"}, "are positive"),
        ({"layers": 10**5}, "at most 64 layers"),
        ({"depth": 2}, r"unknown fields \['depth'\]"),
        ({"_class_name": "UNet2DModel"}, "describes a 'UNet2DModel': expected 'ADAG'"),
        ({"family": {"setting": "general"}}, "this is no family of tasks"),
        ({"family": {**ordered(), "chances": [[0.0] * 3] * 2}}, "a square matrix"),
        ({"family": {**ordered(), "deviation": "1"}}, "does not describe a ADAG"),
        ({"family": {**ordered(), "samples": [0, -3]}}, "`samples` is a range"),
        ({"family": {**ordered(), "variables": ["A"]}}, "`variables` names 3"),
        ({"family": 7}, "does not describe a ADAG"),
    ],
    ids=lambda change: f"{change!s:.60}",
)
def test_a_damaged_config_is_refused(folder, change, message):
    edit(folder / "config.json", **change)
    with pytest.raises(CheckpointError, match=message):
        ADAG.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("first.bias"), r"the file lacks \['first.bias'\]"),
        (lambda tensors: tensors.update(evil=torch.ones(1)), r"the unexpected \['evil'\]"),
        (lambda tensors: tensors.update({"first.bias": torch.ones(3)}), "`first.bias` has shape"),
        (
            lambda tensors: tensors["first.bias"].fill_(torch.nan),
            "`first.bias` holds something else than finite real numbers",
        ),
    ],
    ids=["missing", "unexpected", "shape", "nan"],
)
def test_damaged_weights_are_refused(folder, change, message):
    change_weights(folder / WEIGHTS, change)
    with pytest.raises(CheckpointError, match=message):
        ADAG.from_pretrained(folder)


def test_what_is_no_model_is_refused(folder, tmp_path):
    (folder / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="does not exist"):
        ADAG.from_pretrained(folder)
    with pytest.raises(CheckpointError, match="neither a folder nor a repository id"):
        ADAG.from_pretrained("./no/such/folder")


def test_pickles_are_not_read(folder):
    shutil.move(folder / WEIGHTS, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(CheckpointError, match="does not exist"):
        ADAG.from_pretrained(folder)


PUSH = """
import sys, torch
from causal_diffusers.discovery import ADAG
model = ADAG(width=4, layers=1)
commit = model.push_to_hub("me/adag", commit_message="first")
again = ADAG.from_pretrained("me/adag", revision=commit.oid)
same = [torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True)]
sys.exit(0 if all(same) else 1)
"""


@pytest.mark.slow
def test_what_is_pushed_can_be_pulled(tmp_path):
    with serve() as (endpoint, repositories):
        told = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        told |= {"HF_TOKEN": "hf_nothing", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        environment = {**os.environ, **told, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", PUSH]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    _, files = repositories.commits["me/adag"][-1]
    assert {"config.json", WEIGHTS} <= {Path(path).name for path in files}
    assert json.loads(files["config.json"])["_class_name"] == "ADAG"
