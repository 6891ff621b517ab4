"""What one folder of a saved pipeline holds: a config and the tensors that were trained.

`config.json` says how to build the module, `diffusion_pytorch_model.safetensors` holds
its trainable tensors and nothing else. Loading is strict: the module is planned without
memory first, and every planned tensor must be in the file with its shape, and no other.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import ConfigMixin, ModelMixin
from safetensors.torch import load_file, save_file
from torch import Tensor

from causal_diffusers.backbones.reference import read_json, stored_shapes
from causal_diffusers.errors import CheckpointError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Component"]


class Component(ModelMixin, ConfigMixin):
    """A part of a pipeline that has a folder of its own."""

    config_name = "config.json"

    def trainable_state(self) -> dict[str, Tensor]:
        """Give the tensors that training may move, by name; they are what is saved."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def save_pretrained(
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
            CheckpointError: If a file is missing or damaged, or a tensor is missing,
                unexpected or of another shape.
        """
        folder = Path(source)
        config = read_json(folder / cls.config_name)
        if config.get("_class_name") != cls.__name__:
            raise CheckpointError(
                f"{folder / cls.config_name} describes a {config.get('_class_name')!r}: "
                f"expected {cls.__name__!r}.",
                path=folder,
            )
        weights = folder / _weights_name(variant)
        component = cls._build_from(config, folder, stored_shapes(weights), **build)
        component.load_trainable(load_file(weights), where=weights)
        component = component.eval()
        dtype = dtype or torch_dtype
        return component if dtype is None else torch.nn.Module.to(component, dtype)

    def load_trainable(self, tensors: dict[str, Tensor], *, where: Path) -> None:
        """Copy tensors into the trainable state.

        Raises:
            CheckpointError: If names or shapes differ; `where` is named.
        """
        state = self.trainable_state()
        check_shapes(state, {name: tuple(t.shape) for name, t in tensors.items()}, where)
        with torch.no_grad():
            for name, parameter in state.items():
                parameter.copy_(tensors[name])

    @classmethod
    def _build_from(
        cls, config: dict[str, Any], folder: Path, shapes: dict[str, tuple[int, ...]], **build: Any
    ) -> Self:
        """Plan the module on no memory, compare it with the file, then build it."""
        try:
            with torch.device("meta"):
                planned = cls.from_config(config)
        except (TypeError, ValueError, KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"{folder}/config.json does not describe a {cls.__name__}: {error}", path=folder
            ) from None
        check_shapes(planned.trainable_state(), shapes, folder)
        return cls.from_config(config)

    def save_config(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Write the config without the local path that diffusers would add to it."""
        self._internal_dict = type(self._internal_dict)(
            {k: v for k, v in self._internal_dict.items() if k != "_name_or_path"}
        )
        super().save_config(save_directory, **kwargs)


def check_shapes(
    state: dict[str, Tensor], stored: dict[str, tuple[int, ...]], where: Path
) -> None:
    """Refuse stored tensors that are not exactly those of `state`."""
    missing, unexpected = state.keys() - stored.keys(), stored.keys() - state.keys()
    if missing or unexpected:
        raise CheckpointError(
            f"{where}: the file lacks {sorted(missing)[:3] or 'nothing'} and holds the "
            f"unexpected {sorted(unexpected)[:3] or 'nothing'}. It was saved from another model.",
            path=where,
        )
    for name, tensor in state.items():
        if tuple(tensor.shape) != stored[name]:
            raise CheckpointError(
                f"{where}: `{name}` has shape {stored[name]} on disk and "
                f"{tuple(tensor.shape)} in the model. It was saved with another config.",
                path=where,
            )


def _weights_name(variant: str | None) -> str:
    return f"diffusion_pytorch_model{'.' + variant if variant else ''}.safetensors"
