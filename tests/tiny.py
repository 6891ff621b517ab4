"""Tiny pretrained things: real diffusers folders with random weights, made in a blink."""

import json
from pathlib import Path

import torch


def tiny_unet(**config):
    """Give an unconditional UNet2DModel of 8x8 pixels, grey, unless told otherwise."""
    from diffusers import UNet2DModel

    small = {
        "sample_size": 8,
        "in_channels": 1,
        "out_channels": 1,
        "layers_per_block": 1,
        "block_out_channels": (8, 16),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "norm_num_groups": 4,
        "attention_head_dim": 8,
    }
    return UNet2DModel(**{**small, **config})


def make_tiny_base(folder, *, seed=0, size=8, channels=1, steps=100):
    """Write an unconditional DDPM with random weights as a DDPMPipeline folder.

    8x8 pixels, one channel, about 50 k parameters, attention at the second level.
    """
    from diffusers import DDPMPipeline, DDPMScheduler

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = tiny_unet(sample_size=size, in_channels=channels, out_channels=channels)
    scheduler = DDPMScheduler(num_train_timesteps=steps)
    DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(folder, safe_serialization=True)
    return Path(folder)


def make_tiny_ldm(
    folder,
    kind="AutoencoderKL",
    *,
    seed=0,
    steps=100,
    size=4,
    channels=1,
    latent_channels=3,
    **options,
):
    """Write a latent diffusion model with random weights as an LDMPipeline folder.

    8x8 pixels, one channel, latents of 3x4x4, unless told otherwise; the autoencoder is of the
    kind that is named.
    """
    import diffusers

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2}
    blocks |= {"up_block_types": ("UpDecoderBlock2D",) * 2, "block_out_channels": (4, 8)}
    if kind == "VQModel":
        blocks["num_vq_embeddings"] = 16
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        autoencoder = getattr(diffusers, kind)(
            in_channels=channels,
            out_channels=channels,
            latent_channels=latent_channels,
            norm_num_groups=4,
            **{**blocks, **options},
        )
        coded = options.get("vq_embed_dim", latent_channels)
        unet = tiny_unet(sample_size=size, in_channels=coded, out_channels=coded)
    autoencoder.register_to_config(scaling_factor=0.7)
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=steps, clip_sample=False)
    pipe = diffusers.LDMPipeline(vqvae=autoencoder, unet=unet, scheduler=scheduler)
    pipe.save_pretrained(folder)
    return Path(folder)


def make_tiny_gan(folder, *, seed=0):
    """Write a DCGAN generator with random weights: latents of length 6, 8x8 pixels."""
    from causal_diffusers.backbones import GANGenerator

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        arguments = {"latent_dim": 6, "channels": [8, 4, 1], "stride": [1, 2, 1]}
        arguments |= {"kernel_size": [3, 4, 3], "padding": [0, 1, 0], "bias": True}
        generator = GANGenerator("dcgan", arguments)
        for name, tensor in generator.network.state_dict().items():
            if name.endswith(("running_var", ".1.weight")):
                tensor.uniform_(0.1, 1.0)  # statistics as training leaves them
    generator.save_pretrained(Path(folder))
    return Path(folder)


def make_tiny_pipeline(base, *, states=3, seed=0):
    """A front-door pipeline, D -> W -> I -> A with D <-> A, whose weights are all random.

    D and W have the labels a, b, c; A has no, yes; I is the image of the base.
    """
    from causal_diffusers import (
        Categorical,
        CausalPipeline,
        Confounder,
        DiffusionMechanism,
        Image,
    )

    letters = Categorical("abc")
    pipe = CausalPipeline.from_graph(
        "D -> W -> I -> A; D <-> A",
        {"D": letters, "W": letters, "I": Image(1, 8, 8), "A": Categorical(["no", "yes"])},
        {"I": DiffusionMechanism.from_pretrained(base, rank=2)},
        {"U_D_A": Confounder(states=states)},
    )
    shake(pipe.components.values(), seed=seed)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def shake(components, *, seed=0):
    """Move every trainable tensor away from where it starts, where adapters do nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for component in components:
            for tensor in component.trainable_state().values():
                tensor += 0.3 * torch.randn(tensor.shape, generator=generator)


def make_tiny_encoder(folder, kind="dinov2", *, seed=0):
    """Write a vision encoder with random weights as a transformers folder, a few kB."""
    import transformers

    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    patches = {"intermediate_size": 16, "image_size": 16, "patch_size": 8}
    name, options = {
        "vit": ("ViT", {**sizes, **patches}),
        "dinov2": ("Dinov2", {**sizes, "image_size": 16, "patch_size": 8, "mlp_ratio": 2}),
        "clip_vision_model": ("CLIPVision", {**sizes, **patches}),
        "convnext": ("ConvNext", {"hidden_sizes": [8, 8], "depths": [1, 1], "num_stages": 2}),
    }[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = getattr(transformers, f"{name}Config")(**options)
        network = getattr(transformers, f"{name}Model")(config)
    network.save_pretrained(folder)
    wants = {"size": {"height": 16, "width": 16}, "image_mean": [0.5, 0.4, 0.3], "image_std": 0.25}
    (Path(folder) / "preprocessor_config.json").write_text(json.dumps(wants))
    return Path(folder)
