r"""Match an image that a frozen GAN makes, by Bayes.

Everything that the conditional $p(I \mid pa) \propto p_G(I)\, \rho(I)\, p(pa \mid I)$ needs
is learned at once, each part by a loss of its own:

$$ -\log p(pa \mid I) \; + \; \mathrm{CE}(\rho) \; - \; \tfrac1d \log q(z^* \mid pa) . $$

The classifier reads the images of the data. The odds $\rho$ tell them from fresh images of
the generator, both blurred (`mechanisms.reader`). And $q$, the density of the latent map, is
brought to the latents $z^*$ that the first two would choose for the parents of a row, among
those of the fresh images. This is the forward KL divergence from the posterior: a proposal
that covers it all.

References:
    Wake-sleep and amortised inference with the forward KL (Le, Kosiorek, Siddharth, Teh &
    Wood, 2019), Sec. 2.
    Discriminator rejection sampling (Azadi et al., 2019), Sec. 3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import softplus

from causal_diffusers.mechanisms import GANMechanism
from causal_diffusers.training.config import Descent
from causal_diffusers.training.data import Rows
from causal_diffusers.training.distinct import distinct_rows
from causal_diffusers.training.objective import Objective

__all__ = ["PosteriorObjective"]


class PosteriorObjective(Objective):
    """The losses of one image variable on a frozen GAN, conditioned by Bayes.

    Arguments:
        name: The variable.
        mechanism: Its mechanism, bound.

    Raises:
        ValueError: If the mechanism is not bound, or its latent is told directly.

    Example:
        >>> PosteriorObjective("I", GANMechanism())
        Traceback (most recent call last):
        ...
        ValueError: The mechanism of "I" must be bound to a variable: got a new one. ...
    """

    name = "posterior"

    def __init__(self, name: str, mechanism: GANMechanism) -> None:
        if not mechanism.is_bound or mechanism.backbone is None:
            raise ValueError(
                f'The mechanism of "{name}" must be bound to a variable: got a new one. Create '
                "the pipeline with `CausalPipeline.from_graph`."
            )
        if mechanism.conditioning != "posterior":
            raise ValueError(
                f'`objective="posterior"` cannot train "{name}", which has '
                f'conditioning="{mechanism.conditioning}". Choose `objective="adversarial"`.'
            )
        super().__init__({name: mechanism}, tuple(sorted({name, *mechanism.parents})))
        self.variable = name
        self._bound = mechanism, mechanism.backbone  # in a tuple: `parts` registers them

    def select(self, rows: Rows) -> Rows:
        """Keep the rows in which nobody set the image; see `Objective.select`."""
        return rows.free([self.variable])

    @property
    def defaults(self) -> Descent:
        """Small networks, and a moving average against the noise of small batches."""
        return Descent(steps=1500, batch_size=128, learning_rate=3e-3, ema_decay=0.995)

    def forward(self, batch: Mapping[str, Tensor], seed: int) -> Tensor:
        """Compute the losses of each row; see `Objective.forward`."""
        mechanism, backbone = self._bound
        images = batch[self.variable]
        parents = {name: batch[name] for name in mechanism.parents}
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(len(images), backbone.latent_dim, generator=generator).to(images.device)
        reader = mechanism.reader
        real = reader.see(images)
        with torch.no_grad():
            made = reader.see(backbone(z))
        odds = [reader.log_odds(seen, blur=generator) for seen in (real, made)]
        told_apart = softplus(-odds[0]) + softplus(odds[1])
        chosen = z[_choose(mechanism, made, parents, generator)]
        log_q = mechanism.latent.log_prob(chosen, mechanism.encoder(parents, len(images)))
        return told_apart - reader.log_prob(real, parents) - log_q / backbone.latent_dim

    def culprits(self, batch: Mapping[str, Tensor], seed: int) -> tuple[str, ...]:
        """Name the image; see `Objective.culprits`."""
        return (self.variable,)


@torch.no_grad()
def _choose(
    mechanism: GANMechanism,
    made: Tensor,
    parents: Mapping[str, Tensor],
    generator: torch.Generator,
) -> Tensor:
    """Choose one of the fresh images for each row, in proportion to what it should weigh."""
    rows, reader = len(made), mechanism.reader
    alike = torch.zeros_like(made[:, 0], dtype=torch.int64)
    where, which = distinct_rows([alike, *parents.values()])
    each = {name: value[where, None].expand(-1, rows) for name, value in parents.items()}
    seen = made[None].expand(len(where), -1, -1)
    log_w = reader.log_odds(seen) + reader.log_prob(seen, each)
    uniform = torch.rand(rows, 1, generator=generator).to(made.device)
    reached = log_w.softmax(dim=1).cumsum(dim=1)[which]
    return (reached < uniform).sum(dim=1).clamp(max=rows - 1)
