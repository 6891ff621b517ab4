"""Ids of the reserved owner are shipped folders, whatever the Hub or the directory holds."""

import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from causal_diffusers import CheckpointError, aliases
from causal_diffusers.aliases import shipped_folder, shipped_names

ROOT = Path(__file__).parents[1]


def ship(root, *names):
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "model_index.json").write_text("{}")
    return root


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A package somewhere else, as far as aliases.py can see."""
    package = tmp_path / "site" / "causal_diffusers"
    package.mkdir(parents=True)
    monkeypatch.setattr(aliases, "__file__", str(package / "aliases.py"))
    return package


def test_a_wheel_finds_the_folders_inside_it(install):
    root = ship(install / "shipped", "digits-ddpm", "a")
    assert shipped_names() == ("a", "digits-ddpm")
    assert shipped_folder("causal-diffusers/digits-ddpm") == root / "digits-ddpm"


def test_a_checkout_finds_the_folders_beside_it(install):
    root = ship(install.parent / "pipelines", "digits-ddpm")
    assert shipped_folder("causal-diffusers/digits-ddpm") == root / "digits-ddpm"


def test_the_wheel_comes_before_a_folder_that_happens_to_be_beside_it(install):
    ship(install.parent / "pipelines", "other")
    ship(install / "shipped", "digits-ddpm")
    assert shipped_names() == ("digits-ddpm",)


def test_a_folder_without_an_index_is_not_shipped(install):
    (ship(install / "shipped", "a") / "scripts").mkdir()
    assert shipped_names() == ("a",)


@pytest.mark.parametrize(
    "source",
    [
        "google/ddpm-celebahq-256",
        "causal-diffusers",
        "causal-diffusers-fan/a",
        "Causal-Diffusers/a",
        "./causal-diffusers/a",
        "/causal-diffusers/a",
        "",
        Path("causal-diffusers/a"),
    ],
)
def test_other_owners_and_paths_are_not_ours(install, source):
    ship(install / "shipped", "a")
    assert shipped_folder(source) is None


@pytest.mark.parametrize(
    "name",
    ["", "b", "A", "a/", "/a", "a/.", "./a", "../shipped/a", "..", ".", "a\\b", "a\0", "a\n", "*"],
)
def test_only_the_exact_name_is_shipped(install, name):
    ship(install / "shipped", "a")
    with pytest.raises(CheckpointError, match='ships "causal-diffusers/a"') as caught:
        shipped_folder(f"causal-diffusers/{name}")
    assert caught.value.path == f"causal-diffusers/{name}"
    assert f"./causal-diffusers/{name}" in str(caught.value)


def test_an_empty_release_says_so(install):
    with pytest.raises(CheckpointError, match="this release ships nothing"):
        shipped_folder("causal-diffusers/a")


def test_the_working_directory_is_not_searched(install, tmp_path, monkeypatch):
    root = ship(install / "shipped", "a")
    ship(tmp_path / "causal-diffusers", "a", "b")
    monkeypatch.chdir(tmp_path)
    assert shipped_folder("causal-diffusers/a") == root / "a"
    with pytest.raises(CheckpointError):
        shipped_folder("causal-diffusers/b")


@pytest.mark.parametrize("name", ["digits-ddpm", "digits-front-door"])
def test_this_release_ships(name):
    folder = shipped_folder(f"causal-diffusers/{name}")
    assert folder is not None
    assert list(folder.rglob("*.safetensors"))
    assert not [path for path in folder.rglob("*") if path.suffix in {".bin", ".pt", ".pkl"}]


@pytest.mark.slow
def test_the_wheel_carries_weights_and_no_scripts(tmp_path):
    pytest.importorskip("build")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    paths = [PurePosixPath(name) for name in zipfile.ZipFile(wheel).namelist()]
    shipped = [path for path in paths if path.parts[1] == "shipped"]
    assert {path.parts[2] for path in shipped} == set(shipped_names())
    assert {path.suffix for path in shipped} == {".json", ".safetensors", ".md"}
    assert {path.parts[0].partition("-")[0] for path in paths} == {"causal_diffusers"}
    assert PurePosixPath("causal_diffusers/py.typed") in paths
