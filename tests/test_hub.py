"""What a folder may say, and everything that is refused. No hostile folder runs code."""

import contextlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file

from causal_diffusers import (
    ADMG,
    Categorical,
    CausalPipeline,
    CheckpointError,
    Confounder,
    DiffusionMechanism,
    GraphError,
    aliases,
    hub,
)
from causal_diffusers.blueprint import Blueprint
from hub_stub import serve
from tiny import make_tiny_base, make_tiny_pipeline

INDEX, WEIGHTS = "model_index.json", "diffusion_pytorch_model.safetensors"
LOADERS = [CausalPipeline.from_pretrained, DiffusionPipeline.from_pretrained]
both = pytest.mark.parametrize("load", LOADERS, ids=["CausalPipeline", "DiffusionPipeline"])

# What diffusers raises before it asks us, where `_class_name` is not even a name it knows.
OF_DIFFUSERS = (AttributeError, KeyError, TypeError, ValueError)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    pipe = CausalPipeline.from_graph(
        "X -> Y; X <-> Y",
        dict.fromkeys("XY", Categorical([0, 1])),
        confounders={"U_X_Y": Confounder(states=3)},
    )
    pipe.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(good, tmp_path):
    return Path(shutil.copytree(good, tmp_path / "hostile"))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def good_image(tmp_path_factory, base):
    folder = tmp_path_factory.mktemp("image")
    make_tiny_pipeline(base).save_pretrained(folder, include_backbones=True)
    return folder


@pytest.fixture
def image_folder(good_image, tmp_path):
    return Path(shutil.copytree(good_image, tmp_path / "hostile_image"))


def edit(path, **changes):
    """Change keys of a JSON file; a value of `...` removes the key."""
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


def graph_of(folder):
    return json.loads((folder / INDEX).read_text())["graph"]


class Payload:
    """Pickled, it writes a file as soon as it is loaded."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


def test_the_folder_is_good_unless_tampered_with(folder, image_folder):
    for load in LOADERS:
        assert type(load(folder)) is CausalPipeline
        assert type(load(image_folder)) is CausalPipeline


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_class_name": ["pipeline", "Evil"]}, "`_class_name` must be one of"),
        ({"_class_name": ["community", "Evil"]}, "code in a repository is never run"),
        ({"_class_name": "StableDiffusionPipeline"}, "`_class_name` must be one of"),
        ({"_class_name": ...}, "`_class_name` must be one of"),
        ({"_class_name": None}, "`_class_name` must be one of"),
        ({"format_version": 2}, "saved by a newer release: `pip install --upgrade"),
        ({"format_version": ...}, "`format_version` must be a positive integer: got None"),
        ({"format_version": "1"}, "`format_version` must be a positive integer: got '1'"),
        ({"format_version": 0}, "`format_version` must be a positive integer"),
        ({"format_version": True}, "`format_version` must be a positive integer"),
        ({"graph": ...}, "`graph` does not describe a graph"),
        ({"graph": {"nodes": ["X"]}}, "`graph` does not describe a graph"),
        ({"Z": ["causal_diffusers", "CategoricalMechanism"]}, "['Z'] is unknown"),
        ({"_ignore_files": ["X"]}, "['_ignore_files'] is unknown"),
        ({"X": ...}, "['X'] is missing"),
        ({"U_X_Y": ...}, "['U_X_Y'] is missing"),
        ({"X": ["causal_diffusers", "ConfounderPrior"]}, "`X` must be ['causal_diffusers'"),
        ({"U_X_Y": ["causal_diffusers", "CategoricalMechanism"]}, "`U_X_Y` must be"),
        ({"X": ["causal_diffusers", "Mechanism"]}, "`X` must be"),
        ({"X": ["causal_diffusers", "CausalPipeline"]}, "`X` must be"),
        ({"X": ["causal_diffusers.mechanisms", "CategoricalMechanism"]}, "`X` must be"),
        ({"X": ["diffusers", "DDPMPipeline"]}, "`X` must be"),
        ({"X": ["diffusers", "UNet2DModel"]}, "`X` must be"),
        ({"X": ["os", "system"]}, "`X` must be"),
        ({"X": ["subprocess", "Popen"]}, "`X` must be"),
        ({"X": ["builtins", "eval"]}, "`X` must be"),
        ({"X": ["test_hub", "Payload"]}, "`X` must be"),
        ({"X": [None, None]}, "`X` must be"),
        ({"X": None}, "`X` must be"),
        ({"X": "causal_diffusers"}, "`X` must be"),
        ({"X": ["causal_diffusers", "CategoricalMechanism", "more"]}, "`X` must be"),
        ({"X": {"0": "causal_diffusers"}}, "`X` must be"),
    ],
    ids=str,
)
def test_an_index_is_read_strictly(folder, changes, message):
    edit(folder / INDEX, **changes)
    with pytest.raises(CheckpointError) as caught:
        CausalPipeline.from_pretrained(folder)
    assert message in str(caught.value)
    assert caught.value.path == str(folder / INDEX)
    if "_ignore_files" not in changes:  # which diffusers takes out before it asks us
        with pytest.raises((CheckpointError, *OF_DIFFUSERS)):
            DiffusionPipeline.from_pretrained(folder)


@both
@pytest.mark.parametrize("name", ["../../x", "/etc", "to", "components", "X.Y", "", "x" * 200])
def test_a_name_becomes_neither_a_path_nor_an_attribute(folder, load, name):
    graph = graph_of(folder)
    graph["variables"][name] = graph["variables"]["X"]
    edit(folder / INDEX, graph=graph, **{name: ["causal_diffusers", "CategoricalMechanism"]})
    with pytest.raises(CheckpointError, match="`graph` does not describe a graph"):
        load(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "3", '{"a": 1', "\udcff"])
def test_an_index_that_is_no_object_is_refused(folder, content):
    (folder / INDEX).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(CheckpointError, match=INDEX):
        CausalPipeline.from_pretrained(folder)


def test_a_folder_without_an_index_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=INDEX):
        CausalPipeline.from_pretrained(tmp_path)


def test_a_base_is_no_pipeline(base):
    with pytest.raises(CheckpointError, match="`_class_name` must be one of"):
        CausalPipeline.from_pretrained(base)


def test_a_missing_component_is_named(folder):
    shutil.rmtree(folder / "Y")
    with pytest.raises(CheckpointError, match=r"Y/config\.json does not exist, and model_index"):
        CausalPipeline.from_pretrained(folder)


@both
@pytest.mark.parametrize("place", ["pipeline.py", "X/causal_diffusers.py", "X/X.py"])
def test_code_in_the_folder_is_never_run(folder, tmp_path, load, place):
    trace = tmp_path / "trace"
    (folder / place).write_text(
        f"open({str(trace)!r}, 'w')\nclass CategoricalMechanism: pass\nclass CausalPipeline: pass"
    )
    for changes in ({}, {"_class_name": ["pipeline", "CausalPipeline"]}):
        edit(folder / INDEX, **changes)
        with contextlib.suppress(CheckpointError, *OF_DIFFUSERS):
            load(folder)
        assert not trace.exists()


@both
@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "pytorch_model.bin", "model.pt"])
def test_a_pickle_is_never_read(folder, tmp_path, load, name):
    trace = tmp_path / "trace"
    (folder / "X" / name).write_bytes(pickle.dumps(Payload(trace)))
    load(folder)
    (folder / "X" / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=WEIGHTS):
        load(folder)
    assert not trace.exists()


def test_the_payload_would_leave_a_trace(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "trace")))
    assert (tmp_path / "trace").exists()


def change_weights(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


@both
@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop(next(iter(t))),
        lambda t: t.clear(),
        lambda t: t.update(evil=torch.zeros(3)),
        lambda t: t.update({name: torch.zeros(3, 3) for name in list(t)[:1]}),
        lambda t: t.update({f"module.{name}": t.pop(name) for name in list(t)}),
    ],
    ids=["missing", "empty", "unexpected", "shape", "renamed"],
)
@pytest.mark.parametrize("component", ["X", "U_X_Y"])
def test_tensors_that_do_not_fit_are_refused(folder, load, component, change):
    change_weights(folder / component / WEIGHTS, change)
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    assert str(folder / component) in str(caught.value)


@both
@pytest.mark.parametrize("content", [b"", b"junk", b"\xff" * 100, b"\x80\x02pickle"])
def test_damaged_weights_are_refused(folder, load, content):
    (folder / "X" / WEIGHTS).write_bytes(content)
    with pytest.raises(CheckpointError, match="safetensors"):
        load(folder)


def test_truncated_weights_are_refused(folder):
    weights = folder / "X" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match="safetensors"):
        CausalPipeline.from_pretrained(folder)


@both
@pytest.mark.parametrize(
    "changes",
    [
        {"_class_name": "DiffusionMechanism"},
        {"_class_name": "ConfounderPrior"},
        {"_class_name": ["os", "system"]},
        {"_class_name": ...},
        {"width": 10**12},
        {"width": "64"},
        {"width": -1},
        {"variable": {"type": "evil"}},
        {"variable": None},
        {"parents": {"../x": {"type": "categorical", "labels": [0, 1]}}},
    ],
    ids=str,
)
def test_a_config_of_a_component_is_checked(folder, load, changes):
    edit(folder / "X" / "config.json", **changes)
    with pytest.raises((CheckpointError, ValueError)) as caught:
        load(folder)
    assert "X" in str(caught.value)


def test_a_mechanism_of_another_graph_is_refused(folder):
    graph = graph_of(folder)
    graph["directed"] = []
    edit(folder / INDEX, graph=graph)
    with pytest.raises(ValueError, match=r'^"Y": `CategoricalMechanism` is bound to another'):
        CausalPipeline.from_pretrained(folder)


@both
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repo": "../base"}, "never by a path"),
        ({"repo": "/etc/passwd"}, "never by a path"),
        ({"repo": "./base"}, "never by a path"),
        ({"repo": "owner/.."}, "never by a path"),
        ({"repo": "https://evil.example/x"}, "never by a path"),
        ({"repo": "me/base", "revision": "main"}, "pinned to a commit"),
        ({"repo": "me/base", "revision": None}, "pinned to a commit"),
        ({"repo": "me/base", "revision": "abc"}, "pinned to a commit"),
        ({"sha256": "0" * 64}, "not those that the adapter was trained on"),
        ({"sha256": "x"}, "sha256"),
        ({"class_name": "os.system"}, "class"),
        ({"class_name": "UNet2DConditionModel"}, "class"),
        ({"evil": 1}, "does not describe"),
    ],
    ids=str,
)
def test_a_reference_to_a_base_is_checked(image_folder, load, changes, message):
    config = image_folder / "I" / "config.json"
    base = json.loads(config.read_text())["base"]
    edit(config, base={**base, **changes})
    with pytest.raises(CheckpointError) as caught:
        load(image_folder)
    assert message in str(caught.value)


def test_an_included_base_must_be_the_one_it_was_trained_on(image_folder):
    change_weights(
        image_folder / "I" / "backbone" / "unet" / WEIGHTS,
        lambda tensors: next(iter(tensors.values())).add_(1),
    )
    with pytest.raises(CheckpointError, match=r"not those that the adapter was trained on"):
        CausalPipeline.from_pretrained(image_folder)


def test_an_adapter_of_another_rank_is_refused(image_folder):
    edit(image_folder / "I" / "config.json", rank=3)
    with pytest.raises(CheckpointError, match="has shape"):
        CausalPipeline.from_pretrained(image_folder)


@both
def test_a_plain_base_in_the_place_of_a_mechanism_is_refused(image_folder, base, load):
    """It would load as a mechanism whose adapter is untrained, without a word."""
    shutil.rmtree(image_folder / "I")
    shutil.copytree(base / "unet", image_folder / "I")
    shutil.copytree(base / "scheduler", image_folder / "I" / "scheduler")
    with pytest.raises((CheckpointError, ValueError), match=r"I/config|\"I\" must be bound"):
        load(image_folder)


def test_a_pattern_of_target_modules_is_refused(image_folder):
    edit(image_folder / "I" / "config.json", target_modules="(a+)+$")
    with pytest.raises(CheckpointError):
        CausalPipeline.from_pretrained(image_folder)


@pytest.mark.parametrize(
    "source",
    [
        "no-such-folder/x/y",
        "./nowhere",
        "../nowhere",
        "/nowhere",
        "~/nowhere",
        "",
        "a b",
        Path("a/b"),
    ],
)
def test_a_source_is_a_folder_or_a_repository(source):
    with pytest.raises(CheckpointError, match="neither a folder nor a repository id"):
        CausalPipeline.from_pretrained(source)


def test_a_shipped_id_is_a_folder(good, tmp_path, monkeypatch):
    package = tmp_path / "causal_diffusers"
    shutil.copytree(good, package / "shipped" / "small")
    monkeypatch.setattr(aliases, "__file__", str(package / "aliases.py"))
    pipe = CausalPipeline.from_pretrained("causal-diffusers/small")
    assert pipe.name_or_path == "causal-diffusers/small"
    with pytest.raises(CheckpointError, match="ships"):
        CausalPipeline.from_pretrained("causal-diffusers/../small")


def test_a_base_without_a_repository_must_be_said_where_or_copied(base, tmp_path):
    pipe = make_tiny_pipeline(base)
    with pytest.raises(CheckpointError) as caught:
        pipe.save_pretrained(tmp_path / "saved")
    assert "`include_backbones=True`" in str(caught.value)
    assert '`backbone_ids={"I": "owner/name@commit"}`' in str(caught.value)
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ({"W": "me/base@" + "0" * 40}, ValueError, "got ['W'], and those with one are ['I']"),
        ({"I": "me/base"}, CheckpointError, "pinned to a commit"),
        ({"I": "me/base@main"}, CheckpointError, "pinned to a commit"),
        ({"I": "../base@" + "0" * 40}, CheckpointError, "never by a path"),
    ],
)
def test_where_a_base_is_published_is_checked(base, tmp_path, ids, error, message):
    with pytest.raises(error) as caught:
        make_tiny_pipeline(base).save_pretrained(tmp_path / "saved", backbone_ids=ids)
    assert message in str(caught.value)
    assert not (tmp_path / "saved").exists()


def test_where_a_base_is_published_is_written(base, tmp_path):
    make_tiny_pipeline(base).save_pretrained(tmp_path, backbone_ids={"I": f"me/base@{'a' * 40}"})
    written = json.loads((tmp_path / "I" / "config.json").read_text())["base"]
    assert (written["repo"], written["revision"]) == ("me/base", "a" * 40)
    assert str(base) not in (tmp_path / "I" / "config.json").read_text()


def test_a_moved_base_must_be_the_same(base, tmp_path):
    make_tiny_pipeline(base).save_pretrained(
        tmp_path / "saved", backbone_ids={"I": f"me/base@{'a' * 40}"}
    )
    moved = shutil.copytree(base, tmp_path / "elsewhere")
    pipe = CausalPipeline.from_pretrained(tmp_path / "saved", backbones={"I": moved})
    assert isinstance(pipe.I, DiffusionMechanism)
    other = make_tiny_base(tmp_path / "other", seed=1)
    with pytest.raises(CheckpointError, match=r"not those that the adapter was trained on"):
        CausalPipeline.from_pretrained(tmp_path / "saved", backbones={"I": other})


def test_only_an_image_has_a_base(folder, base):
    with pytest.raises(CheckpointError, match='got "X", which is made by a Categorical'):
        CausalPipeline.from_pretrained(folder, backbones={"X": base})
    with pytest.raises(GraphError, match='`backbones` must name variables of the graph: got "Q"'):
        CausalPipeline.from_pretrained(folder, backbones={"Q": base})


def test_the_index_keeps_the_order_of_the_graph():
    graph = ADMG(["Z", "B", "A"], [("B", "A")])
    blueprint = Blueprint.of(graph, dict.fromkeys("ABZ", Categorical([0, 1])))
    classes = dict.fromkeys("ABZ", "CategoricalMechanism")
    index = json.loads(hub.index_json("CausalPipeline", "0", blueprint, classes))
    assert list(index["graph"]["variables"]) == ["Z", "B", "A"]
    assert hub.check_index(index, {"CausalPipeline"}).graph == graph


def test_every_class_that_may_be_named_is_public():
    import causal_diffusers

    assert set(hub.COMPONENTS) <= set(causal_diffusers.__all__)


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


@pytest.mark.parametrize("loaded", ["main", "pinned", "offline", "moved", "plain"])
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


def test_hostile_files_of_a_repository_are_not_even_downloaded(round_trip):
    answers, repositories = round_trip
    assert answers["hostile"].startswith("CheckpointError")
    fetched = [r for r in repositories.requests if "me/hostile/resolve" in r]
    assert fetched
    assert not [r for r in fetched if r.endswith((".py", ".bin", ".pkl"))]


def test_a_missing_repository_is_said_to_be_missing(round_trip):
    answers, _ = round_trip
    assert answers["missing"].startswith("RepositoryNotFoundError")
