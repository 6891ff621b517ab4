"""A mechanism on a frozen pretrained network: referred to on disk, never trained, never copied.

What every such mechanism shares: where its base comes from, what is written of it, and
how both are found again. How the base is conditioned is left to each.
"""

from __future__ import annotations

import abc
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from torch import nn

from causal_diffusers.backbones import Backbone, BackboneReference, load_backbone
from causal_diffusers.backbones.files import blame, check_shapes, construct, read_json, sha256
from causal_diffusers.backbones.vision import with_encoder
from causal_diffusers.errors import CheckpointError
from causal_diffusers.mechanisms.base import Mechanism

if TYPE_CHECKING:
    from typing import Self

__all__ = ["PretrainedMechanism"]

_B = TypeVar("_B", bound=Backbone)


class PretrainedMechanism(Mechanism, Generic[_B]):
    """A mechanism whose config has a field `base`, and which holds a frozen `backbone`.

    A subclass names the kinds of its base, and keeps what it trains out of the submodule
    `backbone`, but for tensors whose name has `.lora_` in it.

    Example:
        >>> from causal_diffusers.mechanisms import DiffusionMechanism
        >>> issubclass(DiffusionMechanism, PretrainedMechanism)
        True
    """

    kinds: ClassVar[tuple[type[Backbone], ...]]
    backbone: _B | None

    @property
    def base_reference(self) -> BackboneReference:
        """Where the frozen model comes from."""
        return BackboneReference(**self.config["base"])

    def trainable_state(self) -> dict[str, nn.Parameter]:
        """Give the tensors of the adapter; see `Component.trainable_state`."""
        return {
            name: parameter
            for name, parameter in super().trainable_state().items()
            if not name.startswith("backbone.") or ".lora_" in name
        }

    def refer_to(self, repo: str, revision: str | None) -> None:
        """Say under which repository and commit the frozen model can be found.

        Arguments:
            repo: The repository id.
            revision: The commit, 40 hexadecimal digits.

        Raises:
            CheckpointError: If the id is malformed or the commit missing.
        """
        reference = {**self.config["base"], "repo": repo, "revision": revision}
        self.register_to_config(base=BackboneReference(**reference).to_dict())

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | os.PathLike[str],
        *,
        variant: str | None = None,
        include_backbone: bool = False,
    ) -> None:
        """Write the config and the adapter.

        Arguments:
            save_directory: The folder; it is created.
            variant: A tag in the name of the weights.
            include_backbone: Whether to write the frozen model too, in `backbone/`.

        Raises:
            ValueError: If there is no frozen model, or something that cannot be saved.
        """
        folder, frozen, extra = Path(save_directory), self._frozen(), self._describe()
        super().save_pretrained(folder, variant=variant, include_backbone=include_backbone)
        config = {**read_json(folder / self.config_name), **extra}
        if include_backbone:
            frozen.save_pretrained(folder / "backbone")
            copied = sha256(*frozen.weights_of(folder / "backbone"))
            if copied != config["base"]["sha256"]:  # another precision, or older layer names
                config["base"] |= {"repo": None, "revision": None, "sha256": copied}
        (folder / self.config_name).write_text(json.dumps(config, indent=2) + "\n")

    def _describe(self) -> dict[str, Any]:
        """Give the fields of the config that are known only when it is saved."""
        return {}

    @classmethod
    def _is_saved(cls, source: str | os.PathLike[str]) -> bool:
        """Tell a folder that `save_pretrained` wrote from a pretrained model."""
        saved = Path(source) / cls.config_name
        return saved.is_file() and read_json(saved).get("_class_name") == cls.__name__

    @classmethod
    def _load(
        cls,
        source: str | os.PathLike[str],
        chosen: Mapping[str, object],
        backbone: str | os.PathLike[str] | None,
        loading: Mapping[str, Any],
    ) -> Self:
        """Load a saved mechanism, which has its adapter already."""
        _refuse(chosen, source, "a saved mechanism, which keeps its adapter")
        return super().from_pretrained(source, backbone=backbone, **loading)

    @classmethod
    def _adapt(
        cls,
        source: str | os.PathLike[str],
        chosen: Mapping[str, Any],
        revision: str | None,
        backbone: str | os.PathLike[str] | None,
        loading: Mapping[str, object],
    ) -> Self:
        """Start from a pretrained model, with an adapter still to be trained."""
        moved = {} if backbone is None else {"backbone": backbone}
        _refuse({**loading, **moved}, source, "a pretrained model, which gets a new adapter")
        network: Any
        network, reference = load_backbone(source, *cls.kinds, revision=revision)
        mechanism = cls(base=reference.to_dict(), **chosen)  # type: ignore[call-arg]
        mechanism._attach(network)
        return mechanism

    @abc.abstractmethod
    def _attach(self, network: _B) -> None:
        """Take the frozen model in."""

    def _frozen(self) -> _B:
        if self.backbone is None:
            name = type(self).__name__
            raise ValueError(
                f"This `{name}` has no pretrained model. Create it with "
                f'`{name}.from_pretrained("owner/name")`.'
            )
        return self.backbone

    @classmethod
    def _build_from(
        cls,
        config: dict[str, Any],
        folder: Path,
        shapes: dict[str, tuple[int, ...]],
        *,
        backbone: str | os.PathLike[str] | None = None,
        **ignored: Any,
    ) -> Self:
        """Load the frozen model, plan the adapter without memory, then build it."""
        where, config = folder / cls.config_name, with_encoder(config, folder)
        mechanism, planned = construct(cls, config, where), construct(cls, config, where)
        with blame(where, cls.__name__):
            reference = mechanism.base_reference
        embedded = folder / "backbone"
        source = backbone or (embedded if embedded.is_dir() else reference.repo)
        if source is None:
            raise CheckpointError(
                f"{folder}: the frozen model came from a local folder and is not part of the "
                "checkpoint. Say where it is with `backbones={variable: path}`.",
                path=folder,
            )
        network: Any
        network, _ = load_backbone(
            source, *cls.kinds, revision=reference.revision, expected=reference
        )
        with torch.device("meta"), blame(where, cls.__name__):
            planned.backbone = network.planned()  # samplers cannot live on the meta device
            planned._build_if_bound()
        check_shapes(planned.trainable_state(), shapes, folder)
        mechanism._attach(network)
        mechanism._build_if_bound()
        return mechanism


def _refuse(arguments: Mapping[str, object], source: object, what: str) -> None:
    """Refuse arguments that would have no effect."""
    if arguments:
        raise ValueError(
            f"{source} is {what}: got {', '.join(f'`{name}`' for name in arguments)}, which would "
            "have no effect. Leave it out."
        )
