r"""Match an h-node by a game against a critic.

For mechanisms that can be sampled but have no likelihood. Let $H$ be the variables that
are trained and $S \supseteq H$ valid given its outside parents (see `graphs.hgraph`), so
that $P(s \mid pa(S)) = P(s \mid do(pa(S)))$. The parents are clamped to the values of a
row, the model is sampled under this intervention, and

$$ \min_H \max_f \; E_{pa(S) \sim P} \big[ E_{s \sim P(\cdot \mid pa(S))} f(s, pa(S)) -
   E_{\hat s \sim \hat P(\cdot \mid do(pa(S)))} f(\hat s, pa(S)) \big] $$

with $f$ kept smooth in $s$ by a penalty on its gradient (`critics`). $S \setminus H$ is
frozen: what has draws with a gradient passes it on from its children to $H$, images of a
frozen denoiser come from a bank and pass on none. Categorical variables and finite
confounders are drawn one-hot, with the gradient of a Gumbel-softmax: it follows $f$ at a
corner, not to the next one, but at the truth $f$ is flat and the two agree.

**Experiments.** In a row from $do(X)$ what was set is clamped too, and the critic is told
what it was. $S \setminus X$ is valid in $G_{\overline{X}}$ given its outside parents there: one
outside $S$ that descended from it, or from a sibling of it, would do so in $G$ as well; and
one in $X$ has neither causes nor siblings left. So the order of $G$ serves every regime.

References:
    Modular learning of deep causal generative models for high-dimensional causal
    inference (Rahman & Kocaoglu, 2024), Sec. 4, Algorithm 1.
    Improved training of Wasserstein GANs (Gulrajani et al., 2017).
    Neural causal models for counterfactual identification and estimation (Xia, Pan &
    Bareinboim, 2023), Sec. 4, for $H = S = V$.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import one_hot

from causal_diffusers.mechanisms import Component, ConfounderPrior, Mechanism, RelaxedMechanism
from causal_diffusers.scm import StructuralCausalModel
from causal_diffusers.seeding import draw_seed, spawn
from causal_diffusers.training.bank import Bank, check_bank
from causal_diffusers.training.config import Descent
from causal_diffusers.training.critics import Critic, PrincipalComponents, gradient_penalty
from causal_diffusers.training.data import Rows
from causal_diffusers.training.intervened import mask_of
from causal_diffusers.training.objective import Objective
from causal_diffusers.training.player import Opponent
from causal_diffusers.variables import Categorical, Image

__all__ = ["AdversarialObjective"]

T = TypeVar("T")

_PENALTY = 10.0  # weight of the gradient penalty, as published
_COMPONENTS, _FITTED_ON = 16, 2048  # of context images, and how many rows choose them


class AdversarialObjective(Objective):
    """The game of one h-node.

    It must be prepared before it is used: then banks are drawn and the critic is made.

    Arguments:
        scm: The model.
        variables: $H$, what is trained.
        joint: $S$, what is matched given its outside parents; the others are frozen.
        temperature: Of the relaxed draws.
        critic_steps: Steps of the critic for each step of the mechanisms.
        bank_size: Images for each configuration of the parents of a frozen denoiser.
        slope: To which the critic's gradient is drawn: 0 so that the game comes to rest,
            1 for Wasserstein's distance, as published.

    Raises:
        TypeError: If a mechanism that is trained has no draws with a gradient.
        ValueError: If a frozen one has none, and no bank can be made of it.

    Example:
        >>> from causal_diffusers.graphs import ADMG
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> two = Categorical([0, 1])
        >>> scm = StructuralCausalModel(
        ...     ADMG.parse("X -> Y"),
        ...     dict.fromkeys("XY", two),
        ...     {name: CategoricalMechanism() for name in "XY"},
        ... )
        >>> objective = AdversarialObjective(scm, "Y", "Y")
        >>> rows = Rows({"X": [0, 1], "Y": [1, 0]}, scm.variables)
        >>> objective.prepare(rows, 0, torch.device("cpu"))
        >>> objective({"X": torch.tensor([0, 1, 1]), "Y": torch.tensor([1, 0, 0])}, 0).shape
        torch.Size([3])
    """

    name = "adversarial"
    betas = (0.5, 0.9)

    def __init__(
        self,
        scm: StructuralCausalModel,
        variables: Collection[str],
        joint: Collection[str],
        *,
        temperature: float = 0.5,
        critic_steps: int = 2,
        bank_size: int = 256,
        slope: float = 0.0,
    ) -> None:
        H, S = frozenset(variables), frozenset(joint)
        order = [name for name in scm.graph.topological_order() if name in S]
        mechanisms = {name: scm.mechanism(name) for name in order}
        for name, mechanism in mechanisms.items():
            _check(name, mechanism, is_trained=name in H)
        trained = {n: m for n, m in mechanisms.items() if n in H}
        confounders = {n: u for m in mechanisms.values() for n, u in m.confounders.items()}
        own = [n for m in trained.values() for n, u in m.confounders.items() if u.states]
        priors = {n: scm.priors[n] for n, u in confounders.items() if u.states}
        parents = scm.graph.parents(S) - S
        components = {**trained, **{n: p for n, p in priors.items() if n in own}}
        super().__init__(components, tuple(sorted(S | parents)))
        self.variables = {name: scm.variables[name] for name in self.columns}
        self.joint, self.parents, self.confounders = tuple(order), sorted(parents), confounders
        self.temperature, self.critic_steps = temperature, critic_steps
        self.bank_size, self.slope = bank_size, slope
        self._originals: dict[str, Component] = {**mechanisms, **priors}
        self._ready: _Ready | None = None

    @property
    def defaults(self) -> Descent:
        """Batches, and a moving average of what they say; images learn more slowly."""
        trained = [v for n, v in self.variables.items() if n in self.components]
        rate = 2e-3 if any(isinstance(v, Image) for v in trained) else 5e-3
        return Descent(steps=1500, batch_size=512, learning_rate=rate, ema_decay=0.99)

    @property
    def opponent(self) -> Opponent:
        """The critic."""
        return _CriticPlayer(self)

    @property
    def made_from(self) -> dict[str, Any]:
        """What is matched, and what is frozen meanwhile."""
        frozen = sorted(self._originals.keys() - self.components.keys())
        slope = f", slope {self.slope}" if self.slope else ""
        return {"objective": f"adversarial on {', '.join(self.joint)}, {frozen} frozen{slope}"}

    def select(self, rows: Rows) -> Rows:
        """Keep the rows in which not all that is trained was set; see `Objective.select`."""
        trained = [name for name in self.joint if name in self.components]
        return rows.free(trained, told=self.joint)

    def prepare(self, rows: Rows, seed: int, device: torch.device) -> None:
        """Copy what is frozen, draw the banks, choose the components, make the critic."""
        self._ready = _Ready(self, rows, seed, device)

    def forward(self, batch: Mapping[str, Tensor], seed: int) -> Tensor:
        r"""Compute $f(s) - f(\hat s)$ for each row; see `Objective.forward`."""
        critic = self.ready.critic
        fixed = {name: p.detach() for name, p in critic.named_parameters()}
        real, fake = self.view(batch), self.view(self.draw(batch, seed))
        return functional_call(critic, fixed, (real,)) - functional_call(critic, fixed, (fake,))

    def culprits(self, batch: Mapping[str, Tensor], seed: int) -> tuple[str, ...]:
        """Name what is trained, which is matched as a whole; see `Objective.culprits`."""
        return tuple(name for name in self.joint if name in self.components)

    @property
    def ready(self) -> _Ready:
        """What was prepared."""
        if self._ready is None:
            raise RuntimeError("An adversarial objective must be prepared before it is used.")
        return self._ready

    def draw(self, batch: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
        r"""Draw $\hat s \sim \hat P(s \mid do(pa(S)))$, a sample for each row.

        Arguments:
            batch: The rows; of these only $pa(S)$ is used, and what was set by hand.
            seed: The source of the confounders and of the noise.

        Returns:
            The samples, the parents and where something was set, categorical samples one-hot.
        """
        size = len(next(iter(batch.values())))
        values = {name: batch[name] for name in (*self.parents, *self.ready.masks)}
        hidden = {name: self._confounder(name, size, seed) for name in self.confounders}
        for name in self.joint:
            drawn = self._sample(name, values, hidden, size, spawn(seed, name))
            if (is_set := values.get(mask_of(name))) is not None:
                row = self._encoded(name, batch[name]).to(drawn.dtype)
                drawn = torch.where(is_set.view(-1, *[1] * (drawn.dim() - 1)) == 1, row, drawn)
            values[name] = drawn
        return values

    def view(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Turn encoded or relaxed values into what the critic sees.

        Arguments:
            values: The values of $S$ and $pa(S)$.

        Returns:
            Features with shape (B, width), or whole images where these are trained.
        """
        seen = {name: self._view(name, values[name]) for name in self.columns}
        return seen | {mask: values[mask][:, None].float() for mask in self.ready.masks}

    def _encoded(self, name: str, value: Tensor) -> Tensor:
        """Give labels one-hot, and leave others as they are."""
        variable = self.variables[name]
        if isinstance(variable, Categorical) and not value.is_floating_point():
            return one_hot(value, len(variable.labels)).float()
        return value

    def _view(self, name: str, value: Tensor) -> Tensor:
        variable = self.variables[name]
        if isinstance(variable, Categorical):
            return self._encoded(name, value)
        if isinstance(variable, Image):
            return value if name in self.components else self.ready.components[name](value)
        return value.flatten(1)

    def _confounder(self, name: str, size: int, seed: int) -> Tensor:
        confounder, generator = self.confounders[name], spawn(seed, name)
        if confounder.states is None:
            return torch.randn(size, confounder.dim, generator=generator).to(self.ready.device)
        prior = self.ready.frozen.get(name, self._originals[name])
        if not isinstance(prior, ConfounderPrior):
            raise TypeError(f'The prior of "{name}" is no `ConfounderPrior`.')
        return prior.relaxed_sample(size, generator=generator, temperature=self.temperature)

    def _sample(
        self,
        name: str,
        values: Mapping[str, Tensor],
        hidden: Mapping[str, Tensor],
        size: int,
        generator: torch.Generator,
    ) -> Tensor:
        if name in self.ready.banks:
            return self.ready.banks[name].sample(values, size, generator=generator)
        mechanism = self.ready.frozen.get(name, self._originals[name])
        if not isinstance(mechanism, RelaxedMechanism):
            raise TypeError(f'The mechanism of "{name}" has no draws with a gradient.')
        return mechanism.relaxed_sample(
            {parent: values[parent] for parent in mechanism.parents},
            {u: hidden[u] for u in mechanism.confounders},
            num_samples=size,
            generator=generator,
            temperature=self.temperature,
        )


class _Ready:
    """What the game needs before its first step; no module of the objective, nor trained."""

    def __init__(
        self, objective: AdversarialObjective, rows: Rows, seed: int, device: torch.device
    ) -> None:
        self.device = device
        self.masks = tuple(m for m in map(mask_of, objective.joint) if m in rows.variables)
        others = _without(objective._originals, objective.components)
        slow = {n: m for n, m in others.items() if not isinstance(m, _RELAXED)}
        self.frozen = {n: _frozen(part, device) for n, part in _without(others, slow).items()}
        self.banks: dict[str, Bank] = {}
        for name, mechanism in slow.items():
            nn.Module.to(mechanism, device)
            if isinstance(mechanism, Mechanism):
                self.banks[name] = Bank(mechanism, objective.bank_size, spawn(seed, name, "bank"))
        images = {n: v for n, v in objective.variables.items() if isinstance(v, Image)}
        trained = {n: v for n, v in images.items() if n in objective.components}
        numbers = torch.randperm(len(rows), generator=spawn(seed, "components"))[:_FITTED_ON]
        self.components = {
            name: PrincipalComponents(rows.batch(numbers, [name])[name], _COMPONENTS).to(device)
            for name in _without(images, trained)
        }
        widths = {
            name: self._width(name, objective) for name in objective.columns if name not in trained
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draw_seed(spawn(seed, *objective.columns, "critic")))
            told = dict.fromkeys(self.masks, 1)
            self.critic = Critic({**widths, **told}, trained).to(device)

    def _width(self, name: str, objective: AdversarialObjective) -> int:
        variable = objective.variables[name]
        if isinstance(variable, Categorical):
            return len(variable.labels)
        if name in self.components:
            return self.components[name].features
        return torch.Size(variable.shape).numel()


_RELAXED = (RelaxedMechanism, ConfounderPrior)


class _CriticPlayer(Opponent):
    """The critic as the second player of the stage."""

    def __init__(self, objective: AdversarialObjective) -> None:
        state = dict(objective.ready.critic.named_parameters())
        super().__init__(state, objective.critic_steps, objective.betas)
        self.objective = objective

    def loss(self, batch: Mapping[str, Tensor], seed: int) -> Tensor:
        r"""Compute $f(\hat s) - f(s)$ and the penalty; see `Opponent.loss`."""
        critic, objective = self.objective.ready.critic, self.objective
        with torch.no_grad():
            real, fake = objective.view(batch), objective.view(objective.draw(batch, seed))
        generator = spawn(seed, "between")
        share = torch.rand(len(next(iter(real.values()))), generator=generator)
        penalty = gradient_penalty(critic, real, fake, share, objective.joint, objective.slope)
        return critic(fake) - critic(real) + _PENALTY * penalty


def _check(name: str, mechanism: Mechanism, *, is_trained: bool) -> None:
    if isinstance(mechanism, RelaxedMechanism):
        return
    if is_trained:
        raise TypeError(
            f'"{name}" is to be trained adversarially: got {type(mechanism).__name__}, which has '
            "no draws with a gradient. Choose another objective, or another mechanism."
        )
    check_bank(name, mechanism)


def _frozen(component: Component, device: torch.device) -> Component:
    """Copy a component, so that a gradient may pass through it and leave it alone."""
    copied = copy.deepcopy(component).requires_grad_(False).eval()
    nn.Module.to(copied, device)
    return copied


def _without(items: Mapping[str, T], names: Iterable[str]) -> dict[str, T]:
    return {name: item for name, item in items.items() if name not in set(names)}
