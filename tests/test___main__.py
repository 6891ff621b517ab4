"""The package runs as a module."""

import subprocess
import sys


def test_it_is_the_command_line():
    command = [sys.executable, "-m", "causal_diffusers", "plan", "X -> Y"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("stage 1: {X}")


def test_its_exit_status_is_that_of_the_command_line():
    command = [sys.executable, "-m", "causal_diffusers", "identify", "X -> Y; X <-> Y"]
    done = subprocess.run([*command, "--outcomes", "Y", "--do", "X"], capture_output=True)
    assert done.returncode == 1
