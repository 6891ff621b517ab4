"""What newcomers read first is true: its code runs, its files exist, its commands are real."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from causal_diffusers import cli
from causal_diffusers.systems import FrontDoorDigits

ROOT = Path(__file__).parents[2]
HERE = {**os.environ, "PYTHONPATH": str(ROOT)}  # whether or not it is installed
README = (ROOT / "README.md").read_text(encoding="utf-8")
SMALLER = {"20_000": "300", "steps=600": "steps=2", "do={": "num_inference_steps=2, do={"}


def test_its_code_runs(tmp_path):
    code = README.partition("```python\n")[2].partition("```")[0]
    for long, short in SMALLER.items():
        assert long in code
        code = code.replace(long, short)
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=HERE
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sum_")
    assert (tmp_path / "my-pipeline" / "model_index.json").is_file()


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`((?:\w+/)+[\w.-]+\.\w+)`", README)) - {"report/report.html"})
)
def test_the_files_it_names_exist(name):
    assert (ROOT / name).exists()


@pytest.mark.parametrize("line", re.findall(r"^causal-diffusers (.*)$", README, re.MULTILINE))
def test_its_commands_are_understood(line):
    words = re.findall(r'"[^"]*"|[^\s"]+', line.partition("  #")[0])
    options = cli._parser().parse_args([word.strip('"') for word in words])
    assert callable(options.command)


def test_what_it_says_of_plain_conditioning_is_so():
    system = FrontDoorDigits()
    errors = [
        (system.verdict_given(v) - system.verdict_under_do(v)).abs().max().item() for v in "DW"
    ]
    numbers = re.search(r"plain conditioning \(exact\) \| \.(\d+) \| \.(\d+)", README).groups()
    assert [f"{error:.3f}" for error in errors] == [f"0.{number}" for number in numbers]
