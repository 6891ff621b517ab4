"""The recipe for faces runs on a data set of the same layout, with a tiny base of its own."""

import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from PIL import Image

from tiny import make_tiny_base

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/08_set_class_and_background_apart.py"


@pytest.mark.slow
def test_faces_are_set_apart_from_parquet_to_picture(tmp_path):
    bits = [(c, b) for c in (0, 1) for b in (0, 1) for _ in range(40)]
    images = [Image.new("RGB", (18, 22), (200 * c, 200 * b, 9)) for c, b in bits]
    columns = {"Eyeglasses": [c == 1 for c, _ in bits], "Male": [b == 1 for _, b in bits]}
    table = datasets.Dataset.from_dict({"image": images, **columns})
    table.cast_column("image", datasets.Image()).to_parquet(tmp_path / "train.parquet")
    base = make_tiny_base(tmp_path / "base", size=16, channels=3)
    words = ["faces", "--data", "train.parquet", "--base", str(base), "--size", "16", "--smoke"]
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "a row for each pair of class and background" in done.stdout
    assert (tmp_path / "apart.png").stat().st_size > 0
