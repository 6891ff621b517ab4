"""What is pushed to a Hub and pulled from it again, in an interpreter of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hub_stub import serve

ROUND_TRIP = Path(__file__).with_name("hub_round_trip.py")


@pytest.fixture(scope="module")
def round_trip(tmp_path_factory):
    """Push and pull in an interpreter that talks to a Hub on this machine."""
    folder = tmp_path_factory.mktemp("hub")
    with serve() as (endpoint, repositories):
        environment = {
            **os.environ,
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(folder / "home"),
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": "hf_nothing",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        command = [sys.executable, str(ROUND_TRIP), str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]), repositories


@pytest.mark.parametrize("loaded", ["main", "pinned", "offline", "moved", "found", "plain"])
def test_what_is_pushed_can_be_pulled(round_trip, loaded):
    answers, _ = round_trip
    assert answers[loaded] == answers["here"]


def test_the_base_is_pinned_to_its_commit(round_trip):
    answers, repositories = round_trip
    (commit, files) = repositories.commits["me/base"][-1]
    assert answers["base"] == ["me/base", commit]
    assert "unet/diffusion_pytorch_model.safetensors" in files


def test_only_the_pipeline_is_pushed(round_trip):
    _, repositories = round_trip
    _, files = repositories.commits["me/front-door"][-1]
    assert {Path(path).suffix for path in files} <= {".json", ".safetensors", ".md", ""}
    assert not [path for path in files if "backbone" in path]
    assert b"base_model:\n- me/base" in files["README.md"]


def test_a_card_that_was_edited_on_the_hub_is_kept(round_trip):
    answers, repositories = round_trip
    assert answers["edited"] == "My own words."
    assert "model_index.json" in repositories.commits["me/edited"][-1][1]


def test_a_discovery_model_is_pushed_and_pulled(round_trip):
    answers, repositories = round_trip
    here, there = answers["networks"]
    assert here == there
    _, files = repositories.commits["me/adag"][-1]
    assert {"README.md", "config.json", "diffusion_pytorch_model.safetensors"} <= set(files)
    assert b'discover(rows, "me/adag")' in files["README.md"]


def test_a_pipeline_can_be_downloaded_without_loading_it(round_trip):
    answers, _ = round_trip
    assert answers["downloaded"] == ["A", "D", "I", "README.md", "U_D_A", "W", "model_index.json"]


def test_hostile_files_of_a_repository_are_not_even_downloaded(round_trip):
    answers, repositories = round_trip
    assert answers["hostile"].startswith("CheckpointError")
    fetched = [r for r in repositories.requests if "me/hostile/resolve" in r]
    assert fetched
    assert not [r for r in fetched if r.endswith((".py", ".bin", ".pkl"))]


def test_a_missing_repository_is_said_to_be_missing(round_trip):
    answers, _ = round_trip
    assert answers["missing"].startswith("RepositoryNotFoundError")
