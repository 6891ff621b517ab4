r"""What does a pipeline say of a variable, given its past?

In a district $D$ with its members in topological order, the factor $Q[D]$ is a product of
conditionals given the past, $P(v_i \mid v_{<i}, pa) = Q[D_{\le i}] / Q[D_{<i}]$. With the
confounders written out,

$$ P(v_i \mid past) = \sum_m w_m \, p(v_i \mid pa, u^{(m)}), \qquad
   w_m \propto p(u^{(m)}) \prod_{j < i} p(v_j \mid pa, u^{(m)}) , $$

so a value is drawn from it by drawing one of the $u^{(m)}$ and then the value. Of a
confounded image the probability is that of its code, which is all that its confounders
touch. What has no likelihood, a GAN that listens to a confounder, cannot be in a past: it is
left out where nothing that is left listens to it.

In a row in which a member was set by hand, its own factor is dropped.

References:
    A general identification condition for causal effects (Tian & Pearl, 2002), Sec. 3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from causal_diffusers.mechanisms import (
    CategoricalMechanism,
    DiffusionMechanism,
    LikelihoodMechanism,
    Mechanism,
    SamplingOptions,
)
from causal_diffusers.seeding import spawn
from causal_diffusers.training.intervened import mask_of
from causal_diffusers.training.likelihood import confounder_grid
from causal_diffusers.variables import Confounder

if TYPE_CHECKING:
    from causal_diffusers.pipeline import CausalPipeline

__all__ = ["Past"]

_DRAWS, _CHUNK = 256, 256  # of Gaussian confounders; rows at once


@dataclasses.dataclass(frozen=True)
class Past:
    """A variable of a pipeline, and rows that say what came before it.

    Arguments:
        pipe: The pipeline.
        name: The variable.
        values: Encoded columns, each with shape (N, *shape); also `do(X)`, where X was
            set by hand in some rows.
        seed: Where the randomness comes from.

    Example:
        >>> from causal_diffusers import Categorical, CausalPipeline
        >>> two = Categorical([0, 1])
        >>> pipe = CausalPipeline.from_graph("X -> W -> Y; X <-> Y", dict.fromkeys("XWY", two))
        >>> past = Past(pipe, "Y", {n: torch.tensor([0, 1, 1]) for n in "XWY"})
        >>> past.given, past.probabilities().shape
        (('X', 'W'), torch.Size([3, 2]))
    """

    pipe: CausalPipeline
    name: str
    values: Mapping[str, Tensor]
    seed: int = 0

    def __len__(self) -> int:
        return len(self.values[self.name])

    @property
    def mechanism(self) -> Mechanism:
        """The mechanism of the variable."""
        return self.pipe.mechanisms[self.name]

    @property
    def before(self) -> tuple[str, ...]:
        """The members of the district that come before it and whose probability is known.

        Of what has no likelihood itself, these are all that do not listen to it: it is no
        part of their past.
        """
        graph = self.pipe.graph
        order, district = graph.topological_order(), graph.district(self.name)
        if self.has_likelihood:
            earlier = set(order[: order.index(self.name)])
        else:
            earlier = set(order) - graph.descendants(self.name)
        mechanisms = self.pipe.mechanisms
        return tuple(v for v in order if v in earlier & district and _law(mechanisms[v]))

    @property
    def has_likelihood(self) -> bool:
        """Whether its probability, or that of its code, is known."""
        return _law(self.mechanism) is not None

    @property
    def is_known(self) -> bool:
        """Whether all that it was made from can be conditioned on."""
        graph = self.pipe.graph
        district, kept = graph.district(self.name), {*self.before, self.name}
        parents = {parent for member in kept for parent in graph.parents(member)}
        return (parents & district) <= kept

    @property
    def given(self) -> tuple[str, ...]:
        """Its past: the members before it, and the parents of these and of its own."""
        graph, members = self.pipe.graph, {*self.before, self.name}
        past = members | {p for member in members for p in graph.parents(member)}
        return tuple(v for v in graph.variables if v in past - {self.name})

    @property
    def masks(self) -> tuple[str, ...]:
        """The columns that say in which rows a member before it was set by hand."""
        return tuple(m for m in map(mask_of, self.before) if m in self.values)

    def free(self) -> Past:
        """Keep the rows in which the variable itself was not set by hand."""
        mask = self.values.get(mask_of(self.name))
        if mask is None:
            return self
        return self.take((mask == 0).nonzero().squeeze(1))

    def take(self, rows: Tensor) -> Past:
        """Keep some rows, integers with shape (M,)."""
        return dataclasses.replace(self, values={n: v[rows] for n, v in self.values.items()})

    def codes(self) -> list[Tensor]:
        """Read the codes of the confounded images before it, each with shape (N,)."""
        images = [m for m in self.before if self.values[m].dim() == 4]
        return [self._column(image, torch.arange(len(self))) for image in images]

    @torch.no_grad()
    def probabilities(self) -> Tensor:
        """Compute p(v | past) of a label, or of the code of a confounded image.

        Returns:
            Probabilities with shape (N, K), in double precision.

        Raises:
            TypeError: If the variable is neither.
        """
        law = _law(self.mechanism)
        if not isinstance(law, CategoricalMechanism):
            raise TypeError(f'"{self.name}" is no label, and has no code.')
        parts = []
        for rows, draws, weights in self._chunks():
            own = {u: draws[u].to(law.device) for u in law.confounders}
            parents = self._parents(law, rows)
            logits = law.logits(parents, own, batch=len(rows), outer=bool(own)).cpu()
            p = logits.double().softmax(dim=-1)
            parts.append(torch.einsum("bm,bmk->bk", weights, p) if own else p)
        return torch.cat(parts)

    @torch.no_grad()
    def draw(self, count: int = 1, options: SamplingOptions = SamplingOptions()) -> Tensor:  # noqa: B008 (frozen)
        """Draw values given the past of each row.

        Arguments:
            count: How many for each row.
            options: What mechanisms that sample in steps are asked.

        Returns:
            Encoded values with shape (count, N, *shape).
        """
        mechanism, generator = self.mechanism, spawn(self.seed, "past", self.name)
        confounders: dict[str, list[Tensor]] = {u: [] for u in mechanism.confounders}
        for _, draws, weights in self._chunks():
            if not confounders:
                break
            which = torch.multinomial(weights, count, replacement=True, generator=generator)
            for u, parts in confounders.items():
                parts.append(draws[u][which])
        device, number = mechanism.device, len(self)
        told = {
            u: torch.cat(parts).transpose(0, 1).flatten(0, 1).to(device)
            for u, parts in confounders.items()
        }
        parents = {
            p: self.values[p].to(device).expand(count, *self.values[p].shape).flatten(0, 1)
            for p in mechanism.parents
        }
        made = mechanism.sample(
            parents, told, num_samples=count * number, generator=generator, options=options
        )
        return made.cpu().unflatten(0, (count, number))

    def _chunks(self) -> Iterator[tuple[Tensor, dict[str, Tensor], Tensor]]:
        """Give some rows, values of the confounders, and their weights (B, M), on the CPU.

        Components may live on several devices: each hears and answers on its own.
        """
        laws = {member: _law(self.pipe.mechanisms[member]) for member in self.before}
        known = {member: law for member, law in laws.items() if law is not None}
        confounders: dict[str, Confounder] = {}
        for mechanism in (*known.values(), self.mechanism):
            confounders |= mechanism.confounders
        draws, log_prior = confounder_grid(confounders, _DRAWS, self.seed, torch.device("cpu"))
        for u, confounder in confounders.items():
            if confounder.states:
                log_prior = log_prior + self.pipe.scm.priors[u].log_weights().cpu()[draws[u]]
        for rows in torch.arange(len(self)).split(_CHUNK):
            total = log_prior.double().expand(len(rows), -1)
            for member, law in known.items():
                own = {u: draws[u].to(law.device) for u in law.confounders}
                values = self._column(member, rows).to(law.device)
                term = law.log_prob(values, self._parents(law, rows), own, outer=bool(own)).cpu()
                term = term if own else term[:, None]
                is_set = self.values.get(mask_of(member))
                if is_set is not None:
                    term = term.masked_fill(is_set[rows, None] == 1, 0.0)
                total = total + term
            yield rows, draws, total.softmax(dim=1)

    def _parents(self, law: Mechanism, rows: Tensor) -> dict[str, Tensor]:
        return {p: self.values[p][rows].to(law.device) for p in law.parents}

    def _column(self, member: str, rows: Tensor) -> Tensor:
        """Give what stands for a member: its values, or the codes of a confounded image."""
        mechanism, values = self.pipe.mechanisms[member], self.values[member][rows]
        is_coded = isinstance(mechanism, DiffusionMechanism) and mechanism.confounders
        return mechanism.reader.read(values) if is_coded else values


def _law(mechanism: Mechanism | None) -> LikelihoodMechanism | None:
    """Give what has a probability: of a confounded image, the law of its code."""
    if isinstance(mechanism, LikelihoodMechanism):
        return mechanism
    if isinstance(mechanism, DiffusionMechanism) and mechanism.confounders:
        return mechanism.head
    return None
