"""What one folder of a saved pipeline holds: a config and the tensors that were trained.

`config.json` says how to build the module, `diffusion_pytorch_model.safetensors` holds
its trainable tensors and nothing else. Loading is strict: the module is planned without
memory first, and every planned tensor must be in the file with its shape, and no other.
"""

from __future__ import annotations

import abc
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import ConfigMixin, ModelMixin
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from causal_diffusers.backbones.files import (
    check_shapes,
    construct,
    plan,
    read_json,
    stored_shapes,
)
from causal_diffusers.errors import CheckpointError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Component"]


class Component(ModelMixin, ConfigMixin, abc.ABC):
    """A part of a pipeline that has a folder of its own.

    Example:
        >>> import tempfile
        >>> from causal_diffusers.mechanisms import ConfounderPrior
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ConfounderPrior(states=3).save_pretrained(folder)
        ...     ConfounderPrior.from_pretrained(folder).config["states"]
        3
    """

    config_name = "config.json"

    def trainable_state(self) -> dict[str, nn.Parameter]:
        """Give the tensors that training may move, by name; they are what is saved."""
        return dict(self.named_parameters())

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | os.PathLike[str], *, variant: str | None = None
    ) -> None:
        """Write `config.json` and the trainable tensors.

        Arguments:
            save_directory: The folder; it is created.
            variant: A tag in the name of the weights, such as `"fp16"`.
        """
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        self.save_config(folder)
        state = {name: p.detach().cpu().contiguous() for name, p in self.trainable_state().items()}
        save_file(state, folder / _weights_name(variant), metadata={"format": "pt"})

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        source: str | os.PathLike[str],
        *,
        dtype: torch.dtype | None = None,
        torch_dtype: torch.dtype | None = None,
        variant: str | None = None,
        **build: Any,
    ) -> Self:
        """Load a folder that `save_pretrained` wrote.

        Arguments:
            source: The folder.
            dtype: The precision to load in, float32 if None.
            torch_dtype: Older name of `dtype`.
            variant: The tag in the name of the weights.
            build: What a kind of component needs besides its config; what diffusers
                passes to every component is accepted and ignored.

        Returns:
            The component, in eval mode.

        Raises:
            CheckpointError: If a file is missing or damaged, the config has a field that
                this release does not know, or a tensor is missing, unexpected, of another
                shape or not finite.
        """
        folder = Path(source)
        config = read_json(folder / cls.config_name)
        cls._check_config(config, folder / cls.config_name)
        weights = folder / _weights_name(variant)
        component = cls._build_from(config, folder, stored_shapes(weights), **build)
        component.load_trainable(load_file(weights), where=weights)
        component.eval()
        if (dtype or torch_dtype) is not None:
            nn.Module.to(component, dtype or torch_dtype)
        return component

    def load_trainable(self, tensors: Mapping[str, Tensor], *, where: Path) -> None:
        """Copy tensors into the trainable state.

        Arguments:
            tensors: The tensors, by name.
            where: Their file.

        Raises:
            CheckpointError: If names or shapes differ, or a number is not finite.
        """
        state = self.trainable_state()
        check_shapes(state, {name: tuple(t.shape) for name, t in tensors.items()}, where)
        for name, tensor in tensors.items():
            if not tensor.is_floating_point() or not tensor.float().isfinite().all():
                raise CheckpointError(
                    f"{where}: `{name}` holds something else than finite real numbers. The file "
                    "is damaged, or training went wrong; restore an older one.",
                    path=where,
                )
        with torch.no_grad():
            for name, parameter in state.items():
                parameter.copy_(tensors[name])

    def save_config(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **options: Any
    ) -> None:
        """Write the config without the local path that diffusers would add to it."""
        self._internal_dict = type(self._internal_dict)(
            {k: v for k, v in self._internal_dict.items() if k != "_name_or_path"}
        )
        super().save_config(save_directory, push_to_hub=push_to_hub, **options)

    @classmethod
    def _build_from(
        cls, config: dict[str, Any], folder: Path, shapes: dict[str, tuple[int, ...]], **build: Any
    ) -> Self:
        """Plan the module on no memory, compare it with the file, then build it."""
        where = folder / cls.config_name
        check_shapes(plan(cls, config, where).trainable_state(), shapes, folder)
        return construct(cls, config, where)

    @classmethod
    def _check_config(cls, config: Mapping[str, Any], where: Path) -> None:
        """Refuse the config of another class, and fields that would be ignored."""
        if config.get("_class_name") != cls.__name__:
            raise CheckpointError(
                f"{where} describes a {config.get('_class_name')!r}: expected {cls.__name__!r}.",
                path=where,
            )
        unknown = {key for key in config if key[:1] != "_"} - {*inspect.signature(cls).parameters}
        if unknown:
            raise CheckpointError(
                f"{where} has the unknown fields {sorted(unknown)}. If a newer release wrote it: "
                "`pip install --upgrade causal_diffusers`.",
                path=where,
            )


def _weights_name(variant: str | None) -> str:
    return f"diffusion_pytorch_model{'.' + variant if variant else ''}.safetensors"
