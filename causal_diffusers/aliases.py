"""Which pretrained folders travel with the package?

A repository id `causal-diffusers/<name>` names a folder that was shipped: inside the
wheel it is `causal_diffusers/shipped/<name>`, in a checkout `pipelines/<name>` beside
the package. Both load without a network.

The owner `causal-diffusers` is *reserved*. Its ids never reach the Hugging Face Hub and
are never looked up in the working directory, so the answer depends on the installed
release alone: a repository of that name on the Hub cannot slip in other weights, and a
misspelt name is an error here rather than a question to a server. A folder of your own
that happens to be called so is spelt as a path, `./causal-diffusers/<name>`.

The reservation holds for the loaders of this package only. diffusers knows nothing of
it: `DiffusionPipeline.from_pretrained("causal-diffusers/<name>")` asks the Hub as for
any other id. Plain diffusers loads a shipped folder by its path, once this package is
imported: `DiffusionPipeline.from_pretrained(shipped_folder("causal-diffusers/<name>"))`.
"""

from __future__ import annotations

import os
from pathlib import Path

from causal_diffusers.errors import CheckpointError

__all__ = ["OWNER", "shipped_folder", "shipped_names"]

OWNER = "causal-diffusers"

_INDICES = "model_index.json", "config.json"  # of a pipeline, and of a single model


def shipped_names() -> tuple[str, ...]:
    """List what is shipped with the package.

    Returns:
        The names, sorted. The repository id of each is `causal-diffusers/<name>`.

    Example:
        >>> "no-such-pipeline" in shipped_names()
        False
    """
    found = (path for name in _INDICES for path in _root().glob(f"*/{name}"))
    return tuple(sorted({index.parent.name for index in found}))


def shipped_folder(source: str | os.PathLike[str]) -> Path | None:
    """Find the folder of a shipped repository.

    Arguments:
        source: A repository id or a path, as passed to `from_pretrained`.

    Returns:
        The folder, or None where `source` is not an id of the owner `causal-diffusers`.

    Raises:
        CheckpointError: The owner is `causal-diffusers`, and the name is not shipped.

    Example:
        >>> shipped_folder("google/ddpm-celebahq-256") is None
        True
        >>> shipped_folder("causal-diffusers/../secrets")
        Traceback (most recent call last):
        ...
        causal_diffusers.errors.CheckpointError: ...
    """
    if not isinstance(source, str) or not source.startswith(f"{OWNER}/"):
        return None
    name = source.removeprefix(f"{OWNER}/")
    if name not in shipped_names():
        raise CheckpointError(_not_shipped(name), path=source)
    return _root() / name


def _root() -> Path:
    """Return the folder of shipped folders: in the wheel, else beside the package."""
    package = Path(__file__).resolve().parent
    inside = package / "shipped"
    return inside if inside.is_dir() else package.parent / "pipelines"


def _not_shipped(name: str) -> str:
    available = ", ".join(f'"{OWNER}/{known}"' for known in shipped_names()) or "nothing"
    return (
        f'`{OWNER}/...` names a folder shipped with the package: got "{OWNER}/{name}", '
        f"and this release ships {available}. Ids of this owner are never looked up on the "
        f"Hub; for a folder of your own write a path, such as `./{OWNER}/{name}`."
    )
