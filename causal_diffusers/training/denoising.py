r"""Match an image variable by denoising.

An unconfounded image is a district of its own, and its denoising loss is a weighted
bound of its likelihood:

$$ E_{t, \varepsilon} \; w_t \, \lVert \hat v(x_t, t, pa) - v \rVert^2 , $$

with the error measured in $v$, and $t$ drawn in proportion to itself: the shape of an
image is decided at the noisy end. Where the model is one of latents, $v$ is that of the
latent. A confounded image is denoised given its code as well, which is read from the image
itself (`mechanisms/representation`).

References:
    Denoising diffusion probabilistic models (Ho, Jain & Abbeel, 2020), Sec. 3.4.
    Classifier-free diffusion guidance (Ho & Salimans, 2022), Sec. 3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from causal_diffusers.mechanisms import DiffusionMechanism
from causal_diffusers.mechanisms.diffusion import CODE
from causal_diffusers.training.config import Descent
from causal_diffusers.training.data import Rows
from causal_diffusers.training.objective import Objective

__all__ = ["DenoisingObjective"]


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
        parents = {name: batch[name] for name in mechanism.parents}
        if self.is_confounded:
            parents[CODE] = mechanism.reader.read(images)
        error = mechanism.predict(x_t, t, parents, hidden) - target
        return weight * error.float().square().flatten(1).mean(dim=1)

    def culprits(self, batch: Mapping[str, Tensor], seed: int) -> tuple[str, ...]:
        """Name the image; see `Objective.culprits`."""
        return (self.variable,)
