r"""An image variable: a frozen pretrained denoiser, told by its parents what to draw.

The denoiser stays as it was downloaded. A gated LoRA (`causal_diffusers.adapters`) lets
the parents choose the update of its weights, and training moves only that adapter. With
probability `condition_dropout` the parents are hidden during training, so that sampling
may sharpen the condition by classifier-free guidance (`samplers`). The causal conditional
$p(v \mid pa)$ is a guidance scale of 1; more is another distribution.

A confounded image is drawn in two steps: a code from the parents and the confounders,
then the image from the parents and the code; `representation` says what that assumes.

References:
    Classifier-free diffusion guidance (Ho & Salimans, 2022), Sec. 3.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import DPMSolverMultistepScheduler
from diffusers.configuration_utils import register_to_config
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from causal_diffusers.adapters import GatedLoRA
from causal_diffusers.backbones import Denoiser, LatentDiffusion, PixelDiffusion, VisionEncoder
from causal_diffusers.mechanisms import samplers
from causal_diffusers.mechanisms.base import SamplingOptions
from causal_diffusers.mechanisms.categorical import CategoricalMechanism
from causal_diffusers.mechanisms.encoders import ParentEncoder
from causal_diffusers.mechanisms.pretrained import PretrainedMechanism
from causal_diffusers.mechanisms.representation import Representation, code_of
from causal_diffusers.variables import Categorical, Confounder, Variable

__all__ = ["DiffusionMechanism"]

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
CONVOLUTIONS = ("conv1", "conv2")
CODE = code_of("image")  # what a mechanism calls the code of its own image


class DiffusionMechanism(PretrainedMechanism[Denoiser]):
    """The mechanism of an image variable, on a frozen diffusion model, of pixels or latents.

    Use `from_pretrained` to create one from a pretrained model.

    Arguments:
        base: Where the frozen model comes from, in plain JSON.
        rank: The rank of the LoRA updates, in [1, 1024].
        alpha: Their scale.
        target_modules: The names of the layers that get one.
        condition_dropout: How often training hides the parents, in [0, 1).
        codes: Values of the code of a confounded image, in [2, 4096].
        sampler: How a saved mechanism samples, a diffusers scheduler in plain JSON. In
            memory it is `scheduler`, at first a DPM-Solver with the schedule of the base,
            to be replaced as in any diffusers pipeline.
        image_encoder: A frozen encoder of parents that are images; None trains a small one.
        variable: The variable that is made, in plain JSON; set by `bind`.
        parents: Its parents, by name, in plain JSON; set by `bind`.
        confounders: Its confounders, likewise; it listens to them through its code alone.

    Raises:
        ValueError: If `rank`, `alpha`, `condition_dropout` or `codes` is out of range, or
            `target_modules` is no list of names.

    Example:
        >>> DiffusionMechanism(rank=4).is_bound
        False
    """

    kinds = LatentDiffusion, PixelDiffusion

    @register_to_config
    def __init__(
        self,
        base: dict | None = None,
        rank: int = 8,
        alpha: float = 8.0,
        target_modules: Sequence[str] = (*ATTENTION, *CONVOLUTIONS),
        condition_dropout: float = 0.1,
        codes: int = 16,
        sampler: dict | None = None,
        image_encoder: VisionEncoder | None = None,
        variable: dict | None = None,
        parents: dict | None = None,
        confounders: dict | None = None,
    ) -> None:
        super().__init__()
        self._see_with(image_encoder)
        if not 1 <= rank <= 1024 or not 0 <= condition_dropout < 1 or not math.isfinite(alpha):
            raise ValueError(
                "`DiffusionMechanism` needs a rank in [1, 1024], a finite alpha and a "
                f"condition_dropout in [0, 1): got {rank}, {alpha} and {condition_dropout}."
            )
        if type(codes) is not int or not 2 <= codes <= 4096:
            raise ValueError(f"`codes` is an integer in [2, 4096]: got {codes!r}.")
        names = [] if isinstance(target_modules, str) else list(target_modules)
        if not names or not all(isinstance(name, str) for name in names):
            raise ValueError(
                f"`target_modules` is a list of names, not a pattern: got {target_modules!r}."
            )
        self.backbone: Denoiser | None = None
        self.scheduler: Any = None  # diffusers' samplers share no type that has `step`

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        source: str | os.PathLike[str],
        *,
        revision: str | None = None,
        backbone: str | os.PathLike[str] | None = None,
        rank: int | None = None,
        alpha: float | None = None,
        target_modules: Sequence[str] | None = None,
        condition_dropout: float | None = None,
        image_encoder: VisionEncoder | None = None,
        codes: int | None = None,
        **loading: Any,
    ) -> Self:
        """Start from a pretrained diffusion model, or load a saved mechanism.

        Arguments:
            source: A pretrained model: a Hub id, a shipped id `causal-diffusers/<name>` or
                a folder as DDPMPipeline or LDMPipeline writes it. Or a folder that
                `save_pretrained` wrote.
            revision: Branch, tag or commit of a model on the Hub.
            backbone: For a saved mechanism, where its frozen model has moved to.
            rank: The rank of the LoRA updates of a new adapter; 8 if None.
            alpha: Their scale; `rank` if None.
            target_modules: The names of the layers that get one; if None the attention
                and the convolutions of residual blocks.
            condition_dropout: How often training hides the parents; 0.1 if None.
            image_encoder: A frozen encoder that reads parents which are images.
            codes: Values of the representation of a confounded image; 16 if None.
            loading: For a saved mechanism, `dtype` and `variant`.

        Returns:
            An unbound mechanism with an adapter still to be trained, or the saved one.

        Raises:
            CheckpointError: If the model cannot be loaded, or is not the one that a
                saved adapter was trained on.
            ValueError: If an argument does not apply to what is loaded.

        Example:
            >>> DiffusionMechanism.from_pretrained("./no/such/folder")
            Traceback (most recent call last):
            ...
            causal_diffusers.errors.CheckpointError: ...
        """
        adapter: dict[str, Any] = {"rank": rank, "alpha": alpha, "target_modules": target_modules}
        adapter |= {"condition_dropout": condition_dropout, "codes": codes}
        adapter["image_encoder"] = image_encoder
        chosen = {key: value for key, value in adapter.items() if value is not None}
        if cls._is_saved(source):
            return cls._load(source, chosen, backbone, loading)
        chosen.setdefault("alpha", float(chosen.get("rank", 8)))
        chosen["target_modules"] = list(target_modules or (*ATTENTION, *CONVOLUTIONS))
        return cls._adapt(source, chosen, revision, backbone, loading)

    def predict(
        self, x_t: Tensor, t: Tensor, parents: Mapping[str, Tensor], hidden: Tensor
    ) -> Tensor:
        """Run the adapted denoiser on noised images, or on their noised latents.

        Arguments:
            x_t: What was noised, with shape (B, *shape) of the backbone.
            t: The time steps, integers with shape (B,) or ().
            parents: Encoded parents, each with shape (B, *shape); under `CODE` the code.
            hidden: Which rows do not see their parents, booleans with shape (B,).

        Returns:
            The prediction, with the shape of `x_t`.
        """
        self.gates.set_context(self._context(parents, hidden))
        return self._frozen()(x_t, t)

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
        """Denoise from noise drawn for all samples at once; see `Mechanism.sample`.

        The batch size does not change the result where the sampler is deterministic. The
        images are float32 whatever the precision of the network. A code comes first, unless
        `parents` has it under `CODE`.

        Raises:
            ValueError: If there are too many steps for the schedule of the model.
        """
        if self.confounders and CODE not in parents:
            size: Any = {"num_samples": num_samples, "generator": generator}
            parents = {**parents, CODE: self.head.sample(parents, confounders, **size)}
        shape = (num_samples, *self._frozen().shape)
        noise = randn_tensor(shape, generator=generator, device=self.device)
        steps = samplers.count_steps(self.scheduler, options.num_inference_steps)
        chunks = range(0, num_samples, options.batch_size)
        wrap = options.progress_bar or (lambda iterable: iterable)
        jobs = wrap([(start, step) for start in chunks for step in range(steps)])
        done, images = iter(jobs), []
        for start in chunks:
            rows = slice(start, start + options.batch_size)
            chunk = {name: value[rows] for name, value in parents.items()}
            images.append(self._denoise(noise[rows], chunk, steps, generator, options, done))
        list(done)  # lets the progress bar reach its end
        return torch.cat(images) if images else noise.new_empty(0, *self.variable.shape)

    def _denoise(
        self,
        x: Tensor,
        parents: Mapping[str, Tensor],
        steps: int,
        generator: torch.Generator,
        options: SamplingOptions,
        done: Iterator[object],
    ) -> Tensor:
        """Run the sampling schedule on one batch; the gates are computed once."""
        self._set_gates(parents, len(x), guided=options.guidance_scale != 1)
        frozen = self._frozen()
        denoised = samplers.denoise(
            self.scheduler,
            frozen,
            x,
            steps=steps,
            guidance_scale=options.guidance_scale,
            generator=generator,
            done=done,
        )
        return frozen.decode(denoised)

    def _set_gates(self, parents: Mapping[str, Tensor], batch: int, *, guided: bool) -> None:
        hidden = torch.zeros(batch, dtype=torch.bool, device=self.device)
        told = self._context(parents, hidden)
        if guided:
            told = torch.cat([self._context(parents, ~hidden), told])
        self.gates.set_context(told)

    def _context(self, parents: Mapping[str, Tensor], hidden: Tensor) -> Tensor:
        """Encode the parents; hidden rows are zero but for the constant and a flag."""
        context = self.encoder(parents, len(hidden))
        flag = hidden[:, None].to(context.dtype)
        seen = torch.cat([context[:, :1], context[:, 1:] * (1 - flag)], dim=1)
        return torch.cat([seen, flag], dim=1)

    def _attach(self, network: Denoiser) -> None:
        """Take the frozen model in, with a sampler made from its schedule."""
        self.backbone = network
        self.scheduler = DPMSolverMultistepScheduler.from_config(network.scheduler.config)

    def _check_signature(
        self,
        variable: Variable,
        parents: Mapping[str, Variable],
        confounders: Mapping[str, Confounder],
    ) -> None:
        made = self._frozen().image
        if variable != made:
            raise ValueError(
                f"The pretrained model makes {made}: got a variable {variable}. Declare the "
                "variable as the model makes it, or choose another model."
            )

    def _build(self) -> None:
        parents = self.parents
        if self.confounders:
            code = Categorical(range(self.config["codes"]))
            self.reader = Representation(self.config["variable"], len(code.labels))
            self.head = CategoricalMechanism().bind(code, parents, self.confounders)
            parents[CODE] = code
        self.encoder = ParentEncoder(parents, self.image_encoder)
        self.gates = GatedLoRA(
            self._frozen().unet,
            self.encoder.features + 1,
            rank=self.config["rank"],
            alpha=self.config["alpha"],
            target_modules=self.config["target_modules"],
        )

    def _describe(self) -> dict[str, Any]:
        """Give the sampler, in plain JSON."""
        return {"sampler": samplers.describe_sampler(self.scheduler)}

    @classmethod
    def _build_from(
        cls, config: dict[str, Any], folder: Path, shapes: dict[str, tuple[int, ...]], **build: Any
    ) -> Self:
        """Build the adapter and the sampler; see `PretrainedMechanism`."""
        mechanism = super()._build_from(config, folder, shapes, **build)
        if mechanism.config["sampler"] is not None:
            mechanism.scheduler = samplers.load_sampler(
                mechanism.config["sampler"], folder / cls.config_name
            )
            mechanism.register_to_config(sampler=None)  # from now on it is `scheduler`
        return mechanism
