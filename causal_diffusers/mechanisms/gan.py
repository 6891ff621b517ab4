r"""An image variable on the frozen generator of a GAN, $I = G(z)$.

The generator stays as it was downloaded. Its latent listens to the parents and the
confounders, $z = h(pa, u, \varepsilon)$ (`latent`), in one of two ways.

* `"posterior"`, for an unconfounded image of categorical parents. By Bayes (`reader`),

  $$ p(I \mid pa) \propto p_G(I) \, \rho(I) \, p(pa \mid I) . $$

  For each sample, candidates $z_1 \dots z_M$ are drawn, half of them from the prior of
  $z$ and half through $h$, which has learned where the right ones are, and one is kept in
  proportion to its importance

  $$ w_m = \frac{p(z_m) \, \rho(G(z_m)) \, p(pa \mid G(z_m))}
                {\tfrac12 p(z_m) + \tfrac12 q(z_m \mid pa)} . $$

  The half from the prior bounds the weights, whatever $h$ has learned.
* `"latent"`: the image is $G(h(pa, u, \varepsilon))$, and gates that the context chooses
  multiply the channels inside $G$. Without a likelihood, it is trained adversarially.

Before training, either samples the generator as it was, bit for bit.

References:
    Sampling-importance-resampling (Rubin, 1988).
    Deep importance sampling with defensive mixtures (Hesterberg, 1995), Sec. 2.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from causal_diffusers.adapters import ChannelGates
from causal_diffusers.backbones import GANGenerator, VisionEncoder
from causal_diffusers.mechanisms.base import RelaxedMechanism, SamplingOptions, check_count
from causal_diffusers.mechanisms.encoders import ParentEncoder, confounder_features
from causal_diffusers.mechanisms.latent import LatentMap, log_normal
from causal_diffusers.mechanisms.pretrained import PretrainedMechanism
from causal_diffusers.mechanisms.reader import Reader, unreadable
from causal_diffusers.mechanisms.relaxation import gumbel, relaxed_one_hot
from causal_diffusers.seeding import draw_seed, spawn
from causal_diffusers.variables import Confounder, Variable

if TYPE_CHECKING:
    from typing import Self

__all__ = ["GANMechanism"]

_BLOCK = 32  # samples whose candidates are drawn at once, whatever the batch size


class GANMechanism(PretrainedMechanism[GANGenerator], RelaxedMechanism):
    """The mechanism of an image variable, on the frozen generator of a GAN.

    Use `from_pretrained` to create one from a generator.

    Arguments:
        base: Where the generator comes from, in plain JSON.
        conditioning: `"posterior"` or `"latent"`; None takes the first where it can be
            had.
        candidates: How many images a sample is chosen from, an even number.
        gates: Whether `"latent"` also multiplies the channels of the generator.
        image_encoder: A frozen encoder of parents that are images; None trains a small one.
        variable: The variable that is made, in plain JSON; set by `bind`.
        parents: Its parents, by name, in plain JSON; set by `bind`.
        confounders: Its confounders, by name, in plain JSON; set by `bind`.

    Raises:
        ValueError: If `conditioning` is unknown, or `candidates` no positive even number.

    Example:
        >>> GANMechanism(candidates=16).is_bound
        False
    """

    kinds = (GANGenerator,)

    @register_to_config
    def __init__(
        self,
        base: dict | None = None,
        conditioning: str | None = None,
        candidates: int = 64,
        gates: bool = True,
        image_encoder: VisionEncoder | None = None,
        variable: dict | None = None,
        parents: dict | None = None,
        confounders: dict | None = None,
    ) -> None:
        super().__init__()
        self._see_with(image_encoder)
        check_count("candidates", candidates)
        if candidates % 2 or candidates > 2**16 or conditioning not in (None, *_CONDITIONINGS):
            raise ValueError(
                f"`GANMechanism` needs a conditioning of {_CONDITIONINGS}, or None, and an even "
                f"number of candidates up to 65536: got {conditioning!r} and {candidates}."
            )
        self.backbone: GANGenerator | None = None

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        source: str | os.PathLike[str],
        *,
        revision: str | None = None,
        backbone: str | os.PathLike[str] | None = None,
        conditioning: str | None = None,
        candidates: int | None = None,
        gates: bool | None = None,
        image_encoder: VisionEncoder | None = None,
        **loading: Any,
    ) -> Self:
        """Start from a pretrained generator, or load a saved mechanism.

        Arguments:
            source: A generator: a Hub id, or a folder with `config.json` and
                `model.safetensors`, such as `causal-diffusers convert-generator` writes.
                Or a folder that `save_pretrained` wrote.
            revision: Branch, tag or commit of a generator on the Hub.
            backbone: For a saved mechanism, where its generator has moved to.
            conditioning: `"posterior"` or `"latent"`; if None, the first for an
                unconfounded image of categorical parents.
            candidates: How many images a sample is chosen from; 64 if None.
            gates: Whether `"latent"` also multiplies the generator's channels; yes if None.
            image_encoder: A frozen encoder that reads parents which are images.
            loading: For a saved mechanism, `dtype` and `variant`.

        Returns:
            An unbound mechanism still to be trained, or the saved one.

        Raises:
            CheckpointError: If the generator cannot be loaded, or is not the one that a
                saved mechanism was trained on.
            ValueError: If an argument does not apply to what is loaded.

        Example:
            >>> GANMechanism.from_pretrained("./no/such/folder")
            Traceback (most recent call last):
            ...
            causal_diffusers.errors.CheckpointError: ...
        """
        given = {"conditioning": conditioning, "candidates": candidates, "gates": gates}
        given["image_encoder"] = image_encoder
        chosen = {key: value for key, value in given.items() if value is not None}
        if cls._is_saved(source):
            return cls._load(source, chosen, backbone, loading)
        return cls._adapt(source, chosen, revision, backbone, loading)

    @property
    def conditioning(self) -> str:
        """How the generator is told: `"posterior"` or `"latent"`; known once it is bound."""
        if self.config["conditioning"] is not None:
            return self.config["conditioning"]
        plain = not self.config["confounders"] and not unreadable(self.parents)
        return "posterior" if plain else "latent"

    @torch.no_grad()
    def sample(
        self,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
        *,
        num_samples: int,
        generator: torch.Generator,
        options: SamplingOptions = SamplingOptions(),  # noqa: B008 (frozen)
    ) -> Tensor:
        """Generate images; see `Mechanism.sample`.

        The batch size changes the result by rounding only. Each sample has candidates of
        its own. `guidance_scale` is the power of $p(pa | I)$ where that is weighed, and
        without effect where it is not.
        """
        latents = self._latents(parents, confounders, num_samples, generator, options)
        chunks = latents.split(options.batch_size)
        rows = range(0, num_samples, options.batch_size)
        images = [
            self._generate(z, _rows(parents, row, len(z)), _rows(confounders, row, len(z)))
            for row, z in zip(rows, chunks, strict=False)
        ]
        return torch.cat(images)

    def relaxed_sample(
        self,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
        *,
        num_samples: int,
        generator: torch.Generator,
        temperature: float = 0.5,
    ) -> Tensor:
        """Generate images with a gradient; see `RelaxedMechanism.relaxed_sample`.

        A choice among candidates is relaxed as a categorical draw is: one image forward,
        a softmax of all of them backward.
        """
        if not temperature > 0:
            raise ValueError(f"`temperature` must be positive: got {temperature}.")
        context = self._context(parents, confounders, num_samples)
        if self.conditioning == "latent":
            eps = self._noise((num_samples,), generator)
            z = self.latent(eps.to(context.dtype), context).to(eps.dtype)
            return self._generate(z, parents, confounders)
        eps = self._noise((num_samples, self.config["candidates"]), generator)
        z = self._propose(eps, context)
        images = self._frozen()(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        log_w = self._log_weights(z, images, parents, context)
        weights = relaxed_one_hot(log_w, generator, temperature).to(images.dtype)
        return (weights[:, :, None, None, None] * images).sum(dim=1)

    @torch.no_grad()
    def effective_candidates(
        self,
        parents: Mapping[str, Tensor],
        *,
        num_samples: int,
        generator: torch.Generator,
    ) -> Tensor:
        r"""Say how many of its candidates each sample really chose from.

        $(\sum_m w_m)^2 / \sum_m w_m^2$: near 1, samples are the best of what the generator
        has to offer and no draws from the posterior; ask for more `candidates`, or look
        for a generator that makes such images.

        Arguments:
            parents: Encoded values of the parents, each with shape (N, *shape).
            num_samples: N.
            generator: The source of the candidates.

        Returns:
            Numbers in [1, candidates], with shape (N,).

        Raises:
            ValueError: If the latent is told directly, without candidates.
        """
        if self.conditioning != "posterior":
            raise ValueError(
                '`effective_candidates` needs conditioning="posterior": got "latent".'
            )
        seed = draw_seed(generator)
        weights = [
            self._weigh(parents, row, rows, spawn(seed, row))[1]
            for row, rows in _blocks(num_samples)
        ]
        w = torch.cat(weights).softmax(dim=1)
        return 1 / w.square().sum(dim=1)

    def _latents(
        self,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
        num_samples: int,
        generator: torch.Generator,
        options: SamplingOptions,
    ) -> Tensor:
        """Draw the latents of all samples, with shape (N, latent_dim)."""
        if self.conditioning == "latent":
            eps = self._noise((num_samples,), generator)
            context = self._context(parents, confounders, num_samples)
            return self.latent(eps.to(context.dtype), context).to(eps.dtype)
        seed, chosen = draw_seed(generator), []
        wrap = options.progress_bar or (lambda iterable: iterable)
        for row, rows in wrap(_blocks(num_samples)):
            stream = spawn(seed, row)
            z, log_w = self._weigh(parents, row, rows, stream, options)
            best = (log_w + gumbel(log_w, stream)).argmax(dim=1)
            chosen.append(z[torch.arange(rows, device=z.device), best])
        return torch.cat(chosen) if chosen else self._noise((0,), generator)

    def _weigh(
        self,
        parents: Mapping[str, Tensor],
        row: int,
        rows: int,
        stream: torch.Generator,
        options: SamplingOptions = SamplingOptions(),  # noqa: B008 (frozen)
    ) -> tuple[Tensor, Tensor]:
        """Propose candidates for a block of samples, and weigh them."""
        own = _rows(parents, row, rows)
        context = self._context(own, {}, rows)
        z = self._propose(self._noise((rows, self.config["candidates"]), stream), context)
        seen = [
            self.reader.see(self._frozen()(part))
            for part in z.flatten(0, 1).split(options.batch_size)
        ]
        features = torch.cat(seen).unflatten(0, z.shape[:2])
        return z, self._importance(z, features, own, context, options.guidance_scale)

    def _propose(self, eps: Tensor, context: Tensor) -> Tensor:
        """Draw one half of the candidates from the prior, the other through $h$."""
        prior, rest = eps.chunk(2, dim=1)
        told = context[:, None].expand(-1, rest.shape[1], -1)
        return torch.cat([prior, self.latent(rest.to(told.dtype), told).to(eps.dtype)], dim=1)

    def _log_weights(
        self, z: Tensor, images: Tensor, parents: Mapping[str, Tensor], context: Tensor
    ) -> Tensor:
        features = self.reader.see(images.flatten(0, 1)).unflatten(0, z.shape[:2])
        return self._importance(z, features, parents, context)

    def _importance(
        self,
        z: Tensor,
        features: Tensor,
        parents: Mapping[str, Tensor],
        context: Tensor,
        guidance_scale: float = 1.0,
    ) -> Tensor:
        r"""Compute $\log w$ of candidates, with shape (B, M)."""
        count = z.shape[1]
        each = {n: v[:, None].expand(-1, count, *v.shape[1:]) for n, v in parents.items()}
        told = context[:, None].expand(-1, count, -1)
        q = self.latent.log_prob(z.to(told.dtype), told).to(torch.float32)
        p = log_normal(z.to(torch.float32))
        log_fit = self.reader.log_odds(features)
        log_fit = log_fit + guidance_scale * self.reader.log_prob(features, each)
        return log_fit + p - (torch.logaddexp(p, q) - math.log(2))

    def _generate(
        self, z: Tensor, parents: Mapping[str, Tensor], confounders: Mapping[str, Tensor]
    ) -> Tensor:
        """Run the generator, gated if it has gates."""
        if self.conditioning == "latent" and self.config["gates"]:
            self.channels.set_context(self._context(parents, confounders, len(z)))
        return self._frozen()(z)

    def _noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw standard normal noise for latents, in single precision."""
        full = (*shape, self._frozen().latent_dim)
        return randn_tensor(full, generator=generator, device=self.device, dtype=torch.float32)

    def _context(
        self, parents: Mapping[str, Tensor], confounders: Mapping[str, Tensor], batch: int
    ) -> Tensor:
        """Line up what parents and confounders say, with shape (B, features)."""
        context = self.encoder(parents, batch)
        if not self.confounders:
            return context
        features = confounder_features(self.confounders, confounders)
        return torch.cat([context, features.to(context.dtype)], dim=1)

    def _attach(self, network: GANGenerator) -> None:
        """Take the frozen generator in."""
        self.backbone = network

    def _check_signature(
        self,
        variable: Variable,
        parents: Mapping[str, Variable],
        confounders: Mapping[str, Confounder],
    ) -> None:
        made = self._frozen().image
        if variable != made:
            raise ValueError(
                f"The pretrained generator makes {made}: got a variable {variable}. Declare the "
                "variable as the generator makes it, or choose another generator."
            )
        if self.config["conditioning"] == "posterior" and (confounders or unreadable(parents)):
            raise ValueError(
                'conditioning="posterior" is for an unconfounded image of categorical parents: '
                f"it listens to {[*unreadable(parents), *confounders]}. Leave `conditioning` "
                "out, and the image is trained adversarially."
            )

    def _build(self) -> None:
        frozen, width = self._frozen(), sum(u.width for u in self.confounders.values())
        self.encoder = ParentEncoder(self.parents, self.image_encoder)
        features = self.encoder.features + width
        self.latent = LatentMap(frozen.latent_dim, features)
        if self.conditioning == "posterior":
            self.reader = Reader(frozen.image, self.encoder.parents)
        elif self.config["gates"]:
            self.channels = ChannelGates(frozen.network, features)


_CONDITIONINGS = ("posterior", "latent")


def _blocks(number: int) -> list[tuple[int, int]]:
    """Cut samples into blocks: the first row and the number of rows of each."""
    return [(row, min(_BLOCK, number - row)) for row in range(0, number, _BLOCK)]


def _rows(values: Mapping[str, Tensor], start: int, number: int) -> dict[str, Tensor]:
    return {name: value[start : start + number] for name, value in values.items()}
