r"""From noise to an image: run a sampling schedule over a denoiser.

With guidance the denoiser is asked twice, once without the context and once with it,

$$ \tilde\varepsilon = \varepsilon(x_t, \varnothing) + w \,
   \big(\varepsilon(x_t, c) - \varepsilon(x_t, \varnothing)\big) . $$

References:
    Classifier-free diffusion guidance (Ho & Salimans, 2022), Sec. 3.
    Denoising diffusion implicit models (Song, Meng & Ermon, 2021), Sec. 4.
    DPM-Solver++ (Lu et al., 2022), Sec. 3.
    Elucidating the design space of diffusion-based generative models (Karras et al., 2022),
    Sec. 3 (Euler).
    UniPC: a unified predictor-corrector framework (Zhao et al., 2023), Sec. 3.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerDiscreteScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)
from torch import Tensor

from causal_diffusers.backbones.files import construct
from causal_diffusers.errors import CheckpointError

__all__ = ["count_steps", "denoise", "describe_sampler", "load_sampler"]

_KINDS = (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
_KNOWN = {kind.__name__: kind for kind in _KINDS}
_DEFAULT_STEPS = 20


def denoise(
    sampler: Any,  # noqa: ANN401 (diffusers' samplers share no type that has `step`)
    network: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    *,
    steps: int,
    guidance_scale: float,
    generator: torch.Generator,
    done: Iterator[object],
) -> Tensor:
    """Denoise a batch.

    Arguments:
        sampler: A diffusers scheduler.
        network: The denoiser, a function of $x_t$ and $t$. With guidance it gets twice
            the batch: first without the context, then with it.
        x: Standard normal noise, with shape (B, C, H, W).
        steps: The number of denoising steps.
        guidance_scale: The weight $w$; 1 is no guidance.
        generator: The source of the noise of a stochastic sampler.
        done: Advanced at every step, for a progress bar.

    Returns:
        What was denoised, in the shape of `x`.

    Raises:
        ValueError: If the sampler has not as many different time steps.

    Example:
        >>> options = dict(steps=2, guidance_scale=1, generator=None, done=iter([]))
        >>> x = denoise(DDIMScheduler(), lambda x, t: 0 * x, torch.zeros(1, 1, 2, 2), **options)
        >>> x.unique().tolist()
        [0.0]
    """
    sampler.set_timesteps(steps, device=x.device)
    if len(sampler.timesteps.unique()) < steps:  # some samplers go astray instead
        raise ValueError(
            f"`num_inference_steps` is too large for {type(sampler).__name__}: got {steps}, and "
            f"the model was trained with {sampler.config['num_train_timesteps']}. Take fewer."
        )
    guided = guidance_scale != 1
    extra = {"generator": generator} if _is_stochastic(sampler.step) else {}
    x = x * sampler.init_noise_sigma
    for t in sampler.timesteps:
        next(done, None)
        seen = sampler.scale_model_input(torch.cat([x, x]) if guided else x, t)
        prediction = network(seen, t)
        if guided:
            plain, told = prediction.chunk(2)
            prediction = plain + guidance_scale * (told - plain)
        x = sampler.step(prediction, t, x, return_dict=False, **extra)[0]
    return x


def count_steps(sampler: Any, asked: int | None) -> int:  # noqa: ANN401 (see `denoise`)
    """Say how many steps a sampler takes.

    Arguments:
        sampler: A diffusers scheduler.
        asked: The number asked for, or None for 20, if the model knows as many.

    Returns:
        The number of denoising steps.

    Raises:
        ValueError: If there are too many for the schedule of the model.

    Example:
        >>> count_steps(DDIMScheduler(), None)
        20
    """
    most = sampler.config["num_train_timesteps"]
    if asked is not None and asked > most:
        raise ValueError(
            f"`num_inference_steps` is at most the {most} steps that the model was trained "
            f"with: got {asked}."
        )
    return asked or max(1, min(_DEFAULT_STEPS, most - 1))  # DPM-Solver needs one to spare


def describe_sampler(sampler: Any) -> dict[str, Any]:  # noqa: ANN401 (see `denoise`)
    """Describe a sampler in plain JSON.

    Arguments:
        sampler: A diffusers scheduler.

    Returns:
        Its class and its config.

    Raises:
        ValueError: If it is none of those that a saved mechanism may name.

    Example:
        >>> describe_sampler(DDIMScheduler())["_class_name"]
        'DDIMScheduler'
    """
    if type(sampler).__name__ not in _KNOWN:
        raise ValueError(
            f"`scheduler` is saved as one of {sorted(_KNOWN)}: got {type(sampler).__name__}. Set "
            "one of these before saving."
        )
    return json.loads(sampler.to_json_string())


def load_sampler(config: Mapping[str, Any], path: Path) -> SchedulerMixin:
    """Rebuild the sampler of a saved mechanism.

    Arguments:
        config: What `describe_sampler` gave, or whatever stands in its place.
        path: The file that it stands in.

    Returns:
        The sampler.

    Raises:
        CheckpointError: If it describes no sampler, or one of another class.

    Example:
        >>> sampler = load_sampler(describe_sampler(DDPMScheduler(7)), Path("config.json"))
        >>> sampler.config["num_train_timesteps"]
        7
    """
    name = str(config.get("_class_name")) if isinstance(config, Mapping) else repr(config)
    if name not in _KNOWN:
        raise CheckpointError(
            f"{path}: the sampler is one of {sorted(_KNOWN)}: got {name!r}.", path=path
        )
    return construct(_KNOWN[name], config, path)


def _is_stochastic(step: Callable[..., object]) -> bool:
    return "generator" in inspect.signature(step).parameters
