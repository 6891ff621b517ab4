"""What must hold on a GPU: the same answers as on a CPU, in every precision, and back home."""

import pytest
import torch

from causal_diffusers import (
    Categorical,
    CausalPipeline,
    Confounder,
    Continuous,
    DiffusionMechanism,
    GANMechanism,
    Image,
    ModularTrainer,
    TrainingConfig,
)
from causal_diffusers.training import stage
from killing import rows
from tiny import make_tiny_base, make_tiny_gan, make_tiny_pipeline

pytestmark = pytest.mark.gpu

TWO = Categorical([0, 1])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(autouse=True)
def exact():
    """Compare with a CPU, which knows no TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def ask(pipe, device, **query):
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(3)
    how = {"num_inference_steps": 3, "output_type": "pt", "generator": generator}
    return pipe.to(device)(8, **query, **how)


def test_a_pipeline_answers_on_a_gpu_what_it_answers_on_a_cpu(base, device):
    pipe = make_tiny_pipeline(base)
    for query in ({}, {"do": {"D": "b"}}, {"do": {"W": ["a", "b"] * 4}}, {"given": {"A": "yes"}}):
        there, here = ask(pipe, device, **query), ask(pipe, "cpu", **query)
        assert there.values == here.values
        torch.testing.assert_close(there.images["I"], here.images["I"], atol=1e-3, rtol=1e-3)


def test_a_generator_may_live_on_the_gpu(base, device):
    pipe = make_tiny_pipeline(base).to(device)
    pipe.set_progress_bar_config(disable=True)
    made = [
        pipe(
            4,
            num_inference_steps=2,
            output_type="pt",
            generator=torch.Generator(device).manual_seed(1),
        ).images["I"]
        for _ in range(2)
    ]
    assert torch.equal(*made)


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_every_precision_trains_and_comes_home(base, precision):
    pipe = make_tiny_pipeline(base)
    before = {n: p.clone() for n, p in pipe.I.trainable_state().items()}
    frozen = {n: p.clone() for n, p in pipe.I.backbone.named_parameters() if "lora" not in n}
    config = TrainingConfig(steps=8, batch_size=8, mixed_precision=precision)
    ModularTrainer(pipe, rows(), config=config).train()
    after = pipe.I.trainable_state()
    assert all(p.device.type == "cpu" and torch.isfinite(p).all() for p in after.values())
    assert any(not torch.equal(before[n], p) for n, p in after.items())
    now = dict(pipe.I.backbone.named_parameters())
    assert all(torch.equal(now[n], p) for n, p in frozen.items())


def test_the_likelihood_comes_to_the_same_weights(device):
    """Counts and Sobol sets are drawn on the CPU, so only rounding differs."""
    columns = {"X": [0, 1, 1, 0] * 20, "Y": [0, 1, 0, 0] * 20}
    ends, accelerator = [], stage.Accelerator
    for hide in (False, True):
        torch.manual_seed(0)
        pipe = CausalPipeline.from_graph("X -> Y; X <-> Y", dict.fromkeys("XY", TWO))
        with pytest.MonkeyPatch.context() as patch:
            if hide:
                patch.setattr(stage, "Accelerator", lambda **k: accelerator(**{**k, "cpu": True}))
            ModularTrainer(pipe, columns, config=TrainingConfig(steps=20)).train()
        ends.append(torch.cat([p.flatten() for p in pipe.Y.trainable_state().values()]))
    torch.testing.assert_close(*ends, atol=5e-3, rtol=5e-3)


def test_numbers_and_games_train_on_a_gpu(device):
    graph, names = "X -> Z -> Y; X <-> Y", "XYZ"
    columns = {"X": [0, 1] * 40, "Y": [1, 0] * 40, "Z": torch.randn(80).tolist()}
    variables = {"X": TWO, "Y": TWO, "Z": Continuous()}
    for objective in ("likelihood", "adversarial"):
        pipe = CausalPipeline.from_graph(graph, variables)
        config = TrainingConfig(steps=6, batch_size=16, objective=objective)
        ModularTrainer(pipe, columns, config=config).train()
        out = pipe.to(device)(5, do={"X": 1}, given={"Z": 0.1})
        assert set(out.values) >= set(names)


def test_confounded_images_train_on_a_gpu(base, device):
    pipe = CausalPipeline.from_graph(
        "X -> I; X -> L; U: I, L",
        {"X": TWO, "L": TWO, "I": Image(1, 8, 8)},
        {"I": DiffusionMechanism.from_pretrained(base, rank=2, codes=4)},
        {"U": Confounder(states=2)},
    )
    columns = {"X": [0, 1] * 8, "L": [0, 0, 1, 1] * 4, "I": torch.rand(16, 1, 8, 8)}
    ModularTrainer(pipe, columns, config=TrainingConfig(steps=3, batch_size=8)).train()
    there, here = ask(pipe, device, do={"L": 1}), ask(pipe, "cpu", do={"L": 1})
    torch.testing.assert_close(there.images["I"], here.images["I"], atol=1e-3, rtol=1e-3)


def test_a_gan_is_told_by_bayes_on_a_gpu(device, tmp_path):
    pipe = CausalPipeline.from_graph(
        "X -> I",
        {"X": TWO, "I": Image(1, 8, 8)},
        {"I": GANMechanism.from_pretrained(make_tiny_gan(tmp_path / "gan"), candidates=8)},
    )
    columns = {"X": [0, 1] * 8, "I": torch.rand(16, 1, 8, 8)}
    ModularTrainer(pipe, columns, config=TrainingConfig(steps=3, batch_size=8)).train()
    assert ask(pipe, device, do={"X": 1}).images["I"].shape == (8, 1, 8, 8)
