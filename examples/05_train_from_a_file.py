"""Train from a YAML file and sample from the shell. The same commands work without Python.

    python examples/05_train_from_a_file.py

writes `recipe.yaml` and `rows.csv` in a folder, and then does what these commands do:

    causal-diffusers train recipe.yaml --output pipeline
    causal-diffusers sample pipeline --do smoking=yes --output samples
"""

import argparse
import os
import tempfile
from pathlib import Path

from causal_diffusers.cli import main

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="few steps")
steps = 20 if parser.parse_args().smoke else 600

RECIPE = f"""\
graph: smoking -> tar -> cancer; smoking <-> cancer
variables:
  smoking: [no, yes]
  tar: [low, high]
  cancer: [no, yes]
confounders:
  U_smoking_cancer: {{states: 4}}
data: rows.csv
training: {{steps: {steps}, seed: 0}}
"""
COUNTS = {
    "no,low,no": 40,
    "no,high,yes": 9,
    "yes,high,yes": 21,
    "yes,high,no": 12,
    "yes,low,no": 8,
}

with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    lines = [line for line, count in COUNTS.items() for _ in range(count)]
    Path("rows.csv").write_text("\n".join(["smoking,tar,cancer", *lines]) + "\n")
    Path("recipe.yaml").write_text(RECIPE)
    for command in (
        "train recipe.yaml --output pipeline",
        "sample pipeline --do smoking=yes --num-samples 200 --output samples",
        "plan pipeline",
    ):
        print(f"\n$ causal-diffusers {command}")
        if main(command.split()):
            raise SystemExit(1)
    print("\n" + "\n".join(Path("samples/values.csv").read_text().splitlines()[:5]))
    os.chdir("..")
