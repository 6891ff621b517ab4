"""What training keeps on disk, so that a kill at any instant costs some steps at most.

A file is written beside its place, flushed, and moved there in one step: a reader finds
the old one or the new one, whole. Each file says what it was made from (the data, the
config, the components), and is refused by a run that is made from something else.

| file of a stage | what |
|---|---|
| `checkpoint.safetensors` | weights, their average, Adam's moments and the step |
| `finished.safetensors` | the trained weights; the stage is skipped from now on |
| `log.jsonl` | loss and learning rate |
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from causal_diffusers.backbones.files import stored_shapes
from causal_diffusers.errors import CheckpointError
from causal_diffusers.mechanisms.component import check_shapes
from causal_diffusers.training.log import Log

__all__ = ["Checkpoint", "StageFiles"]


class Checkpoint:
    """A file of tensors that knows what it was made from.

    Arguments:
        path: The file; it need not exist.
        made_from: What decides its content, in plain JSON: words, or mappings of what
            has a name.

    Example:
        >>> Checkpoint(Path("no-such.safetensors"), {"data": "..."}).exists()
        False
    """

    def __init__(self, path: Path, made_from: Mapping[str, Any]) -> None:
        self.path = path
        self.made_from: dict[str, Any] = json.loads(json.dumps(made_from))

    def exists(self) -> bool:
        """Whether there is something to continue from."""
        return self.path.is_file()

    def write(self, tensors: Mapping[str, Tensor], **about: str) -> None:
        """Replace the file, in one move.

        Arguments:
            tensors: What to write, by name.
            about: Words to write with them.
        """
        partial = self.path.with_suffix(".partial")
        content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(content, partial, {**about, "made_from": json.dumps(self.made_from)})
        _flush(partial)
        partial.replace(self.path)
        if os.name == "posix":  # elsewhere a folder cannot be flushed
            _flush(self.path.parent)

    def restore(self, tensors: Mapping[str, Tensor]) -> dict[str, str]:
        """Read the file into tensors.

        Arguments:
            tensors: The tensors to fill in place, of the names and shapes on disk.

        Returns:
            The words that were written with them.

        Raises:
            CheckpointError: If the file is damaged, made from something else, or holds
                other tensors.
        """
        about = self.check()
        check_shapes(dict(tensors), stored_shapes(self.path), self.path)
        with torch.no_grad():
            for name, stored in load_file(self.path).items():
                tensors[name].copy_(stored)
        return about

    def check(self) -> dict[str, str]:
        """Refuse a file that is damaged or made from something else.

        Returns:
            The words that were written with the tensors.

        Raises:
            CheckpointError: If so; what differs is named.
        """
        about, made_from = self._about()
        stored, current = _flat(made_from), _flat(self.made_from)
        other = [key for key in {**stored, **current} if stored.get(key) != current.get(key)]
        if other:
            raise CheckpointError(
                f"{self.path} was made from other {', '.join(sorted(other))}. Restore them to "
                "continue, or choose another `output_dir` to start anew.",
                path=self.path,
            )
        return about

    def remove(self) -> None:
        """Delete the file, if there is one."""
        self.path.unlink(missing_ok=True)

    def _about(self) -> tuple[dict[str, str], dict[str, Any]]:
        try:
            with safe_open(self.path, framework="pt") as file:
                about = file.metadata() or {}
            made_from = json.loads(about["made_from"])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise damaged(self.path, error) from None
        if not isinstance(made_from, dict):
            raise damaged(self.path, made_from)
        return about, made_from


class StageFiles:
    """The files that one stage keeps in a folder of its own.

    Arguments:
        folder: The folder; it is created.
        made_from: What decides the weights that training ends in.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = StageFiles(Path(folder) / "X", {"data": "..."})
        ...     files.finished.exists()
        False
    """

    def __init__(self, folder: Path, made_from: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint = Checkpoint(folder / "checkpoint.safetensors", made_from)
        self.finished = Checkpoint(folder / "finished.safetensors", made_from)
        self.log = Log(folder / "log.jsonl")

    def check(self) -> None:
        """Refuse what is damaged or made from something else.

        Raises:
            CheckpointError: If so.
        """
        file = self.finished if self.finished.exists() else self.checkpoint
        if file.exists():
            file.check()


def damaged(path: Path, what: object) -> CheckpointError:
    """Say that a file cannot be read, and what to do."""
    return CheckpointError(
        f"{path} is damaged, or no file that training wrote ({what}). Delete it to train this "
        "part anew.",
        path=path,
    )


def _flat(made_from: Mapping[str, Any]) -> dict[str, Any]:
    """Name the parts of mappings, so that a difference can be named."""
    flat: dict[str, Any] = {}
    for key, value in made_from.items():
        parts = value if isinstance(value, dict) else {}
        flat |= {f"{key}.{part}": content for part, content in parts.items()} or {key: value}
    return flat


def _flush(path: Path) -> None:
    """Wait until the disk has what was written, for a power cut is a kill too."""
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
