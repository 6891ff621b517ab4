"""What does a training file say? A whole pipeline, its rows and its training.

One YAML or JSON file with these keys; those in brackets may be left out:

```yaml
graph: "D -> W -> I -> A; D <-> A"            # or the path of a graph file
variables:
  D: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]           # the labels of a categorical variable
  W: {type: categorical, labels: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}
  I: {type: image, channels: 1, height: 8, width: 8}
  A: [0, 1]
  # numbers: {type: continuous, mean: 37, scale: 0.5}, for a vector also `dim`
mechanisms:                                   # [a small network for each other variable]
  I: {pretrained: causal-diffusers/digits-ddpm, rank: 8}
  A: {width: 64, depth: 2}                    # image_encoder: facebook/dinov2-small reads I
  # a GAN instead of a diffusion model: I: {generator: me/digits-gan, candidates: 64}
confounders:                                  # [two Gaussian dimensions each]
  U_D_A: {states: 4}
data: rows.csv                                # see causal_diffusers/sources.py, or
                                              # {source: ..., split: train, rows: 100000, seed: 0}
training:                                     # [fields of `TrainingConfig`]
  seed: 0
  held_out: 0.1                               # the share of rows that the report is made from
  overrides: {I: {steps: 600, learning_rate: 5e-3}}
output: my-pipeline                           # [or `--output`]
include_backbones: false                      # [true copies frozen networks into the output]
```

In YAML `no`, `on`, `010` and `2020-01-01` are words, `1e-3` is a number, and no key may
occur twice. Paths start at the working directory.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import tempfile
import warnings
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from causal_diffusers.sources import read_graph, read_rows

if TYPE_CHECKING:
    from causal_diffusers.inference import Falsification
    from causal_diffusers.mechanisms import Mechanism
    from causal_diffusers.pipeline import CausalPipeline
    from causal_diffusers.training import FitReport, TrainingConfig, TrainingPlan
    from causal_diffusers.variables import Variable

__all__ = ["Recipe"]

_DATA = {"source", "split", "rows", "seed"}
_NOT_CONFIG = {"overrides", "held_out"}
_CATEGORICAL = {"width", "depth", "image_encoder"}
_FLOW = {*_CATEGORICAL, "bins"}
_ADAPTER = {"rank", "alpha", "target_modules", "condition_dropout", "codes", "image_encoder"}
_PRETRAINED = {"pretrained", "revision", *_ADAPTER}
_TOLD = {"conditioning", "candidates", "gates", "image_encoder"}
_GENERATOR = {"generator", "revision", *_TOLD}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a training file says; the keys are those of the file.

    Arguments:
        graph: Text that `ADMG.parse` reads, or the path of a graph file.
        variables: What each variable looks like.
        data: Where the rows are.
        mechanisms: How each variable is made.
        confounders: What each confounder looks like.
        training: How to train.
        output: Where the pipeline is saved.
        include_backbones: Whether frozen networks are copied into the output.

    Example:
        >>> recipe = Recipe.of(
        ...     {"graph": "X -> Y", "variables": {"X": [0, 1], "Y": [0, 1]}, "data": "rows.csv"}
        ... )
        >>> sorted(recipe.pipeline().components)
        ['X', 'Y']
    """

    graph: str
    variables: Mapping[str, Any]
    data: str | Mapping[str, Any]
    mechanisms: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    confounders: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    output: str | None = None
    include_backbones: bool = False

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Read a training file.

        Arguments:
            path: A .yaml, .yml or .json file.

        Returns:
            What it says.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not YAML or JSON, or has a key that is not known.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no training file `{path}`. Check the spelling.")
        text = path.read_text(encoding="utf-8")
        try:
            as_json = path.suffix.lower() == ".json"
            record = json.loads(text, object_pairs_hook=_unique) if as_json else _load_yaml(text)
        except (yaml.YAMLError, ValueError) as error:
            raise ValueError(f"`{path}` cannot be read: {' '.join(str(error).split())}.") from None
        return cls.of(record)

    @classmethod
    def of(cls, record: object) -> Recipe:
        """Check the keys of a training file.

        Arguments:
            record: What the file holds, in plain JSON.

        Returns:
            The recipe.

        Raises:
            ValueError: If a key is missing or unknown, or a value is of the wrong kind.
        """
        known = {field.name: field for field in dataclasses.fields(cls)}
        record = _mapping(record, known, "the training file")
        if missing := [k for k in ("graph", "variables", "data") if k not in record]:
            raise ValueError(
                f"A training file needs the key `{missing[0]}`: got {sorted(record)}."
            )
        recipe = cls(**record)
        recipe._check()
        return recipe

    def pipeline(self) -> CausalPipeline:
        """Build the untrained pipeline; its first weights follow from the seed.

        Returns:
            The pipeline.
        """
        import torch

        from causal_diffusers.pipeline import CausalPipeline
        from causal_diffusers.variables import Confounder

        graph = read_graph(self.graph)
        variables = {name: _variable(name, record) for name, record in self.variables.items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config().seed)
            return CausalPipeline.from_graph(
                graph,
                variables,
                {n: _mechanism(n, r, variables.get(n)) for n, r in self.mechanisms.items()},
                {name: Confounder(**record) for name, record in self.confounders.items()},
            )

    def falsify(self, level: float = 0.05) -> Falsification:
        """Test on the rows what the graph implies; nothing is trained.

        Arguments:
            level: The chance of any false alarm, in (0, 1).

        Returns:
            What the data say of the graph.
        """
        from causal_diffusers.inference import falsify

        variables = {name: _variable(name, record) for name, record in self.variables.items()}
        return falsify(read_graph(self.graph), self._rows(variables), variables, level=level)

    def config(self, variable: str | None = None) -> TrainingConfig:
        """Give the training config, or that of one variable of `overrides`.

        Arguments:
            variable: A variable named in `overrides`.

        Returns:
            The config; overrides inherit what they do not name.
        """
        from causal_diffusers.training import TrainingConfig

        fields = {field.name for field in dataclasses.fields(TrainingConfig)}
        chosen = {key: v for key, v in self.training.items() if key not in _NOT_CONFIG}
        if variable is not None:
            chosen |= self.training["overrides"][variable]
        _mapping(chosen, fields, "`training`")
        return TrainingConfig(**chosen)

    def plan(self, pipe: CausalPipeline) -> TrainingPlan:
        """Plan the training of a pipeline as the file says.

        Arguments:
            pipe: The pipeline.

        Returns:
            The plan, with the objectives that the file chooses.
        """
        overrides = {n: self.config(n).objective for n in self.training.get("overrides") or {}}
        return pipe.plan(self.config().objective, overrides)

    def train(
        self, output: str | Path, on_report: Callable[[FitReport], object] | None = None
    ) -> CausalPipeline:
        """Train the pipeline and save it; continue if it was interrupted.

        Checkpoints are kept in `checkpoints/` within the output.

        Arguments:
            output: Where to save the pipeline.
            on_report: Called, once all is saved, with the report on rows that were held
                out; None makes no report.

        Returns:
            The trained pipeline.

        Raises:
            CheckpointError: If the pipeline could not be saved, found before training.
            ValueError: If a value of the data is none of its variable.
        """
        from causal_diffusers.training import ModularTrainer
        from causal_diffusers.training.report import MisfitWarning

        pipe, output = self.pipeline(), Path(output)
        overrides = {name: self.config(name) for name in self.training.get("overrides") or {}}
        with tempfile.TemporaryDirectory() as rehearsal:  # what cannot be saved is not trained
            pipe.save_pretrained(rehearsal, include_backbones=self.include_backbones)
        rows, held_out = self._rows(pipe.variables), self.training.get("held_out")
        folder, config = output / "checkpoints", self.config()
        trainer = ModularTrainer(pipe, rows, folder, config, overrides, held_out)
        trainer.train()
        pipe.save_pretrained(output, include_backbones=self.include_backbones)
        if on_report is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", MisfitWarning)  # the report says it
                on_report(trainer.report())
        return pipe

    def _rows(self, variables: Mapping[str, Variable]) -> Mapping[str, Any]:
        options: dict[str, Any] = (
            {"source": self.data} if isinstance(self.data, str) else dict(self.data)
        )
        if "rows" in options:
            options["num_rows"] = options.pop("rows")
        return read_rows(variables=variables, **options)

    def _check(self) -> None:
        """Find what is misspelt before anything is loaded."""
        if not isinstance(self.graph, str):
            raise TypeError("`graph` is text, or the path of a graph file. Put it in quotes.")
        for key in ("variables", "mechanisms", "confounders", "training"):
            _mapping(getattr(self, key), None, f"`{key}`")
        _mapping(self.training.get("overrides", {}), self.variables, "`overrides`")
        for name, record in self.confounders.items():
            where = f"`confounders: {name}`"
            for key, value in _mapping(record, {"dim", "states"}, where).items():
                if not isinstance(value, int):
                    raise ValueError(f"{where} takes a whole number as `{key}`: got {value!r}.")  # noqa: TRY004
        if not isinstance(self.data, str):
            options = _mapping(self.data, _DATA, "`data`")
            if "source" not in options:
                raise ValueError(f"`data` needs the key `source`: got {sorted(options)}.")


def _variable(name: str, record: object) -> Variable:
    """Read a variable: a list of labels, or its description in full."""
    from causal_diffusers.errors import GraphError
    from causal_diffusers.variables import Categorical, variable_from_dict

    if isinstance(record, list):
        return Categorical(record)
    try:
        return variable_from_dict(_mapping(record, None, "a variable"))
    except ValueError as error:
        raise GraphError(f"`variables: {name}` is not understood: {error}") from None


def _mechanism(name: str, record: object, variable: Variable | None) -> Mechanism:
    """Read a mechanism: a pretrained model by name, or options."""
    from causal_diffusers.backbones import VisionEncoder
    from causal_diffusers.mechanisms import (
        CategoricalMechanism,
        DiffusionMechanism,
        FlowMechanism,
        GANMechanism,
    )
    from causal_diffusers.variables import Continuous

    options = {"pretrained": record} if isinstance(record, str) else record
    where = f"`mechanisms: {name}`"
    options = _mapping(options, _FLOW | _PRETRAINED | _GENERATOR, where)
    if "image_encoder" in options:
        options["image_encoder"] = VisionEncoder.from_pretrained(options["image_encoder"])
    if "generator" in options:
        options = _mapping(options, _GENERATOR, where)
        return GANMechanism.from_pretrained(options.pop("generator"), **options)
    if "pretrained" not in options and isinstance(variable, Continuous):
        return FlowMechanism(**_mapping(options, _FLOW, where))
    if "pretrained" not in options:
        return CategoricalMechanism(**_mapping(options, _CATEGORICAL, where))
    options = _mapping(options, _PRETRAINED, where)
    return DiffusionMechanism.from_pretrained(options.pop("pretrained"), **options)


def _mapping(record: object, known: Collection[str] | None, where: str) -> dict[str, Any]:
    """Check that a value is a mapping and, if it is said, that its keys are known."""
    if not isinstance(record, Mapping):
        raise ValueError(  # noqa: TRY004 (a wrong file, not a wrong type)
            f"{where} holds keys and values: got {record!r}. Write `key: value`."
        )
    for key in record:
        if known is not None and key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"Did you mean `{near[0]}`?" if near else f"Known are {', '.join(known)}."
            raise ValueError(f"{where} has no key `{key}`. {hint}")
    return dict(record)


def _unique(pairs: Iterable[tuple[Hashable, Any]]) -> dict[Hashable, Any]:
    found: dict[Hashable, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key `{key}` occurs twice")
        found[key] = value
    return found


class _Loader(yaml.SafeLoader):
    """YAML whose plain words are words, after the core schema of YAML 1.2; each key once."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (pyyaml's own)
        first: [(tag, rule) for tag, rule in rules if tag.rpartition(":")[2] in {"null", "merge"}]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        _unique((self.construct_object(key, deep=True), None) for key, _ in node.value)
        return super().construct_mapping(node, deep=deep)


for _kind, _rule, _first in (
    ("bool", r"(true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9]*)$", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?$", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(_rule), list(_first))


def _load_yaml(text: str) -> object:
    return yaml.load(text, Loader=_Loader)
