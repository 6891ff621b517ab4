r"""Match an image variable by denoising.

An unconfounded image is a district of its own, and its denoising loss is a weighted
bound of its likelihood:

$$ E_{t, \varepsilon} \; w_t \, \lVert \hat v(x_t, t, pa) - v \rVert^2 , $$

with the error measured in $v$, and $t$ drawn in proportion to itself: the shape of an
image is decided at the noisy end. Where the parents are labels, the target is not the $v$ of
the one image but its mean over all that it could have been (`candidates`), which has the
same minimum. Where the model is one of latents, $v$ is that of the latent. A confounded
image is denoised given its code as well, which is read from the image itself
(`mechanisms/representation`).

References:
    Denoising diffusion probabilistic models (Ho, Jain & Abbeel, 2020), Sec. 3.4.
    Classifier-free diffusion guidance (Ho & Salimans, 2022), Sec. 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from causal_diffusers.mechanisms import DiffusionMechanism
from causal_diffusers.mechanisms.diffusion import CODE
from causal_diffusers.seeding import spawn
from causal_diffusers.training.candidates import HIDDEN, Candidates
from causal_diffusers.training.config import Descent
from causal_diffusers.training.data import Rows
from causal_diffusers.training.objective import Objective
from causal_diffusers.variables import Categorical

__all__ = ["DenoisingObjective"]

_CANDIDATES, _NUMBERS = 2**14, 2**24  # images at most, and numbers in them
_ENCODED = 256  # images at once


class DenoisingObjective(Objective):
    """The denoising loss of one image variable.

    Arguments:
        name: The variable.
        mechanism: Its mechanism, bound.

    Raises:
        ValueError: If the mechanism is not bound.

    Example:
        >>> DenoisingObjective("I", DiffusionMechanism())
        Traceback (most recent call last):
        ...
        ValueError: The mechanism of "I" must be bound to a variable: got a new one. ...
    """

    name = "denoising"

    def __init__(self, name: str, mechanism: DiffusionMechanism) -> None:
        if not mechanism.is_bound or mechanism.backbone is None:
            raise ValueError(
                f'The mechanism of "{name}" must be bound to a variable: got a new one. Create '
                "the pipeline with `CausalPipeline.from_graph`."
            )
        super().__init__({name: mechanism}, tuple(sorted({name, *mechanism.parents})))
        self.variable, self.is_confounded = name, bool(mechanism.confounders)
        if self.is_confounded:  # one lesson of several in its district
            self.name = f"denoising-{name}"
        self._bound = mechanism, mechanism.backbone  # in a tuple: `parts` registers them
        known = dict(mechanism.parents)
        if self.is_confounded:
            known[CODE] = Categorical(range(mechanism.config["codes"]))
        self._labels = {n: len(v.labels) for n, v in known.items() if isinstance(v, Categorical)}
        self._candidates: Candidates | None = None

    def select(self, rows: Rows) -> Rows:
        """Keep the rows in which nobody set the image; see `Objective.select`."""
        return rows.free([self.variable])

    @property
    def defaults(self) -> Descent:
        """The adapter likes a high learning rate and a moving average."""
        return Descent(steps=2000, batch_size=128, learning_rate=5e-3, ema_decay=0.995)

    def trainable_state(self) -> dict[str, Tensor]:
        """Give the parameters of the adapter, for the code is learned before."""
        taught = f"{self.variable}.reader.", f"{self.variable}.head."
        state = super().trainable_state()
        return {name: p for name, p in state.items() if not name.startswith(taught)}

    def prepare(self, rows: Rows, seed: int, device: torch.device) -> None:
        """Keep images that a noised one may have been; see `Objective.prepare`."""
        mechanism, backbone = self._bound
        if not set(mechanism.parents) <= set(self._labels):
            return
        self.to(device)
        most = min(_CANDIDATES, _NUMBERS // math.prod(backbone.shape))
        numbers = torch.randperm(len(rows), generator=spawn(seed, self.variable, "candidates"))
        x_0, keys = [], []
        for part in numbers[:most].split(_ENCODED):
            batch = {n: v.to(device) for n, v in rows.batch(part, self.columns).items()}
            x_0.append(backbone.encode(batch[self.variable]))
            keys.append(self._key(self._parents(batch), len(part)))
        self._candidates = Candidates(torch.cat(x_0), torch.cat(keys), len(rows) <= most)

    def forward(self, batch: Mapping[str, Tensor], seed: int) -> Tensor:
        """Compute the denoising loss of each row; see `Objective.forward`."""
        mechanism, backbone = self._bound
        images = batch[self.variable]
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(len(images), 2, generator=generator).to(images.device)
        steps = backbone.scheduler.config["num_train_timesteps"]
        t = (steps * uniform[:, 0].sqrt()).long().clamp(max=steps - 1)
        hidden = uniform[:, 1] < mechanism.config["condition_dropout"]
        x_0 = backbone.encode(images)
        eps = torch.randn(x_0.shape, generator=generator).to(images.device)
        x_t, target, weight = backbone.noise(x_0, eps, t)
        parents = self._parents(batch)
        if self._candidates is not None:
            alpha_bar = backbone.scheduler.alphas_cumprod.to(images.device)[t]
            keys = self._key(parents, len(images)).masked_fill(hidden, HIDDEN)
            mean = self._candidates.mean(x_t, alpha_bar, x_0, keys)
            scale = (alpha_bar / (1 - alpha_bar)).sqrt().view(-1, 1, 1, 1)
            target = backbone.noise(mean, eps + scale * (x_0 - mean), t)[1]
        error = mechanism.predict(x_t, t, parents, hidden) - target
        return weight * error.float().square().flatten(1).mean(dim=1)

    def _parents(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give what the denoiser is told."""
        mechanism, _ = self._bound
        parents = {name: batch[name] for name in mechanism.parents}
        if self.is_confounded:
            parents[CODE] = mechanism.reader.read(batch[self.variable])
        return parents

    def _key(self, parents: Mapping[str, Tensor], size: int) -> Tensor:
        """Number the configuration of the parents of each row."""
        mechanism, _ = self._bound
        key = torch.zeros(size, dtype=torch.long, device=mechanism.device)
        for name, values in parents.items():
            key = self._labels[name] * key + values.to(key.device)
        return key

    def culprits(self, batch: Mapping[str, Tensor], seed: int) -> tuple[str, ...]:
        """Name the image; see `Objective.culprits`."""
        return (self.variable,)
