r"""What is a pipeline on disk, and what is refused when one is loaded?

A folder, or a repository of the Hugging Face Hub, with these files:

```
model_index.json                              the index, below
README.md                                     the model card; never read back
<component>/config.json                       how to build the component
<component>/diffusion_pytorch_model.safetensors    what training moved, and nothing else
<variable>/backbone/...                       its frozen base, only if it was asked for
<variable>/image_encoder/...                  what reads images for it, frozen, likewise
```

A component is the mechanism of a variable or the prior of a finite confounder. The index
is one JSON object:

```
{"_class_name": "CausalPipeline", "_diffusers_version": "...", "format_version": 1,
 "graph": {"variables": {name: {"type": "categorical", "labels": [...]}
                             | {"type": "continuous", "dim": d, "mean": m, "scale": s}
                             | {"type": "image", "channels": C, "height": H, "width": W}},
           "directed": [[A, B], ...],
           "confounders": {name: {"children": [...], "dim": k, "states": K | null}},
           "experiments": [{"set": [A, ...], "tried": [[code | null, ...], ...] | null}, ...]},
 "<component>": ["causal_diffusers", "<class>"], ...}
```

Variables are listed in the order of the graph; bidirected edges follow from the
confounders. The index is read strictly:

* `_class_name` is one name. A list would be the file and class of remote code.
* `format_version` is 1, or 2 if there are `experiments`: what was set by hand in the rows
  that the pipeline was trained on, which decides what it may be asked. A larger one was
  written by a newer release, and is refused with that advice, since what is unknown
  cannot be ignored safely.
* Every variable and every finite confounder has an entry, and nothing else has. Names
  become folders and attributes, so they are short identifiers and not reserved.
* An entry names this library and a class of the list `COMPONENTS`. No module is imported
  because a file names it.
* An image has at most 2^26 values.

Weights are safetensors: `.bin`, `.pt` and other pickles are neither written nor read, nor
downloaded. A tensor that is missing, unexpected or of another shape is an error, found
before memory is allocated. A base is referred to by repository, commit and sha256, never
by a path, and weights with another sha256 are refused.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causal_diffusers import card, mechanisms
from causal_diffusers.aliases import shipped_folder
from causal_diffusers.backbones.files import read_json
from causal_diffusers.blueprint import Blueprint
from causal_diffusers.errors import CheckpointError
from causal_diffusers.mechanisms import Component, Mechanism, PretrainedMechanism

if TYPE_CHECKING:
    import torch
    from huggingface_hub import CommitInfo

__all__ = [
    "COMPONENTS",
    "DOWNLOADING",
    "FORMAT_VERSION",
    "INDEX",
    "check_index",
    "find_folder",
    "index_json",
    "load_component",
    "read_index",
    "refer_to_backbones",
    "upload",
]

INDEX = "model_index.json"
FORMAT_VERSION = 2
LIBRARY = "causal_diffusers"
MECHANISMS = ("CategoricalMechanism", "DiffusionMechanism", "FlowMechanism", "GANMechanism")
COMPONENTS = (*MECHANISMS, "ConfounderPrior")
DOWNLOADING = ("revision", "cache_dir", "token", "local_files_only", "force_download")

_FILES = ["*.json", "*.safetensors", "README.md"]
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def index_json(
    class_name: str, diffusers_version: str, blueprint: Blueprint, classes: Mapping[str, str]
) -> str:
    """Write the index.

    Arguments:
        class_name: The class of the pipeline.
        diffusers_version: The release of diffusers that writes it.
        blueprint: What the pipeline is made for.
        classes: The class of each component.

    Returns:
        The index as JSON, variables in the order of the graph.

    Example:
        >>> from causal_diffusers.graphs import ADMG
        >>> text = index_json("CausalPipeline", "0", Blueprint.of(ADMG([]), {}), {})
        >>> json.loads(text)["format_version"]
        1
    """
    graph = blueprint.to_dict()
    index = {
        "_class_name": class_name,
        "_diffusers_version": diffusers_version,
        "format_version": FORMAT_VERSION if "experiments" in graph else 1,
        "graph": graph,
        **{name: [LIBRARY, classes[name]] for name in blueprint.components if name in classes},
    }
    return json.dumps(index, indent=2) + "\n"


def read_index(folder: Path, class_names: Collection[str]) -> tuple[Blueprint, dict[str, str]]:
    """Read and check the index of a folder, and that it has what the index promises.

    Arguments:
        folder: The folder of a saved pipeline.
        class_names: The pipeline classes that may be loaded.

    Returns:
        What the pipeline is made for, and the class of each component.

    Raises:
        CheckpointError: If the folder holds no pipeline, or one that is refused.

    Example:
        >>> read_index(Path("no/such/folder"), {"CausalPipeline"})
        Traceback (most recent call last):
        ...
        causal_diffusers.errors.CheckpointError: ...
    """
    index = read_json(folder / INDEX)
    blueprint = check_index(index, class_names, folder / INDEX)
    classes = {name: index[name][1] for name in blueprint.components}
    for name, wanted in classes.items():
        _check_component(folder / name / "config.json", wanted)
    return blueprint, classes


def load_component(
    folder: Path,
    class_name: str,
    *,
    dtype: torch.dtype | None = None,
    variant: str | None = None,
    backbone: str | os.PathLike[str] | None = None,
) -> Component:
    """Load one component.

    Arguments:
        folder: Its folder.
        class_name: Its class, one of `COMPONENTS`.
        dtype: The precision to load it in.
        variant: The tag in the name of its weights.
        backbone: Where its frozen base has moved to; if it has none, its image encoder.

    Returns:
        The component.

    Raises:
        CheckpointError: If it is refused, or is given a base and has none.

    Example:
        >>> load_component(Path("no/such/folder"), "CategoricalMechanism")
        Traceback (most recent call last):
        ...
        causal_diffusers.errors.CheckpointError: ...
    """
    kind: type[Component] = getattr(mechanisms, class_name)
    moved: dict[str, Any] = {} if backbone is None else {"backbone": backbone}
    return kind.from_pretrained(folder, dtype=dtype, variant=variant, **moved)


def check_index(
    index: Mapping[str, Any], class_names: Collection[str], path: str | Path = INDEX
) -> Blueprint:
    """Check an index before anything that it names is touched.

    Arguments:
        index: The JSON object.
        class_names: The pipeline classes that may be loaded.
        path: The file, for errors.

    Returns:
        What the pipeline is made for.

    Raises:
        CheckpointError: If a rule of the format is broken.

    Example:
        >>> check_index({"_class_name": ["pipeline", "Evil"]}, {"CausalPipeline"})
        Traceback (most recent call last):
        ...
        causal_diffusers.errors.CheckpointError: ...
    """
    try:
        _check_header(index, class_names)
        blueprint = Blueprint.from_dict(index.get("graph", {}))
        _check_entries(index, blueprint)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}", path=path) from None
    return blueprint


def find_folder(source: str | os.PathLike[str], **hub: Any) -> Path:
    """Find the folder of a pipeline: a shipped one, a local one, or one from the Hub.

    From the Hub come JSON, safetensors and the card, nothing else.

    Arguments:
        source: A folder, a shipped id `causal-diffusers/<name>`, or a repository id.
        hub: `revision`, `cache_dir`, `token`, `local_files_only`, `force_download`.

    Returns:
        The folder.

    Raises:
        CheckpointError: If it is neither a folder nor a repository id.

    Example:
        >>> find_folder(Path("no/such/folder"))
        Traceback (most recent call last):
        ...
        causal_diffusers.errors.CheckpointError: ...
    """
    if (shipped := shipped_folder(source)) is not None:
        return shipped
    if str(source) and Path(source).is_dir():
        return Path(source)
    if not isinstance(source, str) or not _REPOSITORY.fullmatch(source):
        raise CheckpointError(
            f"{source} is neither a folder nor a repository id 'owner/name'. Check the spelling.",
            path=str(source),
        )
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(source, allow_patterns=_FILES, **hub))


def upload(
    folder: Path,
    repo_id: str,
    *,
    token: str | None = None,
    private: bool | None = None,
    commit_message: str = "Upload CausalPipeline",
    create_pr: bool = False,
) -> CommitInfo:
    """Upload a folder to the Hub; a card that somebody wrote there is kept.

    Arguments:
        folder: The folder of a saved pipeline.
        repo_id: The repository; it is created if need be.
        token: How to log in; None takes the stored one.
        private: Whether a new repository is private; None is the owner's default.
        commit_message: The message of the commit.
        create_pr: Whether to propose the commit instead of making it.

    Returns:
        The commit; `.oid` is its hash.

    Example:
        >>> upload.__kwdefaults__["create_pr"]
        False
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    repository = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    return api.upload_folder(
        repo_id=repository,
        folder_path=folder,
        commit_message=commit_message,
        create_pr=create_pr,
        allow_patterns=_FILES,
        ignore_patterns=["README.md"] if _has_own_card(repository, token) else None,
    )


def refer_to_backbones(
    made_by: Mapping[str, Mechanism], ids: Mapping[str, str], path: str | Path
) -> None:
    """Make sure that the base of every mechanism can be found again.

    Arguments:
        made_by: The mechanism of each variable.
        ids: Where the base of a variable can be found: `owner/name@commit`.
        path: Where the pipeline is about to be saved, for errors.

    Raises:
        CheckpointError: If a base came from a folder that nobody else has, or an id has
            no commit.
        ValueError: If an id is given for a variable that has no base.

    Example:
        >>> refer_to_backbones({}, {}, "my-pipeline")
    """
    based = {n: m for n, m in made_by.items() if isinstance(m, PretrainedMechanism)}
    if foreign := ids.keys() - based.keys():
        raise ValueError(
            f"`backbone_ids` names variables with a pretrained base: got {sorted(foreign)}, and "
            f"those with one are {sorted(based)}."
        )
    for name, repo_id in ids.items():
        repo, _, commit = repo_id.partition("@")
        based[name].refer_to(repo, commit or None)
    if lost := [name for name, m in based.items() if m.base_reference.repo is None]:
        raise CheckpointError(
            f'The base of "{lost[0]}" came from a local folder, which a saved pipeline cannot '
            "refer to. Pass `include_backbones=True` to save a copy, or say where it is "
            f'published: `backbone_ids={{"{lost[0]}": "owner/name@commit"}}`.',
            path=path,
        )
    seeing = {n: m.image_encoder for n, m in made_by.items() if m.image_encoder is not None}
    if lost := [name for name, encoder in seeing.items() if encoder.reference.repo is None]:
        raise CheckpointError(
            f'The image encoder of "{lost[0]}" came from a local folder, which a saved pipeline '
            "cannot refer to. Pass `include_backbones=True` to save a copy, or say where it is "
            f'published: `pipe.mechanisms["{lost[0]}"].image_encoder.refer_to(repo, commit)`.',
            path=path,
        )


def _has_own_card(repo_id: str, token: str | None) -> bool:
    """Tell whether a repository has a card that this library did not write."""
    from huggingface_hub import ModelCard
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return not card.is_ours(ModelCard.load(repo_id, token=token).content)
    except EntryNotFoundError:
        return False


def _check_header(index: Mapping[str, Any], class_names: Collection[str]) -> None:
    name, version = index.get("_class_name"), index.get("format_version")
    if not isinstance(name, str) or name not in class_names:
        raise ValueError(
            f"`_class_name` must be one of {sorted(class_names)}: got {name!r}. Other pipelines "
            "are loaded by their own class; code in a repository is never run."
        )
    if type(version) is not int or version < 1:
        raise ValueError(f"`format_version` must be a positive integer: got {version!r}.")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"`format_version` is {version}, and this release reads up to {FORMAT_VERSION}. The "
            "pipeline was saved by a newer release: `pip install --upgrade causal_diffusers`."
        )


def _check_entries(index: Mapping[str, Any], blueprint: Blueprint) -> None:
    header = {"_class_name", "_diffusers_version", "format_version", "graph"}
    expected, found = set(blueprint.components), index.keys() - header
    if found != expected:
        raise ValueError(
            f"every variable and every finite confounder has an entry, and nothing else: "
            f"{sorted(expected - found) or 'nothing'} is missing and "
            f"{sorted(map(str, found - expected)) or 'nothing'} is unknown."
        )
    for name in blueprint.components:
        allowed = ["ConfounderPrior"] if name in blueprint.finite else list(MECHANISMS)
        if index[name] not in [[LIBRARY, each] for each in allowed]:
            raise ValueError(
                f"`{name}` must be [{LIBRARY!r}, one of {allowed}]: got {index[name]!r}."
            )


def _check_component(config: Path, wanted: str) -> None:
    if not config.is_file():
        raise CheckpointError(
            f"{config} does not exist, and {INDEX} promises it. Copy or download the whole "
            "pipeline.",
            path=config,
        )
    if (found := read_json(config).get("_class_name")) != wanted:
        raise CheckpointError(
            f"{config} describes a {found!r}: {INDEX} promises a {wanted}.", path=config
        )
