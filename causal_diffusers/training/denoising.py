r"""Match an image variable by denoising.

An unconfounded image is a district of its own, and its denoising loss is a weighted
bound of its likelihood:

$$ E_{t, \varepsilon} \; w_t \, \lVert \hat v(x_t, t, pa) - v \rVert^2 , $$

with the error measured in $v$, and $t$ drawn in proportion to itself: the shape of an
image is decided at the noisy end. Where the parents are labels and the images few enough to be
kept, the target is not the $v$ of the one image but its mean over all that it could have
been (`candidates`), which has the same minimum. Where the model is one of latents, $v$ is
that of the latent. A confounded image is denoised given its code as well, which is read
from the image itself (`mechanisms/representation`).

References:
    Denoising diffusion probabilistic models (Ho, Jain & Abbeel, 2020), Sec. 3.4.
    Classifier-free diffusion guidance (Ho & Salimans, 2022), Sec. 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from causal_diffusers.mechanisms import DiffusionMechanism
from causal_diffusers.mechanisms.diffusion import CODE
from causal_diffusers.training.candidates import HIDDEN, Candidates
from causal_diffusers.training.config import Descent
from causal_diffusers.training.data import Rows
from causal_diffusers.training.objective import Objective
from causal_diffusers.variables import Categorical

__all__ = ["DenoisingObjective"]

_NUMBERS, _LEAST = 2**26, 2**8  # that are kept of all images, each counting as so many at least
_PIXELS = 2**20  # that are encoded at once
_EPS = torch.finfo(torch.float32).eps


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

    @property
    def made_from(self) -> dict[str, Any]:
        """Another target than in checkpoints of before; see `Objective.made_from`."""
        return {"target": "candidates"}

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
        from accelerate import PartialState

        mechanism, backbone = self._bound
        have_labels = set(mechanism.parents) <= set(self._labels)
        are_few = len(rows) * max(_LEAST, math.prod(backbone.shape)) <= _NUMBERS
        if not have_labels or not are_few or math.prod(self._labels.values()) >= 2**62:
            return
        self.to(device)
        size = max(1, _PIXELS // math.prod(mechanism.variable.shape))
        parts, x_0, keys = torch.arange(len(rows)).split(size), [], []
        is_main = PartialState().is_main_process
        for part in tqdm(parts, f"{self.variable}, candidates", leave=False, disable=not is_main):
            batch = {n: v.to(device) for n, v in rows.batch(part, self.columns).items()}
            x_0.append(backbone.encode(batch[self.variable]))
            keys.append(self._key(self._parents(batch), len(part)))
        self._candidates = Candidates(torch.cat(x_0), torch.cat(keys))

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
            scale = (alpha_bar / (1 - alpha_bar).clamp(min=_EPS)).sqrt().view(-1, 1, 1, 1)
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
