"""A pipeline on disk is a diffusers pipeline: its base by reference, its adapters as safetensors.

python examples/04_save_load_and_share.py
"""

import argparse
import tempfile
from pathlib import Path

import torch
from diffusers import DiffusionPipeline

import causal_diffusers as cd

argparse.ArgumentParser(description=__doc__).add_argument("--smoke", action="store_true")

pipe = cd.CausalPipeline.from_graph(
    "digit -> image -> verdict; digit <-> verdict",
    variables={
        "digit": cd.Categorical(range(10)),
        "image": cd.Image(1, 8, 8),
        "verdict": cd.Categorical(["no", "yes"]),
    },
    mechanisms={"image": cd.DiffusionMechanism.from_pretrained("causal-diffusers/digits-ddpm")},
)


def sample(pipe):
    generator = torch.Generator().manual_seed(0)
    out = pipe(4, do={"digit": 3}, num_inference_steps=2, generator=generator, output_type="pt")
    return out.images["image"]


with tempfile.TemporaryDirectory() as folder:
    pipe.save_pretrained(folder)
    for path in sorted(Path(folder).rglob("*.*")):
        print(f"{path.stat().st_size:>8,} bytes  {path.relative_to(folder)}")
    for loader in (cd.CausalPipeline, DiffusionPipeline):
        loaded = loader.from_pretrained(folder)
        same = torch.equal(sample(pipe), sample(loaded))
        print(f"{loader.__name__}.from_pretrained: the same samples: {same}")

# To share it: pipe.push_to_hub("me/my-pipeline")
