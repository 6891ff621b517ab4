"""A reader gives every image one of its codes."""

import json

import pytest
import torch

from causal_diffusers.errors import CheckpointError
from causal_diffusers.mechanisms import DiffusionMechanism, SamplingOptions
from causal_diffusers.mechanisms.diffusion import CODE
from causal_diffusers.mechanisms.representation import Representation, code_of
from causal_diffusers.variables import Categorical, Image
from hostile import edit
from mechanisms.zoo import draw_inputs, make, sample

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PICTURE = Image(1, 8, 8)
TWO_STEPS = SamplingOptions(num_inference_steps=2)


def images(number):
    return torch.randn(number, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_codes_are_those_that_are_most_likely():
    phi, x = Representation(PICTURE.to_dict(), codes=5), images(50)
    assert torch.equal(phi.read(x), phi(x).argmax(dim=1))
    torch.testing.assert_close(phi(x).sum(dim=1), torch.ones(50))
    assert len(phi.read(x).unique()) > 1
    assert phi.read(images(0)).shape == (0,)


def test_many_images_are_read_in_parts(monkeypatch):
    phi, x = Representation(PICTURE.to_dict(), codes=5), images(20)
    whole = phi.read(x)
    monkeypatch.setattr("causal_diffusers.mechanisms.representation._PIXELS", 7 * 64)
    assert torch.equal(phi.read(x), whole)


def test_reading_leaves_no_gradient():
    assert not Representation(PICTURE.to_dict()).read(images(3)).requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_reader_works_in_any_precision(dtype):
    phi = Representation(PICTURE.to_dict(), codes=3)
    before = phi(images(40))
    torch.nn.Module.to(phi, dtype)
    assert phi(images(40)).dtype == torch.promote_types(dtype, torch.float32)
    assert (phi(images(40)) - before).abs().max() < 0.02


@pytest.mark.parametrize("arguments", [(PICTURE, 1), (PICTURE, 2.0), (Categorical("ab"), 4)])
def test_what_is_no_reader_is_refused(arguments):
    with pytest.raises(ValueError, match="an image and at least two codes"):
        Representation(arguments[0].to_dict(), arguments[1])


def test_no_variable_is_called_like_a_code():
    from causal_diffusers.errors import GraphError
    from causal_diffusers.graphs.names import check_name

    with pytest.raises(GraphError):
        check_name(code_of("I"))


def test_the_confounders_reach_the_image_through_its_code_alone(base):
    f = make("diffusion, confounded", base)
    parents, confounders = draw_inputs(f, 6)
    _, others = draw_inputs(f, 6, seed=3)
    code = {CODE: torch.tensor([0, 1, 2, 3, 0, 1])}
    one, two = (sample(f, 6, inputs=({**parents, **code}, u)) for u in (confounders, others))
    assert torch.equal(one, two)
    assert not torch.equal(sample(f, 6, inputs=({**parents, CODE: 3 - code[CODE]}, others)), one)


def test_the_image_is_the_one_of_the_code_that_was_drawn(base):
    f = make("diffusion, confounded", base)
    inputs, generator = draw_inputs(f, 6), torch.Generator().manual_seed(0)
    code = f.head.sample(*inputs, num_samples=6, generator=generator)
    again = f.sample(
        {**inputs[0], CODE: code}, {}, num_samples=6, generator=generator, options=TWO_STEPS
    )
    assert torch.equal(again, sample(f, 6, inputs=inputs))


def test_an_image_that_is_not_confounded_has_no_code(base):
    f = make("diffusion, of labels", base)
    assert not any(name.startswith(("reader.", "head.")) for name in f.trainable_state())


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (4000, "has shape"),
        (10**9, "absurdly large"),
        (5000, "does not describe"),
        (1, "does not describe"),
        ("many", "does not describe"),
    ],
)
def test_a_damaged_number_of_codes_is_refused(base, tmp_path, codes, message):
    make("diffusion, confounded", base).save_pretrained(tmp_path, include_backbone=True)
    edit(tmp_path / "config.json", codes=codes)
    with pytest.raises(CheckpointError, match=message):
        DiffusionMechanism.from_pretrained(tmp_path)


def test_a_config_of_an_older_release_has_no_codes(base, tmp_path):
    f = make("diffusion, of labels", base)
    f.save_pretrained(tmp_path, include_backbone=True)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["codes"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert torch.equal(sample(DiffusionMechanism.from_pretrained(tmp_path)), sample(f))
