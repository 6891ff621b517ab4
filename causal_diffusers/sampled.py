"""How are samples written to disk, and summed up in a line?"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from causal_diffusers.pipeline import CausalPipelineOutput
    from causal_diffusers.variables import Variable

__all__ = ["check_unused", "summarise", "write_samples"]

VALUES = "values.csv"


def check_unused(folder: Path) -> None:
    """Refuse a folder that holds samples.

    Arguments:
        folder: Where somebody wants to write.

    Raises:
        FileExistsError: If it holds some already.

    Example:
        >>> check_unused(Path("no/such/folder"))
    """
    if (folder / VALUES).exists():
        raise FileExistsError(f"`{folder}` holds samples already. Name another `--output`.")


def write_samples(out: CausalPipelineOutput, folder: Path) -> None:
    """Write images as PNG files, and a csv that can be trained on.

    Arguments:
        out: What a pipeline answered, with PIL images.
        folder: Where to write; it is created.

    Example:
        >>> write_samples.__name__
        'write_samples'
    """
    columns: dict[str, Sequence[Any]] = {n: list(map(_cell, v)) for n, v in out.values.items()}
    images: Any
    for name, images in out.images.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        columns[name] = [f"{name}/{row:05d}.png" for row in range(len(images))]
        for file, image in zip(columns[name], images, strict=True):
            image.save(folder / file)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / VALUES).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _cell(value: object) -> object:
    """Write a vector as its numbers with spaces between them."""
    return " ".join(map(repr, value)) if isinstance(value, tuple) else value


def summarise(out: CausalPipelineOutput, variables: Mapping[str, Variable]) -> str:
    """Say how likely each label is, and where numbers lie, averaged over the samples.

    Arguments:
        out: What a pipeline answered.
        variables: The variables, by name.

    Returns:
        A line for each variable that is no image.

    Example:
        >>> summarise.__name__
        'summarise'
    """
    import numpy as np

    lines = []
    for name, values in out.values.items():
        if hasattr(variables[name], "scale"):  # continuous
            spread = np.stack([np.mean(values, axis=0), np.std(values, axis=0)])
            mean, deviation = (np.array2string(each, precision=4) for each in spread)
            lines.append(f"  {name}: mean {mean}, standard deviation {deviation}")
    for name, p in (out.probabilities or {}).items():
        labels = getattr(variables[name], "labels", ())
        shares = zip(labels, p.mean(dim=0).tolist(), strict=True)
        found = ", ".join(f"{label} {share:.3f}" for label, share in shares)
        lines.append(f"  P({name}): {found}")
    return "\n".join(lines)
