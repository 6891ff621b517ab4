"""A base is cited, pinned and recognised: what is refused, and what may be moved."""

import json
import shutil
from pathlib import Path

import pytest

from causal_diffusers import CausalPipeline, CheckpointError, DiffusionMechanism
from hostile import WEIGHTS, both, change_weights, edit
from tiny import make_tiny_base, make_tiny_pipeline


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


@both
def test_the_folder_is_good_unless_tampered_with(image_folder, load):
    assert type(load(image_folder)) is CausalPipeline


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
    with pytest.raises((CheckpointError, ValueError), match=r"/I\b|\"I\" must be bound"):
        load(image_folder)


def test_a_pattern_of_target_modules_is_refused(image_folder):
    edit(image_folder / "I" / "config.json", target_modules="(a+)+$")
    with pytest.raises(CheckpointError):
        CausalPipeline.from_pretrained(image_folder)


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
