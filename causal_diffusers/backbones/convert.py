"""Turn the weights of somebody else's generator into a folder that this library loads.

The one place where a pickle may be read, because a person asks for it by name, and then
only by torch's restricted reader (`weights_only=True`), which builds tensors and runs
nothing. What is written is safetensors.

The names of tensors differ from one training script to the next (`gen.0.0.weight`,
`main.0.weight`), their order does not: it is that of the layers. (A safetensors file
forgets it; there the numbers in the names give it back.) So tensors are matched
in order, and every shape must agree.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from causal_diffusers.backbones.gan import GANGenerator
from causal_diffusers.errors import CheckpointError

__all__ = ["convert_generator"]

_LAST = {"weight": 0, "bias": 1, "running_mean": 2, "running_var": 3, "num_batches_tracked": 4}
_NESTED = ("state_dict", "generator", "model", "params", "G")


def convert_generator(
    weights: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    architecture: str = "dcgan",
    arguments: Mapping[str, Any] | None = None,
    *,
    license: str | None = None,
) -> GANGenerator:
    """Write the folder of a generator from a state dict.

    Arguments:
        weights: A `.safetensors` file, or a `.pth`, `.pt` or `.bin` pickle of tensors.
        folder: Where to write; it is created.
        architecture: A name of the table `GENERATORS`.
        arguments: What the architecture is built from, plain JSON.
        license: The licence of the weights, for the card; None writes no card.

    Returns:
        The generator, as it was written.

    Raises:
        CheckpointError: If the file cannot be read, or its tensors are not those of the
            architecture.
        ValueError: If the architecture is unknown, or its arguments do not fit.

    Example:
        >>> convert_generator("no/such/file.pth", "folder")
        Traceback (most recent call last):
        ...
        causal_diffusers.errors.CheckpointError: ...
    """
    path, output = Path(weights), Path(folder)
    try:
        generator = GANGenerator(architecture, arguments or {})
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"`{architecture}` cannot be built from {arguments}: {error}") from None
    generator.network.load_state_dict(_match(generator.network.state_dict(), _read(path), path))
    generator.save_pretrained(output)
    if license is not None:
        text = f"---\nlicense: {license}\n---\n\nA GAN generator, converted from {path.name}.\n"
        (output / "README.md").write_text(text, encoding="utf-8")
    return generator


def _read(path: Path) -> dict[str, Tensor]:
    """Read a state dict, in the order of its layers."""
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except (OSError, SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        said = (str(error).splitlines() or ["it is empty."])[0][:200]
        raise CheckpointError(
            f"{path} holds no plain tensors: {said} A pickle that needs code to be read is "
            "refused; have its owner save the `state_dict()`.",
            path=path,
        ) from None
    while isinstance(content, Mapping) and not _is_state(content):
        inside = [content[key] for key in _NESTED if isinstance(content.get(key), Mapping)]
        content = inside[0] if inside else None
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"{path} holds no state dict. Save the one of the generator alone: "
            "`torch.save(generator.state_dict(), path)`.",
            path=path,
        )
    if path.suffix == ".safetensors":  # sorted by type and name, and not as text would be
        return {name: content[name] for name in sorted(content, key=_place)}
    return dict(content)


def _is_state(content: Mapping[Any, Any]) -> bool:
    return all(isinstance(n, str) and isinstance(t, Tensor) for n, t in content.items())


def _place(name: str) -> tuple[object, ...]:
    """Sort `layer.2.bias` after `layer.2.weight` and before `layer.10.weight`."""
    owner, _, last = name.rpartition(".")
    parts = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in owner.split(".")]
    return parts, _LAST.get(last, len(_LAST)), last


def _match(state: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """Give the tensors of a file the names of a network, layer by layer."""
    wanted = [name for name in state if not name.endswith("num_batches_tracked")]
    given = [name for name in found if not name.endswith("num_batches_tracked")]
    shapes = [tuple(state[name].shape) for name in wanted]
    received = [tuple(found[name].shape) for name in given]
    for name, shape, got, its in zip(wanted, shapes, received, given, strict=False):
        if shape != got:
            raise CheckpointError(
                f"{path}: `{its}` has shape {got}, and the architecture has {shape} in its place "
                f"(`{name}`). Change the arguments of the architecture to those that the "
                "generator was trained with.",
                path=path,
            )
    if len(wanted) != len(given):
        more = given[len(wanted) :] or wanted[len(given) :]
        raise CheckpointError(
            f"{path} holds {len(given)} tensors and the architecture {len(wanted)}: the first "
            f"without a partner is `{more[0]}`. Check `channels`, `bias` and `norm`.",
            path=path,
        )
    matched = {name: found[its] for name, its in zip(wanted, given, strict=True)}
    return {name: matched.get(name, tensor) for name, tensor in state.items()}
