"""Where a frozen backbone comes from: loaded once, then cited, never copied.

A pipeline on disk holds no weight of its base. It holds a reference: the repository, the
commit, the sha256 of the weights, the class and the licence. What is loaded must match.

A base is a folder in the layout of its kind (`Backbone`), safetensors only.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

from causal_diffusers.aliases import OWNER, shipped_folder
from causal_diffusers.backbones.base import Backbone
from causal_diffusers.backbones.denoiser import Denoiser
from causal_diffusers.backbones.files import blame, sha256
from causal_diffusers.backbones.latent_diffusion import LatentDiffusion
from causal_diffusers.backbones.pixel_diffusion import PixelDiffusion
from causal_diffusers.errors import CheckpointError

__all__ = ["BackboneReference", "fetch", "license_of", "load_backbone"]

# Classes that a reference may name: kinds of bases, and vision encoders.
_CLASSES = (
    "UNet2DModel",
    "LDMPipeline",
    "GANGenerator",
    "CLIPVisionModel",
    "ConvNextModel",
    "Dinov2Model",
    "ViTModel",
)
_B = TypeVar("_B", bound=Backbone)
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class BackboneReference:
    """What a pipeline on disk says of its base.

    Arguments:
        repo: The repository id, or None for a local folder that has none.
        revision: The commit, 40 hexadecimal digits; None for a shipped base.
        sha256: The hash of the weights.
        class_name: The class of the network.
        license: The licence that the base's card states, or None.

    Raises:
        CheckpointError: If the repository id is a path or malformed, a Hub id has no
            commit, or the class is unknown.

    Example:
        >>> BackboneReference("../x", None, "0" * 64)
        Traceback (most recent call last):
        ...
        causal_diffusers.errors.CheckpointError: ...
    """

    repo: str | None
    revision: str | None
    sha256: str
    class_name: str = "UNet2DModel"
    license: str | None = None

    def __post_init__(self) -> None:
        where = str(self.repo)
        if self.repo is not None and (not _REPOSITORY.fullmatch(self.repo) or ".." in self.repo):
            raise CheckpointError(
                f"A base is referred to as 'owner/name', never by a path: got {self.repo!r}.",
                path=where,
            )
        if self.class_name not in _CLASSES or not _SHA256.fullmatch(str(self.sha256)):
            raise CheckpointError(
                f"The reference to {where} needs a class, one of {', '.join(_CLASSES)}, and a "
                f"sha256 of 64 digits: got {self.class_name!r}, {self.sha256!r}.",
                path=where,
            )
        pinned = self.revision is not None and _COMMIT.fullmatch(str(self.revision))
        if self.repo is not None and not self.repo.startswith(f"{OWNER}/") and not pinned:
            raise CheckpointError(
                f"A base on the Hub is pinned to a commit of 40 hexadecimal digits: got "
                f"revision {self.revision!r} for {where}. Branches move; name the commit.",
                path=where,
            )

    def to_dict(self) -> dict[str, Any]:
        """Describe the reference in plain JSON.

        Example:
            >>> sorted(BackboneReference(None, None, "0" * 64).to_dict())
            ['class_name', 'license', 'repo', 'revision', 'sha256']
        """
        return dataclasses.asdict(self)


@overload
def load_backbone(
    source: str | os.PathLike[str],
    *,
    revision: str | None = None,
    expected: BackboneReference | None = None,
) -> tuple[Denoiser, BackboneReference]: ...


@overload
def load_backbone(
    source: str | os.PathLike[str],
    *kinds: type[_B],
    revision: str | None = None,
    expected: BackboneReference | None = None,
) -> tuple[_B, BackboneReference]: ...


def load_backbone(
    source: str | os.PathLike[str],
    *kinds: type[Backbone],
    revision: str | None = None,
    expected: BackboneReference | None = None,
) -> tuple[Backbone, BackboneReference]:
    """Load a frozen base and say where it came from.

    Arguments:
        source: A folder in the layout of the kind, a shipped id
            `causal-diffusers/<name>`, or the id of a Hub repository.
        kinds: What kinds of network it may be, of which the first that its folder looks
            like is taken; by default latent and pixel diffusion.
        revision: Branch, tag or commit on the Hub.
        expected: The reference that the weights must match, if one was saved.

    Returns:
        The backbone and its reference.

    Raises:
        CheckpointError: If a file is missing or damaged, the weights do not fit the
            config, the repository has no safetensors, or the sha256 is another one.

    Example:
        >>> load_backbone("nowhere/at-all/x")
        Traceback (most recent call last):
        ...
        causal_diffusers.errors.CheckpointError: ...
    """
    kinds = kinds or (LatentDiffusion, PixelDiffusion)
    files = [name for kind in kinds for name in kind.files]
    folder, repo, commit = fetch(source, revision, ["README.md", *files])
    kind = _kind_of(folder, kinds, expected)
    weights = kind.weights_of(folder)
    digest = sha256(*weights)
    if expected is not None and digest != expected.sha256:
        raise CheckpointError(
            f"{source}: the weights of the base are not those that the adapter was trained "
            f"on (sha256 {digest[:12]}..., expected {expected.sha256[:12]}...). Pass the "
            "right base with `backbones={variable: path}`.",
            path=weights[0],
        )
    reference = BackboneReference(repo, commit, digest, kind.class_name, license_of(folder))
    return kind.load(folder), expected or reference


def _kind_of(
    folder: Path, kinds: Sequence[type[Backbone]], expected: BackboneReference | None
) -> type[Backbone]:
    """Choose the kind that a reference names, or else one that the folder looks like."""
    if expected is not None:
        fitting = [kind for kind in kinds if kind.class_name == expected.class_name]
    else:
        fitting = [kind for kind in kinds if kind.is_in(folder)]
    if not fitting:
        wanted = " or ".join(kind.class_name for kind in kinds)
        named = "something else" if expected is None else f"a {expected.class_name}"
        raise CheckpointError(
            f"{folder}: the base should be a {wanted}: got {named}.", path=folder
        )
    return fitting[0]


def fetch(
    source: str | os.PathLike[str], revision: str | None, files: Sequence[str]
) -> tuple[Path, str | None, str | None]:
    """Find the folder of something pretrained; give it with its repository id and commit.

    Arguments:
        source: A folder, a shipped id `causal-diffusers/<name>`, or the id of a Hub
            repository.
        revision: Branch, tag or commit on the Hub.
        files: Patterns of the files that are downloaded.

    Returns:
        The folder; the repository id, or None for a local folder; and the commit, or None.

    Raises:
        CheckpointError: If it is neither a folder nor a repository id.

    Example:
        >>> fetch("no/such/folder", None, [])
        Traceback (most recent call last):
        ...
        causal_diffusers.errors.CheckpointError: ...
    """
    name = str(source)
    if (shipped := shipped_folder(source)) is not None:
        return shipped, name, None
    if Path(source).is_dir():
        return Path(source), None, None
    if not _REPOSITORY.fullmatch(name) or ".." in name:
        raise CheckpointError(
            f"`{name}` is neither a folder nor a repository id 'owner/name'. Check the "
            "spelling, or give a folder.",
            path=name,
        )
    from huggingface_hub import snapshot_download

    ignored = ["*.bin", "*.pt", "*.pth", "*.ckpt", "*.py", "*.msgpack", "*.h5"]
    found = snapshot_download(
        name, revision=revision, allow_patterns=list(files), ignore_patterns=ignored
    )
    return Path(found), name, Path(found).name


def license_of(folder: Path) -> str | None:
    """Read the licence that the model card in a folder states, if it has one.

    Arguments:
        folder: The folder.

    Returns:
        The licence, or None.

    Raises:
        CheckpointError: If the card is damaged.

    Example:
        >>> license_of(Path("no/such/folder")) is None
        True
    """
    card = folder / "README.md"
    if not card.is_file():
        return None
    from huggingface_hub import ModelCard

    with blame(card, "model card"):
        stated = ModelCard.load(card, ignore_metadata_errors=True).data.to_dict().get("license")
    return stated if isinstance(stated, str) else None
