"""What a folder may say, and everything that is refused. No hostile folder runs code."""

import contextlib
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline

from causal_diffusers import (
    ADMG,
    Categorical,
    CausalPipeline,
    CheckpointError,
    Confounder,
    GraphError,
    aliases,
    hub,
)
from causal_diffusers.blueprint import Blueprint
from hostile import INDEX, OF_DIFFUSERS, WEIGHTS, Payload, both, change_weights, edit, graph_of
from tiny import make_tiny_base


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


@both
def test_the_folder_is_good_unless_tampered_with(folder, load):
    assert type(load(folder)) is CausalPipeline


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_class_name": ["pipeline", "Evil"]}, "`_class_name` must be one of"),
        ({"_class_name": ["community", "Evil"]}, "code in a repository is never run"),
        ({"_class_name": "StableDiffusionPipeline"}, "`_class_name` must be one of"),
        ({"_class_name": ...}, "`_class_name` must be one of"),
        ({"_class_name": None}, "`_class_name` must be one of"),
        ({"format_version": 3}, "saved by a newer release: `pip install --upgrade"),
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
        {"depth": 10**9},
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
