"""Every example runs on small data, and its output can be trusted to be about itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = {**os.environ, "PYTHONPATH": str(ROOT)}  # whether or not it is installed
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path):
    command = [sys.executable, str(path), "--smoke"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=HERE
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_they_are_numbered_without_gaps():
    assert [int(path.stem[:2]) for path in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_readme_lists_it(path):
    assert path.name in (ROOT / "README.md").read_text(encoding="utf-8")
