r"""A frozen pretrained vision encoder: what an image says to the variables that listen to it.

A folder or repository in the layout of transformers: `config.json`, `model.safetensors`,
`preprocessor_config.json`. Its own config never chooses code: the architecture is one of
`ARCHITECTURES`, and no class outside that list is built. Nothing here is ever trained.

| architecture | feature | paper |
|---|---|---|
| `ViTModel` | its first token | Dosovitskiy et al., 2021 |
| `Dinov2Model` | its first token | Oquab et al., 2024 |
| `CLIPVisionModel` | its pooled first token | Radford et al., 2021 |
| `ConvNextModel` | the mean of its last map | Liu et al., 2022 |

References:
    DINOv2: Learning robust visual features without supervision (Oquab et al., 2024).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from causal_diffusers.backbones.files import blame, read_json, sha256, stored_shapes
from causal_diffusers.backbones.preprocessing import Preprocessing
from causal_diffusers.backbones.reference import BackboneReference, fetch, license_of
from causal_diffusers.errors import CheckpointError

if TYPE_CHECKING:
    from causal_diffusers.variables import Image

__all__ = ["ARCHITECTURES", "VisionEncoder", "with_encoder"]

# What `model_type` says, and the class that is built for it.
ARCHITECTURES = {
    "clip": "CLIPVisionModel",  # of which the vision tower is taken
    "clip_vision_model": "CLIPVisionModel",
    "convnext": "ConvNextModel",
    "dinov2": "Dinov2Model",
    "vit": "ViTModel",
}
FOLDER = "image_encoder"

_CONFIG, _WEIGHTS, _PIXELS = "config.json", "model.safetensors", "preprocessor_config.json"
_MOST_LAYERS = 128


class VisionEncoder(nn.Module):
    """A frozen vision encoder of transformers, always in eval mode.

    Use `from_pretrained` to create one. It may serve several mechanisms, and is shared
    then, not copied.

    Arguments:
        network: The network.
        preprocessing: What it wants done to an image first.
        reference: Where it comes from.

    Example:
        >>> config = transformers.ViTConfig(
        ...     hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        ...     image_size=8, patch_size=4,
        ... )
        >>> network = transformers.ViTModel(config, add_pooling_layer=False)
        >>> wants = Preprocessing.of({"size": {"height": 8, "width": 8}})
        >>> encoder = VisionEncoder(network, wants, BackboneReference(None, None, "0" * 64))
        >>> encoder(torch.zeros(2, 1, 5, 7)).shape == (2, encoder.features)
        True
    """

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, reference: BackboneReference
    ) -> None:
        super().__init__()
        self.network: Any = network.requires_grad_(False).eval()
        self.preprocessing, self.reference = preprocessing, reference

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        revision: str | None = None,
        expected: BackboneReference | None = None,
    ) -> Self:
        """Load a frozen encoder, safetensors only.

        Arguments:
            source: A folder in the layout of transformers, or the id of a Hub repository
                such as `"facebook/dinov2-small"`.
            revision: Branch, tag or commit on the Hub.
            expected: The reference that the weights must match, if one was saved.

        Returns:
            The encoder. Of a checkpoint with a head, the head is left out.

        Raises:
            CheckpointError: If a file is missing or damaged, the architecture is none of
                `ARCHITECTURES`, a weight is missing, or the sha256 is another one.

        Example:
            >>> VisionEncoder.from_pretrained("./no/such/folder")
            Traceback (most recent call last):
            ...
            causal_diffusers.errors.CheckpointError: ...
        """
        folder, repo, commit = fetch(source, revision, [_CONFIG, _WEIGHTS, _PIXELS, "README.md"])
        weights = folder / _WEIGHTS
        shapes, wants = stored_shapes(weights), read_json(folder / _PIXELS)
        digest = sha256(weights)
        if expected is not None and digest != expected.sha256:
            raise CheckpointError(
                f"{source}: the weights of the image encoder are not those that the mechanism was "
                f"trained with (sha256 {digest[:12]}..., expected {expected.sha256[:12]}...). "
                "Pass the right one with `backbones={variable: path}`.",
                path=weights,
            )
        network = _load(folder / _CONFIG, weights, shapes)
        with blame(folder / _PIXELS, "preprocessing"):
            preprocessing = Preprocessing.of(wants)
        kind, license = type(network).__name__, license_of(folder)
        return cls(
            network,
            preprocessing,
            expected or BackboneReference(repo, commit, digest, kind, license),
        )

    @property
    def features(self) -> int:
        """How many numbers it says of an image."""
        config = self.network.config
        return config.hidden_sizes[-1] if hasattr(config, "hidden_sizes") else config.hidden_size

    def train(self, mode: bool = True) -> VisionEncoder:
        """Stay in eval mode, whatever the mechanism around does."""
        return super().train(mode=False)

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (B, C, H, W) in [-1, 1] into features (B, features) of unit scale.

        Their gradient reaches the images.
        """
        dtype = next(self.network.parameters()).dtype
        pixels = self.preprocessing(images, self.network.config.num_channels)
        seen = self.network(pixel_values=pixels.to(dtype))
        pooled = getattr(seen, "pooler_output", None)
        told = seen.last_hidden_state[:, 0] if pooled is None else pooled
        return layer_norm(told.float(), told.shape[-1:])

    def check_reads(self, image: Image) -> None:
        """Refuse images of other channels than the network takes.

        Raises:
            ValueError: If it cannot read them; grey images are read as colour.
        """
        wanted = self.network.config.num_channels
        if image.channels not in (1, wanted):
            raise ValueError(
                f"The image encoder reads images of {wanted} channel(s): got {image}. Choose "
                "another one, or declare the images as grey."
            )

    def refer_to(self, repo: str, revision: str | None) -> None:
        """Say under which repository and commit the encoder can be found.

        Arguments:
            repo: The repository id.
            revision: The commit, 40 hexadecimal digits.

        Raises:
            CheckpointError: If the id is malformed or the commit missing.
        """
        self.reference = dataclasses.replace(self.reference, repo=repo, revision=revision)

    def save_pretrained(self, folder: Path) -> BackboneReference:
        """Write a copy, and give the reference to it."""
        self.network.save_pretrained(folder)
        (folder / _PIXELS).write_text(self.preprocessing.to_json(), encoding="utf-8")
        copied = sha256(folder / _WEIGHTS)
        if copied == self.reference.sha256:
            return self.reference
        return dataclasses.replace(self.reference, repo=None, revision=None, sha256=copied)


def with_encoder(
    config: dict[str, Any], folder: Path, moved: str | os.PathLike[str] | None = None
) -> dict[str, Any]:
    """Load the image encoder that the config of a saved mechanism refers to.

    Arguments:
        config: The config.
        folder: The folder of the mechanism.
        moved: Where the encoder has moved to.

    Returns:
        The config with the encoder in the place of its reference, or as it is.

    Raises:
        CheckpointError: If the encoder cannot be found, or is another one.

    Example:
        >>> with_encoder({"width": 8}, Path("X"))
        {'width': 8}
    """
    told = config.get("image_encoder")
    if told is None and moved is not None:
        raise CheckpointError(
            f'`backbones` is for variables with a pretrained base: got "{folder.name}", which is '
            f"made by a {config.get('_class_name')} that has none.",
            path=folder,
        )
    if told is None:
        return config
    with blame(folder / _CONFIG, "mechanism with an image encoder"):
        reference = BackboneReference(**told)
    copy = folder / FOLDER
    source = moved or (copy if copy.is_dir() else reference.repo)
    if source is None:
        raise CheckpointError(
            f"{folder}: its image encoder came from a local folder and is not part of the "
            "checkpoint. Say where it is with `backbones={variable: path}`.",
            path=folder,
        )
    encoder = VisionEncoder.from_pretrained(
        source, revision=reference.revision, expected=reference
    )
    return {**config, "image_encoder": encoder}


def _load(path: Path, weights: Path, shapes: Mapping[str, tuple[int, ...]]) -> nn.Module:
    """Build the network that the config describes, after a plan that costs no memory."""
    told = read_json(path)
    kind = ARCHITECTURES.get(str(told.get("model_type")))
    if kind is None:
        raise CheckpointError(
            f"{path}: the network is a {told.get('model_type')!r}; an image encoder is one of "
            f"{', '.join(ARCHITECTURES)}.",
            path=path,
        )
    told = told.get("vision_config", told) if told["model_type"] == "clip" else told
    architecture = getattr(transformers, kind)
    with blame(path, kind):
        attention = "sdpa" if architecture._supports_sdpa else "eager"
        config = _config(architecture.config_class, told, attention)
        extra = {"add_pooling_layer": False} if kind == "ViTModel" else {}
        with torch.device("meta"):
            planned = architecture(config, **extra)
        _check_size(planned, shapes, weights)
        with torch.random.fork_rng(devices=[]):
            network, report = architecture.from_pretrained(
                None,
                config=config,
                state_dict=load_file(weights),
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # but reported
                output_loading_info=True,
                **extra,
            )
    missing = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
    if missing:
        raise CheckpointError(
            f"{weights}: the file lacks {missing[:3]}, or has them in another shape. It was saved "
            "from another model.",
            path=weights,
        )
    return network


def _config(kind: type[Any], told: object, attention: str) -> Any:  # noqa: ANN401 (transformers has no one type)
    """Read the numbers of a config; what names code or a way to compute is left out."""
    if not isinstance(told, Mapping):
        raise ValueError(f"its description is {told!r:.60}")  # noqa: TRY004 (of a file)
    for key, value in told.items():
        if isinstance(value, int) and abs(value) > 2**20:
            raise ValueError(f"`{key}` is absurdly large")
        if isinstance(value, list) and len(value) > 2**12:
            raise ValueError(f"`{key}` is absurdly long")
    layers = [told.get("num_hidden_layers", 0), *told.get("depths", ())]
    if max(layers) > _MOST_LAYERS:
        raise ValueError(f"more than {_MOST_LAYERS} layers")
    fields = {f.name for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else None
    named = {k: v for k, v in told.items() if _is_plain(k, fields)}
    return kind(**named, attn_implementation=attention)


_LEFT_OUT = {"architectures", "auto_map", "quantization_config", "dtype", "torch_dtype"}


def _is_plain(key: str, fields: set[str] | None) -> bool:
    known = fields is None or key in fields
    return known and key[:1] != "_" and key not in _LEFT_OUT and "attn_implementation" not in key


def _check_size(planned: nn.Module, shapes: Mapping[str, tuple[int, ...]], weights: Path) -> None:
    """Refuse a network that is larger than its file, before memory is allocated."""
    wanted = sum(tensor.numel() for tensor in planned.parameters())
    stored = sum(torch.Size(shape).numel() for shape in shapes.values())
    if wanted > stored:
        raise CheckpointError(
            f"{weights}: the file holds {stored} numbers and the network has {wanted}. It was "
            "saved from another model.",
            path=weights,
        )
