"""The top level is lazy, complete, and light until a heavy name is used."""

import importlib
import json
import subprocess
import sys

import pytest

import causal_diffusers

HEAVY = {"accelerate", "diffusers", "peft", "torch", "transformers"}

PROBE = """
import json, sys
{statements}
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})), file=sys.stderr)
"""


def heavy_after(statements, **options):
    """Run the statements in a fresh interpreter; return the heavy packages they loaded."""
    command = [sys.executable, "-c", PROBE.format(statements=statements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return HEAVY & set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "statements",
    [
        "import causal_diffusers; dir(causal_diffusers)",
        "from causal_diffusers import ADMG; ADMG.parse('D -> I -> A; D <-> A').districts()",
        "from causal_diffusers import HGraph, identify, NotIdentifiableError",
        "from causal_diffusers.aliases import shipped_names; shipped_names()",
    ],
)
def test_looking_at_a_graph_is_light(statements):
    assert heavy_after(statements) == set()


@pytest.mark.parametrize("arguments", [["--help"], ["identify", "--help"], ["demo", "--help"]])
def test_help_is_light(arguments):
    call = f"cli.main({arguments!r})"
    statements = f"""
from causal_diffusers import cli
try:
    {call}
except SystemExit as stop:
    assert not stop.code, stop.code
"""
    assert heavy_after(statements) == set()


def test_the_probe_can_fail(tmp_path):
    (tmp_path / "torch.py").touch()
    assert heavy_after("import torch", cwd=tmp_path) == {"torch"}


@pytest.mark.parametrize("name", causal_diffusers.__all__)
def test_every_public_name_has_a_home(name):
    found = getattr(causal_diffusers, name)
    home = importlib.import_module(causal_diffusers._HOMES[name])
    assert found is getattr(home, name)
    assert name in home.__all__


def test_the_public_names_are_the_homes_in_order():
    private = {"ModelMixin"}
    assert set(causal_diffusers.__all__) == set(causal_diffusers._HOMES) - private
    assert causal_diffusers.__all__ == sorted(causal_diffusers.__all__)


def test_diffusers_finds_the_base_class_of_components():
    import diffusers

    assert causal_diffusers.ModelMixin is diffusers.ModelMixin


def test_dir_shows_public_names_before_they_are_imported():
    assert set(causal_diffusers.__all__) <= set(dir(causal_diffusers))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'causal_diffusers' has no attribute 'DAG'"):
        _ = causal_diffusers.DAG
