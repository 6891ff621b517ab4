"""Run by test_hub.py in an interpreter of its own, whose Hub is hub_stub.py."""

import contextlib
import json
import socket
import sys
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DiffusionPipeline
from huggingface_hub import HfApi

from causal_diffusers import ADAG, CausalPipeline
from tiny import make_tiny_base, make_tiny_pipeline


def draw(pipe):
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    out = pipe(3, num_inference_steps=2, output_type="pt", generator=generator)
    return [out.values, out.images["I"].tolist()]


def attempt(action, *arguments, **options):
    """Give what the action gives, or the name of its error."""
    try:
        return action(*arguments, **options)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def load_plainly(name, cache_dir):
    """Load by the class of diffusers, with nothing in the cache."""
    return draw(DiffusionPipeline.from_pretrained(name, cache_dir=cache_dir))


@contextlib.contextmanager
def unplugged():
    """Take the network away."""

    def refuse(*_):
        raise OSError("the network is gone")

    connect, socket.socket.connect = socket.socket.connect, refuse
    try:
        yield
    finally:
        socket.socket.connect = connect


def load_offline(name):
    with unplugged():
        return draw(CausalPipeline.from_pretrained(name, local_files_only=True))


def push_over_a_card(pipe):
    """Push to a repository whose card somebody has edited, and give the card after it."""
    api = HfApi()
    api.create_repo("me/edited")
    api.upload_file(
        repo_id="me/edited", path_in_repo="README.md", path_or_fileobj=b"My own words."
    )
    pipe.push_to_hub("me/edited")
    return Path(api.hf_hub_download("me/edited", "README.md")).read_text()


def push_hostile(folder):
    folder.mkdir()
    (folder / "model_index.json").write_text('{"_class_name": ["pipeline", "Evil"]}')
    (folder / "pipeline.py").write_text("raise SystemExit('remote code ran')")
    (folder / "X").mkdir()
    (folder / "X" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    api = HfApi()
    api.create_repo("me/hostile")
    api.upload_folder(repo_id="me/hostile", folder_path=folder)


def push_a_network():
    """Push a discovery model, and give what it and its copy say."""
    torch.manual_seed(0)
    here = ADAG(width=4, layers=1)
    here.push_to_hub("me/adag")
    there = ADAG.from_pretrained("me/adag")
    data = torch.randn(1, 10, 3, generator=torch.Generator().manual_seed(0))
    return [model.edges(data).probabilities.tolist() for model in (here, there)]


def main(folder):
    make_tiny_base(folder / "base")
    DDPMPipeline.from_pretrained(folder / "base").push_to_hub("me/base")
    pipe = make_tiny_pipeline("me/base")
    commit = pipe.push_to_hub("me/front-door")
    pipe.save_pretrained(folder / "saved", push_to_hub=True, repo_id="me/again")
    push_hostile(folder / "hostile")
    name, load = "me/front-door", CausalPipeline.from_pretrained
    reference = pipe.I.base_reference
    answers = {
        "here": draw(pipe),
        "main": draw(load(name)),
        "pinned": draw(load(name, revision=commit.oid)),
        "offline": load_offline(name),
        "moved": draw(load("me/again", backbones={"I": folder / "base"})),
        "found": draw(DiffusionPipeline.from_pretrained(folder / "saved")),
        "plain": attempt(load_plainly, name, folder / "empty"),
        "base": [reference.repo, reference.revision],
        "edited": push_over_a_card(pipe),
        "downloaded": sorted(p.name for p in Path(CausalPipeline.download(name)).iterdir()),
        "hostile": attempt(load, "me/hostile"),
        "networks": push_a_network(),
        "missing": attempt(load, "me/missing"),
    }
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
