"""Where do real images lie on this machine?

A system that draws real images takes the folder that holds them; without one it looks in
the folder that the environment variable `CAUSAL_DIFFUSERS_DATA` names, at any depth.

References:
    The MNIST database of handwritten digits (LeCun, Cortes & Burges), which also defines
    the idx format.
"""

from __future__ import annotations

import gzip
import math
import os
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["find_file", "read_idx"]

VARIABLE = "CAUSAL_DIFFUSERS_DATA"


def find_file(pattern: str, source: str | os.PathLike[str] | None, way_out: str) -> Path:
    """Find a file of a data set.

    Arguments:
        pattern: The name of the file, in which `*` stands for anything.
        source: The file itself, or a folder that holds it at any depth; None for the
            folder that `CAUSAL_DIFFUSERS_DATA` names.
        way_out: One line that says how to get the file.

    Returns:
        The first such file, in the order of their paths.

    Raises:
        FileNotFoundError: If there is none.

    Example:
        >>> find_file("train-images*", "no/such/folder", "Download it.")
        Traceback (most recent call last):
        ...
        FileNotFoundError: There is no `train-images*` in `no/such/folder`. Download it.
    """
    place = os.environ.get(VARIABLE) if source is None else source
    if place is None:
        raise FileNotFoundError(
            f"`{pattern}` is looked for in a folder: got none, and `{VARIABLE}` is not set. "
            f"{way_out}"
        )
    found = [Path(place)] if Path(place).is_file() else sorted(Path(place).rglob(pattern))
    if not found:
        raise FileNotFoundError(f"There is no `{pattern}` in `{place}`. {way_out}")
    return found[0]


def read_idx(path: str | os.PathLike[str]) -> Tensor:
    """Read an idx file of bytes, the format in which MNIST is published.

    Arguments:
        path: The file, compressed by gzip if it ends in `.gz`.

    Returns:
        The array, 8-bit integers.

    Raises:
        ValueError: If it is no idx file of bytes, or is cut off.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "two-idx1-ubyte"
        >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
        >>> read_idx(path).tolist()
        [7, 9]
    """
    path = Path(path)
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    axes = content[3] if content[:3] == b"\x00\x00\x08" and len(content) > 3 else 0
    sizes = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes)]
    start = 4 + 4 * axes
    if not axes or len(content) != start + math.prod(sizes):
        raise ValueError(
            f"`{path}` should be an idx file of bytes: got {len(content)} bytes that begin with "
            f"{content[:4].hex()}. Download it again."
        )
    return torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8).reshape(sizes)
