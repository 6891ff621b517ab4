"""Images, both ways: what a reader sees in good ones, and in those of a crippled adapter."""

import copy

import pytest
import torch

from causal_diffusers import Categorical, CausalPipeline, Continuous, DiffusionMechanism, Image
from causal_diffusers.systems import ConfoundedDigits, FrontDoorDigits
from causal_diffusers.training import report_fit
from tiny import make_tiny_base

PICTURE = Image(1, 8, 8)


def silence(pipe, name, part):
    """Copy a pipeline, with the trainable tensors of a variable whose names say so at zero."""
    crippled = copy.deepcopy(pipe)
    with torch.no_grad():
        for own, tensor in crippled.components[name].trainable_state().items():
            if part in own:
                tensor.zero_()
    return crippled


def shipped(name):
    pipe = CausalPipeline.from_pretrained(f"causal-diffusers/{name}")
    pipe.set_progress_bar_config(disable=True)
    return pipe


def tiny(tmp_path, graph, **variables):
    base = DiffusionMechanism.from_pretrained(make_tiny_base(tmp_path), rank=2)
    return CausalPipeline.from_graph(graph, {"I": PICTURE, **variables}, {"I": base})


def test_a_number_is_read_by_its_quarters(tmp_path, generator):
    pipe = tiny(tmp_path, "X -> I", X=Continuous())
    x = torch.randn(400, generator=generator)
    images = (0.5 + 0.2 * x)[:, None, None, None].expand(400, 1, 8, 8).clamp(0, 1)
    report = report_fit(pipe, {"X": x, "I": images}, num_images=80)
    assert report["I"].verdict == "MISFIT", str(report)
    assert report["I"].finding.startswith("X read right from")


def test_an_image_that_nothing_can_be_read_from_is_not_judged(tmp_path, generator):
    pipe = tiny(tmp_path, "I")
    report = report_fit(pipe, {"I": torch.rand(40, 1, 8, 8, generator=generator)})
    assert report["I"].verdict == "not judged"
    assert "neither a label nor a number stands beside it" in str(report["I"])
    assert report.is_good


def test_every_label_beside_an_image_is_read(tmp_path, generator):
    pipe = tiny(tmp_path, "X -> I <- W", X=Categorical([0, 1]), W=Categorical("abc"))
    rows = {
        "X": torch.randint(2, (60,), generator=generator),
        "W": ["a", "b", "c"] * 20,
        "I": torch.rand(60, 1, 8, 8, generator=generator),
    }
    finding = report_fit(pipe, rows, num_images=10)["I"].finding
    assert "X read right from" in finding
    assert "W read right from" in finding


@pytest.mark.slow
def test_the_shipped_front_door_digits():
    rows = FrontDoorDigits().sample(1500, generator=torch.Generator().manual_seed(77))
    pipe = shipped("digits-front-door")
    report = report_fit(pipe, rows, num_trained=200_000)
    assert report["I"].verdict == "fits", str(report)
    bad = report_fit(silence(pipe, "I", "lora_B"), rows, num_trained=200_000)
    assert bad["I"].verdict == "MISFIT"
    assert bad["A"].verdict == report["A"].verdict  # of the real image, which is as it was


@pytest.mark.slow
def test_the_shipped_confounded_digits():
    rows = ConfoundedDigits.with_label().sample(2000, generator=torch.Generator().manual_seed(77))
    pipe = shipped("confounded-digits")
    report = report_fit(pipe, rows, num_trained=200_000)
    assert report.is_good, str(report)
    assert "{I, L} with codes read again from its images" in report["I"].finding
    untold = report_fit(silence(pipe, "I", "lora_B"), rows, num_trained=200_000)["I"]
    assert untold.verdict == "MISFIT"
    assert "with codes read again" in untold.finding.partition(";")[0]
    blind = report_fit(silence(pipe, "I", "head.from_confounders"), rows, num_trained=200_000)["I"]
    assert blind.verdict == "MISFIT"
    assert blind.finding.startswith("total variation of its code")
