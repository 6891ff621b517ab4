"""Saved pipelines to tamper with, by either of the two ways to load them."""

import json
import os

import pytest
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file

from causal_diffusers import CausalPipeline

INDEX, WEIGHTS = "model_index.json", "diffusion_pytorch_model.safetensors"
LOADERS = [CausalPipeline.from_pretrained, DiffusionPipeline.from_pretrained]
both = pytest.mark.parametrize("load", LOADERS, ids=["CausalPipeline", "DiffusionPipeline"])

# What diffusers raises before it asks us, where `_class_name` is not even a name it knows.
OF_DIFFUSERS = (AttributeError, KeyError, TypeError, ValueError)


def edit(path, **changes):
    """Change keys of a JSON file; a value of `...` removes the key."""
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


def graph_of(folder):
    return json.loads((folder / INDEX).read_text())["graph"]


class Payload:
    """Pickled, it writes a file as soon as it is loaded."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


def change_weights(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
