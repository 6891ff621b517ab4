"""A change that touches an image trains the image anew, on the same frozen network."""

import pytest
import torch

from causal_diffusers import (
    Categorical,
    CausalPipeline,
    GANMechanism,
    Image,
    TrainingConfig,
)
from causal_diffusers.inference import sensitivity
from tiny import make_tiny_base, make_tiny_gan, make_tiny_pipeline, shake

FEW = TrainingConfig(steps=2, batch_size=8)
OPTIONS = {"config": FEW, "num_samples": 12, "num_inference_steps": 2}


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    return make_tiny_pipeline(make_tiny_base(tmp_path_factory.mktemp("base")))


def rows(pipe, number=24):
    values = pipe.scm.sample(number, generator=torch.Generator().manual_seed(0))
    return {name: pipe.variables[name].decode(column) for name, column in values.items()}


def state(pipe):
    return {
        f"{owner}.{name}": tensor.clone()
        for owner, component in pipe.components.items()
        for name, tensor in component.state_dict().items()
    }


def test_an_image_that_is_touched_is_trained_anew(pipe):
    before = state(pipe)
    query = pipe.identify("A", do="W")
    table = sensitivity(pipe, query, rows(pipe), edges=[("W", "I")], **OPTIONS)
    assert [row.change for row in table.rows] == ["remove W -> I", "reverse W -> I", "add W <-> I"]
    for row in table.rows:
        assert row.is_identifiable is (row.change != "add W <-> I")
        if row.is_identifiable and row.note != "same estimand":
            assert row.answer.shape == (3, 2)
            assert row.moved >= 0
    assert ("I",) in table["remove W -> I"].retrained
    after = state(pipe)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_new_edge_tells_the_image_more(pipe, monkeypatch):
    """Only the image is trained, on the frozen tensors of the pipeline, from its adapter."""
    from causal_diffusers.training import stage

    taken = []
    train_stage = stage.train_stage

    def record(objective, *args, **options):
        started = {n: t.clone() for n, t in objective.trainable_state().items()}
        taken.append((objective, started, args[1]))
        return train_stage(objective, *args, **options)

    monkeypatch.setattr(stage, "train_stage", record)
    own = TrainingConfig(steps=1, batch_size=4)
    query = pipe.identify("A", do="D")
    table = sensitivity(
        pipe, query, rows(pipe), edges=[("D", "I")], overrides={"I": own}, **OPTIONS
    )
    row = table["add D -> I"]
    assert row.retrained == (("I",),)
    assert row.moved is not None
    objective, started, config = taken[0]
    new, old = objective.components["I"], pipe.mechanisms["I"]
    assert config == own
    assert sorted(new.parents) == ["D", "W"]
    lora = {n: t for n, t in old.trainable_state().items() if ".lora_" in n}
    assert all(torch.equal(started[f"I.{n}"], t) for n, t in lora.items())
    frozen = {p.data_ptr() for p in old.backbone.parameters() if not p.requires_grad}
    assert {p.data_ptr() for p in new.backbone.parameters() if not p.requires_grad} == frozen


def test_an_image_that_becomes_confounded_learns_to_be_read(pipe, tmp_path):
    """Three lessons: codes, the district, the denoiser; they are kept, each in its folder."""
    query = pipe.identify("A", do="D")
    options = {**OPTIONS, "edges": [("D", "I")], "output_dir": tmp_path}
    table = sensitivity(pipe, query, rows(pipe), **options)
    (district,) = table["add D <-> I"].retrained
    assert set(district) >= {"D", "I"}
    assert table["add D <-> I"].moved is not None
    kept = {p.parent.name for p in tmp_path.rglob("finished.safetensors")}
    for lesson in ("reading", "likelihood", "denoising"):
        assert any(name.startswith(lesson) for name in kept), lesson
    again = sensitivity(pipe, query, rows(pipe), **options)
    assert [row.moved for row in again.rows] == [row.moved for row in table.rows]


def test_what_a_mechanism_cannot_do_is_said(tmp_path):
    """A GAN that is told by Bayes on request cannot be confounded."""
    two, picture = Categorical([0, 1]), Image(1, 8, 8)
    gan = GANMechanism.from_pretrained(
        make_tiny_gan(tmp_path / "gan"), conditioning="posterior", candidates=4
    )
    variables = {"X": two, "I": picture, "Y": two}
    pipe = CausalPipeline.from_graph("X -> I -> Y", variables, {"I": gan})
    shake(pipe.components.values())
    table = sensitivity(
        pipe, pipe.identify("Y", do="X"), rows(pipe), edges=[("I", "Y")], **OPTIONS
    )
    row = table["reverse I -> Y"]
    assert row.answer is not None or "cannot be trained anew" in row.note
    assert table["add I <-> Y"].moved is None
    assert "cannot be trained anew" in table["add I <-> Y"].note
    assert 'conditioning="posterior"' in table["add I <-> Y"].note
