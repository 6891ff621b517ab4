r"""Which graph made the data? One forward pass of an attention model.

Tokens are variables, seen through the moments of their samples (`summary`); each pair has a
state. A layer first attends from every variable to its candidate causes by ridge
regression, with prior variances that the present edge probabilities give (`regression`);
then the candidate causes of a variable attend to each other, and the effects likewise; then
the two ways of a pair are weighed. The last layer's probabilities are the weighted
adjacency's. They are exclusive: of two variables the first causes the second, the second
the first, or neither,

$$ P(i \to j) = \frac{e^{\ell_{ij}}}{1 + e^{\ell_{ij}} + e^{\ell_{ji}}} . $$

No parameter belongs to a variable, hence to permute the columns is to permute the answer.
What is known beforehand, which edges are possible and how likely any edge is, is an input;
a family of tasks (`family`) learns that input from data.

References:
    Learning causal graphs at scale: a foundation model approach (Yin, Gao & Yu, 2025).
    Amortized inference for causal structure learning (Lorch et al., 2022), Sec. 4.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from causal_diffusers.discovery.beforehand import UNKNOWN_DENSITY, edge_odds
from causal_diffusers.discovery.edges import Edges, pair_probabilities
from causal_diffusers.discovery.family import Family
from causal_diffusers.discovery.layers import Layer, look
from causal_diffusers.discovery.regression import regress
from causal_diffusers.discovery.summary import TOLD, Summary
from causal_diffusers.hub import find_folder, upload
from causal_diffusers.mechanisms.component import Component

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

__all__ = ["ADAG"]

_NEVER, _LEAST, _SURE, _WEIGHED = -30.0, 1e-6, 8.0, 0.1
_CARD = """---
library_name: diffusers
tags: [causal-discovery, causal-diffusers]
---
# {repo_id}
Proposes a causal graph for a table of numbers: `causal_diffusers.discover(rows, "{repo_id}")`.
{of}"""
_MOST_LAYERS, _MOST_WIDTH, _PAIRS = 64, 1024, 12_800


class ADAG(Component):
    """The attention model that proposes a graph.

    `discover` asks it. A model of a family with a shared order or graph is tied to the
    variables of the family, by name.

    Arguments:
        width: The length of the state of a pair, in [1, 1024].
        layers: How often the probabilities are revised, in [1, 64].
        heads: Heads of attention; divides `width`.
        bent: Whether it learned from causes that act through bent functions.
        family: What was learned of a family of tasks, in plain JSON; None for any data.

    Raises:
        ValueError: If an argument is out of range, or `family` describes none.

    Example:
        >>> model = ADAG(width=4, layers=1)
        >>> data = torch.randn(2, 10, 3, generator=torch.Generator().manual_seed(0))
        >>> model.edges(data).probabilities.shape
        torch.Size([2, 3, 3])
    """

    @register_to_config
    def __init__(
        self,
        width: int = 32,
        layers: int = 4,
        heads: int = 2,
        bent: bool = False,
        family: dict | None = None,
    ) -> None:
        super().__init__()
        sizes = width, layers, heads
        if any(type(size) is not int or size < 1 for size in sizes) or width % heads:
            raise ValueError(
                f"`width`, `layers` and `heads` are positive, and heads divide width: got {sizes}."
            )
        if layers > _MOST_LAYERS or width > _MOST_WIDTH:
            raise ValueError(
                f"`ADAG` has at most {_MOST_LAYERS} layers and a width of {_MOST_WIDTH}: got "
                f"{layers} and {width}."
            )
        self.family = None if family is None else Family.from_dict(family)
        self.first = nn.Linear(TOLD, width)
        self.guess = nn.Linear(TOLD, 1)
        nn.init.zeros_(self.guess.weight)
        nn.init.zeros_(self.guess.bias)
        self.blocks = nn.ModuleList(Layer(width, heads) for _ in range(layers))

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, source: str | os.PathLike[str] = "causal-diffusers/adag", **loading: Any
    ) -> Self:
        """Load a model: the shipped one, a folder, or one from the Hub.

        Arguments:
            source: An id `causal-diffusers/<name>`, a folder, or a repository id.
            loading: `dtype` and `variant`; for a repository `revision`, `token`,
                `cache_dir`, `local_files_only` and `force_download`.

        Returns:
            The model, in eval mode.

        Raises:
            CheckpointError: If there is none, or it is refused.

        Example:
            >>> ADAG.from_pretrained("./no/such/folder")
            Traceback (most recent call last):
            ...
            causal_diffusers.errors.CheckpointError: ...
        """
        own = {
            key: loading.pop(key) for key in ("dtype", "torch_dtype", "variant") & loading.keys()
        }
        return super().from_pretrained(find_folder(source, **loading), **own)

    def push_to_hub(  # type: ignore[override]
        self, repo_id: str, *, variant: str | None = None, **hub_options: Any
    ) -> CommitInfo:
        """Upload the model to the Hugging Face Hub.

        Arguments:
            repo_id: The repository, `owner/name`; it is created.
            variant: A tag in the name of the weights.
            hub_options: `token`, `private`, `commit_message`, `create_pr`.

        Returns:
            What the Hub says of the commit; `.oid` is its hash.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, variant=variant)
            of = f"Of the {self.family.setting} family it was tuned on.\n" if self.family else ""
            card = _CARD.format(repo_id=repo_id, of=of)
            Path(folder, "README.md").write_text(card, encoding="utf-8")
            hub_options.setdefault("commit_message", "Upload ADAG")
            return upload(Path(folder), repo_id, **hub_options)

    def forward(
        self, summary: Summary, possible: Tensor, prior: Tensor, knows_prior: Tensor
    ) -> list[Edges]:
        """Judge the edges, layer after layer.

        Arguments:
            summary: Of B data sets.
            possible: Which edges are not ruled out, booleans with shape (B, d, d).
            prior: The log odds of each edge against none, with shape (B, d, d).
            knows_prior: Whether to trust these, booleans with shape (B,).

        Returns:
            What each layer says; the last one's word counts.
        """
        told = summary.features().to(self.first.weight.dtype)
        seen = torch.cat([told, _beforehand(possible, knows_prior).to(told)], dim=-1)
        state, deviation = self.first(seen), torch.zeros_like(told[:, 0, :, 0])
        logits = torch.where(possible, prior + self.guess(seen)[..., 0], _NEVER)
        found = [Edges(logits, torch.zeros_like(logits), deviation)]
        for block in self.blocks:
            with torch.no_grad():  # every layer looks anew, and learns from what it sees only
                p = pair_probabilities(logits)
                p = torch.where(possible, p.clamp(min=_LEAST), 0)
                evidence = regress(summary.covariance, summary.count, p, (2 * deviation).exp())
                news = look(evidence, p, logits, deviation, prior)
            state, change, weights, deviation = block(state, news, deviation)
            logits = torch.where(possible, prior + change, _NEVER)
            found.append(Edges(logits, weights, deviation))
        return found

    @torch.no_grad()
    def edges(
        self,
        data: Tensor,
        possible: Tensor | None = None,
        required: Tensor | None = None,
        *,
        density: float | None = None,
        deviation: float | None = None,
    ) -> Edges:
        """Judge the edges of data sets.

        Arguments:
            data: Data sets with the same variables, with shape (B, n, d), columns in the
                order of the family if the model has one.
            possible: Which edges are not ruled out, booleans with shape (d, d); all if None.
            required: Which edges are there for sure, likewise; none if None.
            density: The chance that a pair of variables is joined, if known.
            deviation: The standard deviation of all noises, if known, in units of the data.

        Returns:
            What the last layer says; the weights, in units of the data, are those of the ridge
            regression that its probabilities lead to, 0 for edges below a tenth.

        Raises:
            ValueError: If the data hold a constant or something else than finite numbers, the
                model is of a family with other columns or in half precision, or a number is
                out of range.
        """
        _check_data(data)
        _check_precision(self.first.weight.dtype)
        _check_range(density, deviation)
        B, _, d = data.shape
        if (most := max(4, _PAIRS // d**2)) < B:  # what fits the cache is faster
            told: dict[str, Any] = {"density": density, "deviation": deviation}
            parts = [self.edges(part, possible, required, **told) for part in data.split(most)]
            return Edges.cat(parts)
        able = ~torch.eye(d, dtype=torch.bool)
        able = able if possible is None else able & possible.cpu()
        odds = edge_odds(density or UNKNOWN_DENSITY, able)
        knows = density is not None
        if self.family is not None:
            _check_family(d, density, self.family)
            if self.family.variables is not None:
                able = able & self.family.possible
            odds, knows = self.family.odds(), True
            known = self.family.deviation if self.family.knows_noise else None
            deviation = known if deviation is None else deviation
        if required is not None:
            odds = torch.where(required, _SURE, odds)
            able = able & ~(required & ~required.mT).mT
        summary = Summary.of(data.to(self.device), deviation)
        shape, here = (B, d, d), summary.unit.device
        knows_prior = torch.full_like(summary.unit, knows).bool()
        able, odds = able.to(here).expand(shape), odds.to(here).expand(shape)
        last = self.forward(summary, able, odds, knows_prior)
        logits, noise = last[-1].logits, last[-1].deviation
        p = pair_probabilities(logits)
        p = torch.where(p >= _WEIGHED, p, 0)  # effects that nobody believes in are no causes
        seen = regress(summary.covariance, summary.count, p, (2 * noise).exp())
        return Edges(logits, seen.if_present, noise + summary.unit.log()[:, None])

    def fine_tune(
        self,
        tasks: Sequence[Tensor],
        setting: str,
        variables: Sequence[str],
        *,
        steps: int = 500,
        rate: float = 1e-3,
        seed: int = 0,
        tell: Callable[[int, float], None] | None = None,
    ) -> Self:
        """Learn what the tasks of a family share; no graph is needed.

        First `Family.fit`, from the data alone, then `steps` of dreams of that family.

        Arguments:
            tasks: Data sets of the same variables, each with shape (n, d).
            setting: What they share: `"heterogeneous"` one graph, `"order-consistent"` one
                causal order, `"general"` nothing but their density.
            variables: The names of the columns.
            steps: Steps of the optimiser; 0 leaves the weights as they are.
            rate: The peak of the learning rate.
            seed: Where the randomness comes from.
            tell: Is told every step and its loss.

        Returns:
            Another model, of that family.

        Raises:
            ValueError: If the tasks are none, differ in their columns, or hold something
                else than finite numbers.
        """
        from causal_diffusers.discovery.lessons import learn

        tasks = _checked(tasks, variables)
        family = Family.fit(
            tasks,
            setting,
            variables,
            guess=lambda data: self.edges(data).probabilities,
            generator=torch.Generator().manual_seed(seed),
        )
        kept = {key: self.config[key] for key in ("width", "layers", "heads", "bent")}
        model = type(self)(**kept, family=family.to_dict())
        model.load_state_dict(self.state_dict())
        nn.Module.to(model, self.device)
        if steps:
            learn(model, family.dream, steps, rate=rate, seed=seed, tell=tell)
        return model.eval()


def _beforehand(possible: Tensor, knows_prior: Tensor) -> Tensor:
    knows = knows_prior[:, None, None].expand(possible.shape)
    return torch.stack([possible.float(), possible.mT.float(), knows.float()], dim=-1)


def _check_data(data: Tensor) -> None:
    if data.dim() != 3 or data.shape[1] < 2:
        raise ValueError(
            f"`data` has shape (B, n, d), n at least 2: got {tuple(data.shape)}. Write "
            "`data[None]` for one data set."
        )
    if not _is_usable(data):
        raise ValueError("`data` should hold finite numbers that vary in every column.")


def _is_usable(data: Tensor) -> bool:
    """Tell whether all numbers of shape (..., n, d) are finite and vary in every column."""
    constant = (data == data[..., :1, :]).all(dim=-2)
    return bool(data.isfinite().all()) and not constant.any()


def _check_precision(dtype: torch.dtype) -> None:
    if dtype not in {torch.float32, torch.float64}:
        raise ValueError(
            f"`ADAG` computes in torch.float32 or torch.float64: got {dtype}, which is too coarse "
            "for evidence. Call `model.float()`."
        )


def _check_range(density: float | None, deviation: float | None) -> None:
    if density is not None and not 0 < density < 1:
        raise ValueError(
            f"`density` is the chance that two variables are joined, in (0, 1): got {density!r}."
        )
    if deviation is not None and not deviation > 0:
        raise ValueError(f"`deviation` of the noise is a positive number: got {deviation!r}.")


def _check_family(columns: int, density: float | None, family: Family) -> None:
    if columns != len(family.chances):
        raise ValueError(
            f"this model is of a family with {len(family.chances)} variables: got {columns} "
            "columns. The shipped model takes any number."
        )
    if density is not None:
        raise ValueError(
            f"a model of a family knows its `density`: got {density!r}. Leave it out."
        )


def _checked(tasks: Sequence[Tensor], variables: Sequence[str]) -> list[Tensor]:
    """Read tasks as float tensors, and refuse what nothing can be learned from."""
    found = [torch.as_tensor(task).float() for task in tasks]
    d = len(variables)
    if not found:
        raise ValueError("`tasks` is empty. Pass some hundred data sets of the family.")
    for number, task in enumerate(found):
        if task.dim() != 2 or task.shape[1] != d or len(task) < 3:
            raise ValueError(
                f"`tasks[{number}]` has shape (n, {d}), n at least 3, for the {d} `variables`: "
                f"got {tuple(task.shape)}."
            )
        if not _is_usable(task):
            raise ValueError(
                f"`tasks[{number}]` should hold finite numbers that vary in every column."
            )
    return found
