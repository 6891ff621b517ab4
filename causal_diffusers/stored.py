r"""How does a pipeline whose components are named by a graph live among diffusers' own?

diffusers learns the components of a pipeline from the signature of `__init__`. Here they
are the variables of a graph, which is known only when an index is read. Four hooks of
diffusers are private and overridden, all in this file: `_get_signature_keys`,
`_get_signature_types`, `extract_init_dict`, and the signature of `__init__` itself.
"""

from __future__ import annotations

import abc
import collections
import inspect
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from diffusers import DiffusionPipeline  # noqa: TID253 (what this file is about)
from diffusers import __version__ as diffusers_version  # noqa: TID253

from causal_diffusers import card, hub
from causal_diffusers.blueprint import Blueprint
from causal_diffusers.graphs import ADMG
from causal_diffusers.mechanisms import ConfounderPrior, Mechanism
from causal_diffusers.scm import StructuralCausalModel
from causal_diffusers.variables import Confounder, Variable

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

__all__ = ["StoredPipeline"]


class StoredPipeline(DiffusionPipeline, abc.ABC):
    """A pipeline with a component for each variable of a graph: made, saved, loaded.

    Arguments:
        graph: The graph and what its variables look like, in plain JSON; see `hub`.
        components: The mechanism of each variable, and the prior of each finite
            confounder, by name.

    Raises:
        GraphError: If the graph is malformed.
        ValueError: If a component is missing, unknown or made for something else.

    Example:
        >>> StoredPipeline.config_name
        'model_index.json'
    """

    config_name = hub.INDEX

    def __init__(self, graph: Mapping[str, Any], **components: Any) -> None:
        super().__init__()
        self._blueprint = Blueprint.from_dict(graph)
        _check_components(self._blueprint, components)
        self.register_to_config(graph=self._blueprint.to_dict())
        self.register_modules(**{name: components[name] for name in self._blueprint.components})
        self.scm  # noqa: B018 (refuses mechanisms that are bound to something else)

    @property
    def graph(self) -> ADMG:
        """Who listens to whom."""
        return self._blueprint.graph

    @property
    def variables(self) -> dict[str, Variable]:
        """What each variable looks like."""
        return dict(self._blueprint.variables)

    @property
    def confounders(self) -> dict[str, Confounder]:
        """What each confounder looks like."""
        return dict(self._blueprint.confounders)

    @property
    def mechanisms(self) -> dict[str, Mechanism]:
        """How each variable is made; one that was left out on loading is missing."""
        found = {name: getattr(self, name) for name in self.graph.variables}
        return {name: mechanism for name, mechanism in found.items() if mechanism is not None}

    @property
    def scm(self) -> StructuralCausalModel:
        """The structural causal model that the components make up."""
        priors = {name: getattr(self, name) for name in self._blueprint.finite}
        return StructuralCausalModel(
            self.graph, self.variables, self.mechanisms, self.confounders, priors
        )

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | os.PathLike[str],
        *,
        include_backbones: bool = False,
        backbone_ids: Mapping[str, str] | None = None,
        safe_serialization: bool = True,
        variant: str | None = None,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **hub_options: Any,
    ) -> None:
        """Write the pipeline to a folder: the index, a card and each component.

        Frozen bases are referred to, not copied.

        Arguments:
            save_directory: The folder; it is created.
            include_backbones: Whether to write the frozen bases too, which makes the
                folder independent of their repositories.
            backbone_ids: Where the base of a variable is published, `owner/name@commit`,
                for bases that were loaded from a folder.
            safe_serialization: Always true: weights are safetensors.
            variant: A tag in the names of the weights, such as `"fp16"`.
            push_to_hub: Whether to upload the folder as well.
            repo_id: The repository; by default the name of the folder.
            hub_options: `token`, `private`, `commit_message`, `create_pr`.

        Raises:
            CheckpointError: If a base came from a folder that nobody else has.
            ValueError: If a component cannot be saved, or pickle is asked for.
        """
        _check_safe(safe_serialization)
        folder = Path(save_directory)
        _check_savable(self.components)
        if not include_backbones:
            hub.refer_to_backbones(self.mechanisms, backbone_ids or {}, folder)
        for name, component in self.components.items():
            copied = include_backbones and isinstance(component, Mechanism)
            extra = {"include_backbone": True} if copied else {}
            component.save_pretrained(folder / name, variant=variant, **extra)
        (folder / hub.INDEX).write_text(self.to_json_string(), encoding="utf-8")
        self._write_card(folder / "README.md", repo_id or folder.name, include_backbones)
        if push_to_hub:
            hub.upload(folder, repo_id or folder.name, **hub_options)

    def push_to_hub(  # type: ignore[override]
        self,
        repo_id: str,
        *,
        include_backbones: bool = False,
        backbone_ids: Mapping[str, str] | None = None,
        variant: str | None = None,
        **hub_options: Any,
    ) -> CommitInfo:
        """Upload the pipeline to the Hugging Face Hub.

        Arguments:
            repo_id: The repository, `owner/name`; it is created.
            include_backbones: Whether to upload the frozen bases too.
            backbone_ids: Where the base of a variable is published; see `save_pretrained`.
            variant: A tag in the names of the weights, such as `"fp16"`.
            hub_options: `token`, `private`, `commit_message`, `create_pr`.

        Returns:
            What the Hub says of the commit; `.oid` is its hash.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(
                folder,
                include_backbones=include_backbones,
                backbone_ids=backbone_ids,
                variant=variant,
                repo_id=repo_id,
            )
            return hub.upload(Path(folder), repo_id, **hub_options)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        source: str | os.PathLike[str],
        *,
        backbones: Mapping[str, str | os.PathLike[str]] | None = None,
        dtype: torch.dtype | Mapping[str, torch.dtype] | None = None,
        variant: str | None = None,
        device_map: str | torch.device | None = None,
        **options: Any,
    ) -> Self:
        """Load a pipeline from a folder or from the Hugging Face Hub.

        Nothing in the folder is executed; see `hub` for what is refused.

        Arguments:
            source: A folder, a shipped id `causal-diffusers/<name>`, or a repository id.
            backbones: Where the base of a variable has moved to: a folder or a repository
                with the same weights.
            dtype: The precision: one, or one for each component by name and `"default"`.
            variant: A tag in the names of the weights, such as `"fp16"`.
            device_map: The device to put the pipeline on.
            options: `revision`, `token`, `cache_dir`, `local_files_only` and
                `force_download` for the Hub; and components by name: a mechanism to use
                instead, or None to leave one out.

        Returns:
            The pipeline, in eval mode.

        Raises:
            CheckpointError: If a file is missing, damaged, of a newer release, or asks
                for something that is refused.
            ValueError: If remote code or pickle is asked for.
            TypeError: If an option is unknown.
        """
        dtype = options.pop("torch_dtype", dtype)
        _check_loading(options)
        downloading = {key: options.pop(key) for key in hub.DOWNLOADING if key in options}
        folder = hub.find_folder(source, **downloading)
        blueprint, classes = hub.read_index(folder, cls._class_names())
        blueprint.graph.select(backbones or {}, "backbones")
        _check_known(blueprint, options)
        for name in options.keys() & blueprint.variables.keys():
            if isinstance(options[name], Mechanism):
                blueprint.bind(name, options[name])
        components = {
            name: options[name]
            if name in options
            else hub.load_component(
                folder / name,
                classes[name],
                dtype=_choose(dtype, name),
                variant=variant,
                backbone=(backbones or {}).get(name),
            )
            for name in blueprint.components
        }
        pipe = cls(blueprint.to_dict(), **components)
        pipe.register_to_config(_name_or_path=str(source))
        return pipe if device_map is None else pipe.to(device_map)

    @classmethod
    def from_pipe(cls, pipeline: DiffusionPipeline, **components: Any) -> Self:
        """Make a pipeline of the components of another, sharing their weights.

        Arguments:
            pipeline: The other pipeline.
            components: Components to use instead.

        Returns:
            The new pipeline.

        Raises:
            ValueError: If the other pipeline is no causal pipeline.
        """
        if not isinstance(pipeline, StoredPipeline):
            raise ValueError(  # noqa: TRY004 (diffusers raises a ValueError here too)
                f"`from_pipe` takes a causal pipeline: got {type(pipeline).__name__}, which has "
                "no graph. Use `from_graph`, with its model as a mechanism."
            )
        return cls(pipeline._blueprint.to_dict(), **{**pipeline.components, **components})

    @classmethod
    def download(cls, repo_id: str, **options: Any) -> str:  # type: ignore[override]
        """Download a pipeline without loading it.

        Arguments:
            repo_id: The repository, `owner/name`.
            options: `revision`, `cache_dir`, `token`, `local_files_only`, `force_download`.

        Returns:
            The folder in the cache.
        """
        return str(hub.find_folder(repo_id, **options))

    def enable_model_cpu_offload(self, *_: Any, **__: Any) -> None:  # type: ignore[override]
        """Refuse: components are called by methods that offloading does not see.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            "`enable_model_cpu_offload` is not supported: mechanisms sample by methods of their "
            'own, and offloading moves only what is called by `forward`. Use `.to("cuda")`, with '
            "a smaller `batch_size` where memory is short."
        )

    def to_json_string(self) -> str:
        """Write the index, without the local path that diffusers would add to it."""
        classes = {n: type(c).__name__ for n, c in self.components.items() if c is not None}
        return hub.index_json(type(self).__name__, diffusers_version, self._blueprint, classes)

    def _write_card(self, path: Path, repo_id: str, include_backbones: bool) -> None:
        """Write the card, unless there is one of the user's own."""
        if not path.is_file() or card.is_ours(path.read_text(encoding="utf-8")):
            text = card.write(
                repo_id,
                self.graph,
                self.variables,
                self.mechanisms,
                self.confounders,
                include_backbones=include_backbones,
            )
            path.write_text(text, encoding="utf-8")

    @classmethod
    def _class_names(cls) -> set[str]:
        """Name the classes whose folders this class may load."""
        return {c.__name__ for c in cls.__mro__ if issubclass(c, StoredPipeline)}

    @classmethod
    def _get_signature_keys(cls, obj: type | StoredPipeline) -> tuple[list[str], list[str]]:
        """Name the components of a pipeline; those of a class are not known."""
        names = () if isinstance(obj, type) else obj._blueprint.components
        return sorted(names), ["graph"]

    @classmethod
    def _get_signature_types(cls) -> dict[str, tuple[Any, ...]]:
        """Promise no type for any component: `__init__` checks them itself."""
        return collections.defaultdict(lambda: (inspect.Signature.empty,))

    @classmethod
    def extract_init_dict(  # type: ignore[override]
        cls, config_dict: Mapping[str, Any], **unknown: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Read what `__init__` takes from an index, which may come from anybody."""
        blueprint = hub.check_index(config_dict, cls._class_names())
        if unknown:
            raise TypeError(
                f"`DiffusionPipeline.from_pretrained` cannot pass on {sorted(unknown)}. Use "
                f"`{cls.__name__}.from_pretrained`, which can."
            )
        names = ("graph", *blueprint.components)
        return {name: config_dict[name] for name in names}, {}, {}


_self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
_graph = inspect.Parameter("graph", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None)
StoredPipeline.__init__.__signature__ = inspect.Signature([_self, _graph])  # type: ignore[attr-defined]


def _check_components(blueprint: Blueprint, components: Mapping[str, Any]) -> None:
    missing = [name for name in blueprint.components if name not in components]
    foreign = [name for name in components if name not in blueprint.components]
    if missing or foreign:
        raise ValueError(
            "A pipeline has a mechanism for each variable and a prior for each finite "
            f"confounder: {', '.join(missing) or 'nothing'} is missing and "
            f"{', '.join(foreign) or 'nothing'} is unknown. `from_graph` fills in the defaults."
        )
    for name, component in components.items():
        wanted = ConfounderPrior if name in blueprint.finite else Mechanism
        if component is not None and not isinstance(component, wanted):
            raise ValueError(
                f'"{name}" must be a {wanted.__name__}: got {type(component).__name__}.'
            )
        if isinstance(component, Mechanism) and not component.is_bound:
            raise ValueError(
                f'"{name}" must be bound to its variable: got a new {type(component).__name__}. '
                "Create the pipeline with `from_graph`."
            )


def _check_safe(use_safetensors: object) -> None:
    if not use_safetensors:
        raise ValueError(
            "Weights are safetensors: got a request for pickle, which runs code when it is "
            "loaded. Drop the argument."
        )


def _check_loading(options: dict[str, Any]) -> None:
    """Refuse what would run code; drop what changes nothing here."""
    _check_safe(options.pop("use_safetensors", None) is not False)
    for key in ("low_cpu_mem_usage", "disable_mmap"):
        options.pop(key, None)
    for key in ("trust_remote_code", "custom_pipeline", "custom_revision"):
        if options.pop(key, None):
            raise ValueError(
                f"`{key}` would run code from a repository, which `CausalPipeline` never does. "
                "Import your own subclass and call its `from_pretrained`."
            )


def _check_known(blueprint: Blueprint, options: Mapping[str, Any]) -> None:
    if unknown := options.keys() - set(blueprint.components):
        raise TypeError(
            f"`from_pretrained` does not know {sorted(unknown)}: neither an option nor one of "
            f"the components {list(blueprint.components)}. The graph cannot be replaced, for "
            "mechanisms are trained for it; `from_graph` combines them with another one."
        )


def _choose(dtype: object, name: str) -> torch.dtype | None:
    """Find the precision of one component."""
    chosen = dtype.get(name, dtype.get("default")) if isinstance(dtype, Mapping) else dtype
    if chosen is not None and not isinstance(chosen, torch.dtype):
        raise TypeError(f"`dtype` must be a `torch.dtype`: got {chosen!r} for {name}.")
    return chosen


def _check_savable(components: Mapping[str, Any]) -> None:
    for name, component in components.items():
        ours = type(component).__module__.startswith(f"{hub.LIBRARY}.")
        if not ours or type(component).__name__ not in hub.COMPONENTS:
            raise ValueError(
                f'"{name}" cannot be saved: got {type(component).__name__}, and a pipeline on '
                f"disk holds only {', '.join(hub.COMPONENTS)}. Save it by itself, and pass it "
                f"to `from_pretrained(..., {name}=...)`."
            )
