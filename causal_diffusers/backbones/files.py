"""Read files that anybody may have written: JSON, safetensors, configs of networks.

Nothing is believed. What a config plans is built on the meta device first, where it
costs no memory, and compared with the names and shapes in the header of the weights; only
a plan that fits is built for real.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from diffusers import ConfigMixin
from safetensors import SafetensorError, safe_open
from torch import Tensor

from causal_diffusers.errors import CheckpointError

__all__ = ["blame", "check_shapes", "construct", "plan", "read_json", "sha256", "stored_shapes"]

_T = TypeVar("_T", bound=ConfigMixin)
_LARGEST = 2**20  # no size, and no list, in a config of ours or of diffusers comes near


@contextlib.contextmanager
def blame(path: Path, kind: str) -> Iterator[None]:
    """Name the file for whatever its content runs into.

    Arguments:
        path: The file.
        kind: What it was to describe.

    Raises:
        CheckpointError: If anything is raised inside.

    Example:
        >>> with blame(Path("config.json"), "network"):
        ...     int("many")
        Traceback (most recent call last):
        ...
        causal_diffusers.errors.CheckpointError: ...
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # a strange config fails in ways that nobody can list
        raise CheckpointError(f"{path} does not describe a {kind}: {error}", path=path) from None


def construct(kind: type[_T], config: Mapping[str, Any], path: Path) -> _T:
    """Build an object from its config.

    Arguments:
        kind: A class with a diffusers config.
        config: The config.
        path: Its file.

    Returns:
        The object.

    Raises:
        CheckpointError: If the config does not describe one, or is absurdly large.

    Example:
        >>> from diffusers import DDPMScheduler
        >>> construct(DDPMScheduler, {"num_train_timesteps": 10**15}, Path("config.json"))
        Traceback (most recent call last):
        ...
        causal_diffusers.errors.CheckpointError: ...
    """
    for key, value in config.items():
        size = len(value) if isinstance(value, (list, str)) else value
        if isinstance(size, int) and abs(size) > _LARGEST:
            raise CheckpointError(f"{path}: `{key}` is absurdly large.", path=path)
    with blame(path, kind.__name__):
        return cast(_T, kind.from_config(dict(config)))


def plan(kind: type[_T], config: Mapping[str, Any], path: Path) -> _T:
    """Build an object without memory for its tensors; see `construct`.

    Example:
        >>> from diffusers import AutoencoderKL
        >>> plan(AutoencoderKL, {}, Path("config.json")).device.type
        'meta'
    """
    with torch.device("meta"):
        return construct(kind, config, path)


def check_shapes(
    state: Mapping[str, Tensor], stored: Mapping[str, tuple[int, ...]], where: Path
) -> None:
    """Refuse stored tensors that are not exactly those of a module.

    Arguments:
        state: The tensors of the module, by name.
        stored: The shapes on disk, by name.
        where: The file.

    Raises:
        CheckpointError: If a tensor is missing, unexpected or of another shape.

    Example:
        >>> check_shapes({"weight": torch.zeros(2, 3)}, {"weight": (2, 3)}, Path("x"))
    """
    missing, unexpected = state.keys() - stored.keys(), stored.keys() - state.keys()
    if missing or unexpected:
        raise CheckpointError(
            f"{where}: the file lacks {sorted(missing)[:3] or 'nothing'} and holds the "
            f"unexpected {sorted(unexpected)[:3] or 'nothing'}. It was saved from another model.",
            path=where,
        )
    for name, tensor in state.items():
        if tuple(tensor.shape) != tuple(stored[name]):
            raise CheckpointError(
                f"{where}: `{name}` has shape {stored[name]} on disk and "
                f"{tuple(tensor.shape)} in the model. It was saved with another config.",
                path=where,
            )


def stored_shapes(weights: Path) -> dict[str, tuple[int, ...]]:
    """Read the names and shapes of the tensors in a safetensors file, not the tensors.

    Arguments:
        weights: The file.

    Returns:
        The shapes, by name.

    Raises:
        CheckpointError: If the file is missing or no safetensors file.

    Example:
        >>> stored_shapes(Path("no/such/file.safetensors"))
        Traceback (most recent call last):
        ...
        causal_diffusers.errors.CheckpointError: ...
    """
    if not weights.is_file():
        raise CheckpointError(f"{weights} does not exist.", path=weights)
    try:
        with safe_open(weights, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in list(file.keys())}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{weights} is not a safetensors file: {error}.", path=weights
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Arguments:
        path: The file.

    Returns:
        The object.

    Raises:
        CheckpointError: If the file is missing, damaged or holds something else.

    Example:
        >>> read_json(Path("no/such/file.json"))
        Traceback (most recent call last):
        ...
        causal_diffusers.errors.CheckpointError: ...
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}.", path=path) from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} should hold a JSON object.", path=path)
    return content


def sha256(*paths: Path) -> str:
    """Hash the content of files, one after the other, as 64 hexadecimal digits.

    Example:
        >>> len(sha256(Path(__file__)))
        64
    """
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()
