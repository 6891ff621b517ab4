r"""What would we see, had we intervened? A causal model, asked as a diffusers pipeline.

A query is $P(y \mid do(x), z)$. The graph decides whether what was observed determines
the answer; if so the pipeline answers by sampling, else it says why not. It is created
from a graph, trained by `ModularTrainer`, and then loaded, called, saved and shared as
every `DiffusionPipeline` is.

References:
    Modular learning of deep causal generative models for high-dimensional causal
    inference (Rahman & Kocaoglu, 2024).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any, Self

import diffusers
import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from torch import Tensor

from causal_diffusers import hub, notebook
from causal_diffusers.blueprint import Blueprint
from causal_diffusers.graphs import ADMG
from causal_diffusers.inference import Sample, sample
from causal_diffusers.inference.answerable import check_answerable, check_on_unidentified
from causal_diffusers.mechanisms import (
    CategoricalMechanism,
    ConfounderPrior,
    FlowMechanism,
    Mechanism,
    SamplingOptions,
)
from causal_diffusers.mechanisms.base import check_components, check_count
from causal_diffusers.query import Query
from causal_diffusers.stored import StoredPipeline
from causal_diffusers.variables import (
    Categorical,
    Confounder,
    Continuous,
    Experiment,
    Image,
    Variable,
)

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image as PILImage

    from causal_diffusers.graphs.estimand import Estimand
    from causal_diffusers.training import TrainingPlan

    Images = list[PILImage] | np.ndarray | Tensor

__all__ = ["CausalPipeline", "CausalPipelineOutput", "register_with_diffusers"]


@dataclasses.dataclass
class CausalPipelineOutput(BaseOutput):
    r"""The answer to a query: N draws.

    Arguments:
        images: The image variables: PIL images, or an array (N, H, W, C) or a tensor
            (N, C, H, W) in [0, 1].
        values: The labels of the categorical variables, and the numbers of the continuous
            ones: in the user's units, tuples where a value has several.
        probabilities: For the categorical outcomes, $p(y \mid pa, u)$ of every draw, with
            shape (N, K): averaged over the draws, they answer with less noise than the
            drawn labels do. For a cause of a condition, the share of each label among
            the weighed units behind the row.
        effective_sample_size: How many draws `given` rests on; None without it.
        query: What was asked, as text.
        graph: The graph that it was asked of.

    Example:
        >>> CausalPipelineOutput(images={}, values={"A": ["no"]}).values["A"]
        ['no']
    """

    images: dict[str, Images]
    values: dict[str, list[Any]]  # type: ignore[override]
    probabilities: dict[str, Tensor] | None = None
    effective_sample_size: float | None = None
    query: str | None = None
    graph: ADMG | None = None

    def to_pandas(self) -> pd.DataFrame:
        """Put the draws in a table, a row for each; images are cells.

        Example:
            >>> CausalPipelineOutput(images={}, values={"A": ["no", "yes"]}).to_pandas().shape
            (2, 1)
        """
        import pandas as pd

        columns = {**self.values, **{name: list(images) for name, images in self.images.items()}}
        return pd.DataFrame(columns)

    def _repr_html_(self) -> str:
        return notebook.to_html(self.images, self.values, query=self.query, graph=self.graph)


class CausalPipeline(StoredPipeline):
    """A structural causal model that is asked, saved and shared as a pipeline.

    Create one with `from_graph`, or load one with `from_pretrained`.

    Arguments:
        graph: The graph and what its variables look like, in plain JSON; see `hub`.
        components: The mechanism of each variable, and the prior of each finite
            confounder, by name.

    Raises:
        GraphError: If the graph is malformed.
        ValueError: If a component is missing, unknown or made for something else.

    Example:
        >>> pipe = CausalPipeline.from_graph(
        ...     "smokes -> tar -> cancer; smokes <-> cancer",
        ...     variables={v: Categorical(["no", "yes"]) for v in ("smokes", "tar", "cancer")},
        ... )
        >>> out = pipe(num_samples=4, do={"smokes": "yes"})
        >>> out.values["smokes"], len(out.values["cancer"])
        (['yes', 'yes', 'yes', 'yes'], 4)
    """

    @classmethod
    def from_graph(
        cls,
        graph: ADMG | str,
        variables: Mapping[str, Variable],
        mechanisms: Mapping[str, Mechanism] | None = None,
        confounders: Mapping[str, Confounder] | None = None,
    ) -> Self:
        """Create an untrained pipeline.

        Arguments:
            graph: Who listens to whom: a graph, or text that `ADMG.parse` reads.
            variables: What each variable looks like.
            mechanisms: How each variable is made. Categorical variables that are left out
                get a `CategoricalMechanism`, continuous ones a `FlowMechanism`.
            confounders: What each confounder looks like; `Confounder()` where left out.

        Returns:
            The pipeline.

        Raises:
            GraphError: If the graph is malformed, or a name is not in it.
            TypeError: If an argument is of another type, such as a class for a mechanism.
            ValueError: If an image has no mechanism, a mechanism does not fit, or two
                variables share one.

        Example:
            >>> two = Categorical([0, 1])
            >>> pipe = CausalPipeline.from_graph("X -> Y", {"X": two, "Y": two})
            >>> sorted(pipe.components)
            ['X', 'Y']
        """
        graph = _as_graph(graph)
        blueprint = Blueprint.of(graph, variables, confounders)
        graph.select(mechanisms or {}, "mechanisms")
        check_components(mechanisms or {})
        components: dict[str, Any] = {}
        for name, variable in blueprint.variables.items():
            components[name] = (mechanisms or {}).get(name) or _default_mechanism(name, variable)
            blueprint.bind(name, components[name])
        for name in blueprint.finite:
            components[name] = ConfounderPrior(states=blueprint.confounders[name].width)
        return cls(blueprint.to_dict(), **components)

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """What was set by hand in each regime of the data; training writes it."""
        return self._blueprint.experiments

    @experiments.setter
    def experiments(self, experiments: Iterable[Experiment]) -> None:
        self._blueprint = dataclasses.replace(self._blueprint, experiments=tuple(experiments))
        self.register_to_config(graph=self._blueprint.to_dict())

    def plan(
        self, objective: str | None = None, overrides: Mapping[str, str | None] | None = None
    ) -> TrainingPlan:
        """Plan the training: what is trained in which order, by which objective.

        Arguments:
            objective: The name of an objective, as in `TrainingConfig`; None takes what
                suits the mechanism.
            overrides: The objective of the district of a variable instead, by variable.

        Returns:
            The plan; print it to read it.

        Raises:
            KeyError: If an objective is chosen for something that is no variable.
            ValueError: If an objective is not known, or cannot train a mechanism.

        Example:
            >>> two = Categorical([0, 1])
            >>> pipe = CausalPipeline.from_graph("X -> Y", {"X": two, "Y": two})
            >>> len(pipe.plan())
            2
        """
        from causal_diffusers.training import TrainingPlan

        plan = TrainingPlan.of(self.graph, self.mechanisms, objective, overrides)
        return plan.with_experiments(self.experiments)

    def identify(
        self,
        outcomes: str | Iterable[str],
        do: str | Iterable[str] = (),
        given: str | Iterable[str] = (),
    ) -> Estimand:
        """Express a query by what was observed, in all regimes that it was trained on.

        Arguments:
            outcomes: The variables asked about.
            do: The variables intervened on; values may be given, and matter only where an
                experiment tried some values and not all.
            given: The variables conditioned on.

        Returns:
            The estimand.

        Raises:
            GraphError: If a name is unknown, or in two of the three places.
            NotIdentifiableError: If the graph does not determine the answer; `.hedge`
                says why.

        Example:
            >>> two = Categorical([0, 1])
            >>> pipe = CausalPipeline.from_graph("X -> Y", {"X": two, "Y": two})
            >>> print(pipe.identify("Y", do="X"))
            P(Y | X)
        """
        query = Query.ask(self.graph, outcomes, do, given)
        return query.estimand(self.graph, self.experiments, self.variables)

    @torch.no_grad()
    def __call__(
        self,
        num_samples: int = 1,
        do: Mapping[str, Any] | None = None,
        given: Mapping[str, Any] | None = None,
        outcomes: str | Iterable[str] | None = None,
        *,
        on_unidentified: str = "raise",
        num_inference_steps: int | None = None,
        guidance_scale: float = 1.0,
        generator: torch.Generator | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        batch_size: int = 256,
        pool_size: int | None = None,
        callback_on_variable_end: Callable[[CausalPipeline, str, Tensor], object] | None = None,
    ) -> CausalPipelineOutput | tuple[dict[str, Images], dict[str, list[Any]]]:
        r"""Draw from $P(y \mid do(x), z)$.

        Arguments:
            num_samples: N, how many draws.
            do: The values $x$ by name: labels, numbers or images; one, or one for each draw.
            given: The values $z$ of categorical and continuous variables, likewise.
            outcomes: $Y$. Nothing that they do not depend on is sampled, and what is
                identified is their joint distribution. None asks for all other variables.
            on_unidentified: What to do if the graph does not determine the answer: `"raise"`,
                or `"warn"` and answer as one of the models that fit the data equally well.
            num_inference_steps: How many denoising steps an image takes.
            guidance_scale: More than 1 sharpens images, and is another distribution.
            generator: The source of randomness, on any device.
            output_type: `"pil"`, `"np"` (N, H, W, C) or `"pt"` (N, C, H, W), in [0, 1].
            return_dict: Whether to return a `CausalPipelineOutput` or `(images, values)`.
            batch_size: How many images are denoised at once.
            pool_size: How many draws `given` weighs; by default 20 for each sample, and at
                least 1,000.
            callback_on_variable_end: Called with the pipeline, the name and the encoded
                values of each variable that was sampled.

        Returns:
            The draws of the outcomes, beside the values of `do` and `given`.

        Raises:
            NotIdentifiableError: If the graph does not determine the answer.
            GraphError: If a name is unknown, or in two of `outcomes`, `do` and `given`.
            ShapeError: If there are neither one nor N values, or an image has another shape.
            TypeError: If `generator` is no single generator.
            ValueError: If a value is none of its variable, `given` names an image, or an
                option is unknown or out of range.
        """
        _check_options(on_unidentified, output_type, generator)
        check_count("num_samples", num_samples)
        query = Query.ask(self.graph, outcomes, do, given)
        fixed, evidence = query.encode(self.variables, num_samples)
        check_answerable(query, self.scm, self.experiments, on_unidentified)
        tell = callback_on_variable_end
        answer = sample(
            self.scm,
            num_samples,
            outcomes=query.outcomes,
            do=fixed,
            given=evidence,
            generator=generator,
            options=SamplingOptions(
                num_inference_steps, guidance_scale, batch_size, self.progress_bar
            ),
            pool_size=pool_size,
            on_variable_end=None if tell is None else lambda n, v: tell(self, n, v),
        )
        output = self._decode(answer, query, output_type)
        return output if return_dict else (output.images, output.values)

    def _decode(self, answer: Sample, query: Query, output_type: str) -> CausalPipelineOutput:
        asked = {*query.outcomes, *query.do, *query.given}
        images: dict[str, Images] = {}
        values: dict[str, list[Any]] = {}
        for name, variable in self.variables.items():
            if name in asked and isinstance(variable, Image):
                decoded = variable.decode(answer.units.values[name]).cpu()
                images[name] = _convert(decoded, output_type)
            elif name in asked and isinstance(variable, Categorical | Continuous):
                values[name] = variable.decode(answer.units.values[name])
        return CausalPipelineOutput(
            images=images,
            values=values,
            probabilities={name: p.cpu() for name, p in answer.probabilities.items()},
            effective_sample_size=answer.effective_sample_size,
            query=str(query),
            graph=self.graph,
        )


def register_with_diffusers() -> None:
    """Let plain `DiffusionPipeline.from_pretrained` find `CausalPipeline`.

    It runs when this file is imported, and is the only place that writes to diffusers'
    tables. Where these have moved, `CausalPipeline.from_pretrained` still works.

    Example:
        >>> import diffusers
        >>> register_with_diffusers()
        >>> diffusers.CausalPipeline is CausalPipeline
        True
    """
    diffusers.CausalPipeline = CausalPipeline  # type: ignore[attr-defined]
    with contextlib.suppress(ImportError, AttributeError):
        from diffusers.pipelines.pipeline_loading_utils import LOADABLE_CLASSES

        methods = {"ModelMixin": ["save_pretrained", "from_pretrained"]}
        LOADABLE_CLASSES.setdefault(hub.LIBRARY, methods)


def _as_graph(graph: object) -> ADMG:
    if isinstance(graph, (ADMG, str)):
        return ADMG.parse(graph) if isinstance(graph, str) else graph
    raise TypeError(
        f"`graph` must be an ADMG or text: got {type(graph).__name__}. Write "
        "`ADMG.from_edges(...)` for a list of edges, `ADMG.from_networkx(...)` for a networkx "
        'graph, or text such as "X -> Y".'
    )


def _check_options(on_unidentified: str, output_type: str, generator: object) -> None:
    if not isinstance(generator, (torch.Generator, NoneType)):
        raise TypeError(
            f"`generator` must be one `torch.Generator`: got a {type(generator).__name__}. One is "
            "enough for all draws of a call; for a seed of its own each, call once for each."
        )
    check_on_unidentified(on_unidentified)
    if output_type not in {"pil", "np", "pt"}:
        raise ValueError(f'`output_type` is "pil", "np" or "pt": got {output_type!r}.')


def _default_mechanism(name: str, variable: Variable) -> Mechanism:
    if isinstance(variable, Categorical):
        return CategoricalMechanism()
    if isinstance(variable, Continuous):
        return FlowMechanism()
    raise ValueError(
        f'"{name}" is an image, and an image has no default mechanism: got none in `mechanisms`. '
        f'Give it a pretrained one, `mechanisms={{"{name}": '
        'DiffusionMechanism.from_pretrained("owner/name")}`.'
    )


def _convert(images: Tensor, output_type: str) -> Images:
    """Turn images (N, C, H, W) in [0, 1] into what was asked for."""
    if output_type == "pt":
        return images
    array = images.permute(0, 2, 3, 1).numpy()
    return array if output_type == "np" else DiffusionPipeline.numpy_to_pil(array)


register_with_diffusers()
