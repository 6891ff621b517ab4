"""The whole plan: resumed after a kill, refused in the user's words, and true."""

import dataclasses
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from causal_diffusers import (
    ADMG,
    Categorical,
    CategoricalMechanism,
    CausalPipeline,
    CheckpointError,
    Confounder,
    DiffusionMechanism,
    Image,
    ModularTrainer,
    TrainingConfig,
)
from causal_diffusers.systems import DiscreteSCM
from causal_diffusers.training import stage as stage_module
from causal_diffusers.training.lessons import lessons_of
from killing import CONFIG, GAME, PLACES, play, rows, train
from tiny import make_tiny_base, make_tiny_pipeline
from two_processes import CONFIG as SHARED
from two_processes import train as train_alone

TWO = Categorical([0, 1])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def whole(base, tmp_path_factory):
    """The weights of a run that nobody disturbed."""
    return weights(train(base, tmp_path_factory.mktemp("whole")))


def weights(pipe):
    return {
        f"{owner}.{name}": p.detach().clone()
        for owner, component in pipe.components.items()
        for name, p in component.trainable_state().items()
    }


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def run(script, *arguments, launcher=()):
    """Run a script beside the tests on one thread."""
    folder = Path(__file__).parents[1]
    paths = os.pathsep.join([str(folder), *sys.path])
    environment = {
        **os.environ,
        "PYTHONPATH": paths,
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        [sys.executable, *launcher, folder / script, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_a_killed_run_ends_in_the_weights_of_one_that_was_not(base, whole, tmp_path):
    places = [*PLACES, "any"]
    killed = run("killing.py", base, tmp_path, *places)
    assert int(killed) >= 2
    for number, place in enumerate(places):
        found = train(base, tmp_path / str(number), seed=5)  # all finished: read, not trained
        assert same(weights(found), whole), place
        left = {path.name for path in (tmp_path / str(number)).rglob("*.safetensors")}
        assert left == {"start.safetensors", "finished.safetensors"}, place


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_a_killed_game_ends_in_the_weights_of_one_that_was_not(base, tmp_path):
    run("killing.py", base, tmp_path, GAME)
    found = play(base, tmp_path / "0", seed=5)  # all finished: read, not trained
    assert same(weights(found), weights(play(base, tmp_path / "whole")))


@pytest.mark.slow
def test_two_processes_end_in_the_same_weights(base, tmp_path):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    run("two_processes.py", base, tmp_path, launcher=launcher)
    kept, again, loose = (
        [load_file(tmp_path / f"{name}-{rank}.safetensors") for rank in range(2)]
        for name in ("kept", "again", "loose")
    )
    assert same(*kept)
    assert same(kept[0], again[0])
    assert same(*again)
    assert same(*loose)
    assert same(*(load_file(tmp_path / f"game-{rank}.safetensors") for rank in range(2)))
    assert same(kept[0], loose[0])
    assert list((tmp_path / "kept").rglob("*.partial")) == []
    logged = (tmp_path / "kept" / "I" / "log.jsonl").read_text().splitlines()
    assert len(logged) == SHARED.steps

    # The gradients are averaged: one process that sees the batches of both does the same.
    def spawn(seed, label, step, rank, part):
        return stage_spawn(seed, label, step, part, rank)

    stage_spawn = stage_module.spawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage_module, "spawn", spawn)
        both = dataclasses.replace(SHARED, gradient_accumulation_steps=2)
        alone = train_alone(base, None, both)
    for name, value in alone.items():
        torch.testing.assert_close(kept[0][name], value, rtol=1e-3, atol=1e-4)


def test_training_reaches_the_truth_of_a_front_door():
    """By enumeration of P(A | do D); what the rows allow is .01, what conditioning gets is .22."""
    graph = ADMG.parse("D -> I -> A; D <-> A")
    scm = DiscreteSCM.random(graph, generator=torch.Generator().manual_seed(70))
    data = scm.sample(20_000, generator=torch.Generator().manual_seed(5))
    torch.manual_seed(0)
    pipe = CausalPipeline.from_graph(
        graph, dict.fromkeys("DIA", TWO), confounders={"U_D_A": Confounder(states=4)}
    )
    ModularTrainer(pipe, data, config=TrainingConfig(steps=300)).train()
    truth = torch.from_numpy(scm.interventional(["A"], do=["D"]).values)
    joint = torch.from_numpy(scm.joint())
    naive = joint.sum(1).T / joint.sum((1, 2))
    floor = 0.02
    assert (naive - truth).abs().max() > 10 * floor  # the confounder matters here
    assert (model_answer(pipe) - truth).abs().max() <= floor


@torch.no_grad()
def model_answer(pipe):
    """Enumerate P(A | do D) of the trained pipeline, with axes (A, D)."""
    answer = torch.zeros(2, 2, dtype=torch.float64)
    prior = pipe.components["U_D_A"].log_weights().exp()
    for d, i, a, u in itertools.product(range(2), range(2), range(2), range(4)):
        p_i = pipe.components["I"].probabilities({"D": torch.tensor([d])}, {})[0, i]
        f = pipe.components["A"]
        p_a = f.probabilities({"I": torch.tensor([i])}, {"U_D_A": torch.tensor([u])})[0, a]
        answer[a, d] += prior[u] * p_i * p_a
    return answer


def labels(graph="X -> Y", **options):
    names = sorted({c for c in graph if c.isalpha()})
    pipe = CausalPipeline.from_graph(graph, dict.fromkeys(names, TWO), **options)
    return pipe, {name: [0, 1, 1, 0] for name in names}


def test_overrides_are_those_of_one_variable(tmp_path):
    pipe, data = labels("X -> Y")
    overrides = {"Y": TrainingConfig(steps=2)}
    ModularTrainer(pipe, data, tmp_path, TrainingConfig(steps=3), overrides).train()
    count = {n: len((tmp_path / n / "log.jsonl").read_text().splitlines()) for n in "XY"}
    assert count == {"X": 3, "Y": 2}


def test_an_override_has_its_own_precision_and_accumulation(tmp_path):
    """One accelerator for all would give every district those of the first."""
    own = TrainingConfig(steps=3, gradient_accumulation_steps=2, mixed_precision="bf16")
    for name, config in (("both", None), ("alone", own)):
        torch.manual_seed(0)
        pipe, data = labels("X -> Y")
        overrides = {} if config else {"Y": own}
        ModularTrainer(
            pipe, data, tmp_path / name, config or TrainingConfig(steps=3), overrides
        ).train()
    both, alone = (
        load_file(tmp_path / n / "Y" / "finished.safetensors") for n in ("both", "alone")
    )
    assert same(both, alone)


def test_unknown_overrides_are_named():
    pipe, data = labels()
    with pytest.raises(KeyError, match=r"`overrides` names \['Z'\]"):
        ModularTrainer(pipe, data, overrides={"Z": TrainingConfig()})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": {"steps": 5}}, r"`config` is .*got {'steps': 5}.*`TrainingConfig\(steps=5\)`"),
        ({"config": None}, r"`config` is a `TrainingConfig`: got None"),
        ({"config": {}}, r"`config` is .*got {}. Write `TrainingConfig\(steps=100\)`"),
        ({"overrides": {"Y": {"steps": 5}}}, r'`overrides\["Y"\]` is .*got {\'steps\': 5}'),
        ({"overrides": TrainingConfig()}, r"`overrides` is a .* by variable: got TrainingConfig"),
    ],
)
def test_what_is_no_config_is_refused_with_the_way_out(options, message):
    with pytest.raises(TypeError, match=message):
        ModularTrainer(labels(), {"X": [0, 1], "Y": [0, 1]}, **options)


def test_overrides_that_disagree_about_a_district_are_refused():
    pipe, data = labels("X <-> Y")
    one, other = TrainingConfig(steps=1), TrainingConfig(steps=2)
    with pytest.raises(
        ValueError, match=r"gives X and Y different configs: they are one district"
    ):
        ModularTrainer(pipe, data, overrides={"X": one, "Y": other})
    ModularTrainer(pipe, data, overrides={"X": one, "Y": one}).train()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_fp16_without_a_gpu_is_refused_before_training():
    pipe, data = labels()
    with pytest.raises(ValueError, match="needs a GPU"):
        ModularTrainer(pipe, data, overrides={"Y": TrainingConfig(mixed_precision="fp16")})


def test_a_missing_column_is_refused():
    pipe, data = labels()
    with pytest.raises(KeyError, match='no column "Y"'):
        ModularTrainer(pipe, {"X": data["X"]})


def test_a_component_that_was_left_out_is_refused():
    pipe, data = labels("X -> Y")
    pipe.Y = None
    with pytest.raises(ValueError, match=r'every component of the pipeline: got None for "Y"'):
        ModularTrainer(pipe, data)


def test_half_precision_weights_are_refused():
    pipe, data = labels()
    pipe.to(torch.float16)
    with pytest.raises(ValueError, match=r"Training needs float32: got torch.float16.*mixed_pre"):
        ModularTrainer(pipe, data)


def test_an_image_in_a_district_with_a_label_is_refused(base):
    pipe = make_tiny_pipeline(base)
    for district in (("A", "I"), ("I", "A")):
        with pytest.raises(TypeError, match=r'DiffusionMechanism for "I", which has none'):
            lessons_of("likelihood", district, pipe.plan()[0].stage, pipe.scm, CONFIG)


@pytest.mark.parametrize("stopped", [False, True])
def test_other_data_or_another_config_is_refused_before_training(stopped, tmp_path, monkeypatch):
    """A finished district of a past run would be a wrong answer in this one."""
    pipe, data = labels("X -> Y")
    config = TrainingConfig(steps=4, checkpoint_every=1)
    trainer = ModularTrainer(pipe, data, tmp_path, config)
    if stopped:
        monkeypatch.setattr(stage_module._Loop, "_finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
        monkeypatch.undo()
    else:
        trainer.train()
    monkeypatch.setattr(stage_module, "_Loop", None)  # nothing is trained from here on
    with pytest.raises(CheckpointError, match=r"safetensors was made from other data"):
        ModularTrainer(pipe, {**data, "X": [1, 1, 1, 1]}, tmp_path, config).train()
    with pytest.raises(CheckpointError, match=r"made from other config\.steps"):
        ModularTrainer(pipe, data, tmp_path, TrainingConfig(steps=5)).train()
    other = CausalPipeline.from_graph(
        "X -> Y", dict.fromkeys("XY", TWO), {"X": CategoricalMechanism(width=3)}
    )
    with pytest.raises(CheckpointError, match=r"made from other components\.X"):
        ModularTrainer(other, data, tmp_path, config).train()


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("file", ["start", "X/finished", "Y/checkpoint"])
def test_a_damaged_file_is_named(file, tmp_path, monkeypatch):
    pipe, data = labels("X -> Y")
    config = TrainingConfig(steps=4, checkpoint_every=1)
    finish = stage_module._Loop._finish
    monkeypatch.setattr(
        stage_module._Loop, "_finish", lambda s: finish(s) if s.label == "{X}" else interrupt()
    )
    with pytest.raises(KeyboardInterrupt):
        ModularTrainer(pipe, data, tmp_path, config).train()
    path = tmp_path / f"{file}.safetensors"
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])
    with pytest.raises(CheckpointError, match="is damaged") as caught:
        ModularTrainer(pipe, data, tmp_path, config).train()
    assert caught.value.path == str(path)


def test_interrupted_in_a_notebook_and_trained_again(base, whole, tmp_path, monkeypatch):
    """The same pipeline object, its weights half way; no new process."""
    torch.manual_seed(0)
    pipe = make_tiny_pipeline(base, seed=0)
    trainer = ModularTrainer(pipe, rows(), tmp_path, CONFIG)
    checkpoint = stage_module._Loop._checkpoint

    def checkpoint_once(loop):
        checkpoint(loop)
        if loop.label == "{I}" and loop.step == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage_module._Loop, "_checkpoint", checkpoint_once)
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
    trainer.train()
    assert same(weights(pipe), whole)
    trainer.train()
    assert same(weights(pipe), whole)


def test_interrupted_between_a_gradient_and_its_step(base, whole, tmp_path, monkeypatch):
    torch.manual_seed(0)
    pipe = make_tiny_pipeline(base, seed=0)
    clip = stage_module._Loop._clip_gradient

    def clip_and_stop(loop):
        clip(loop)
        if loop.label == "{I}" and loop.step == 1:
            raise KeyboardInterrupt

    trainer = ModularTrainer(pipe, rows(), tmp_path, CONFIG)
    with monkeypatch.context() as patch:
        patch.setattr(stage_module._Loop, "_clip_gradient", clip_and_stop)
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
    trainer.train()
    assert same(weights(pipe), whole)


def test_components_return_to_their_devices_and_to_eval(base, monkeypatch):
    pipe = make_tiny_pipeline(base)
    moved = []
    to = torch.nn.Module.to
    monkeypatch.setattr(
        torch.nn.Module, "to", lambda s, *a, **k: moved.append(s) or to(s, *a, **k)
    )
    ModularTrainer(pipe, rows(), config=TrainingConfig(steps=1)).train()
    assert {id(c) for c in pipe.components.values()} <= {id(m) for m in moved}
    modules = [m for component in pipe.components.values() for m in component.modules()]
    assert not any(module.training for module in modules)


@pytest.mark.gpu
def test_training_on_a_gpu_brings_everything_back(base, whole):
    pipe = train(base, None)
    assert {str(c.device) for c in pipe.components.values()} == {"cpu"}
    assert weights(pipe).keys() == whole.keys()


def test_images_from_files_and_frames_train(base, tmp_path):
    pandas = pytest.importorskip("pandas")
    from PIL import Image as PILImage

    data = {name: column.tolist() for name, column in rows().items() if name != "I"}
    images = (255 * rows()["I"][:, 0]).byte().numpy()
    paths = [tmp_path / f"{i}.png" for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        PILImage.fromarray(image).save(path)
    ends = []
    for column in (paths, list(map(PILImage.fromarray, images)), images):
        torch.manual_seed(0)
        pipe = make_tiny_pipeline(base)
        frame = pandas.DataFrame({**data, "I": list(column)})
        ModularTrainer(pipe, frame, config=TrainingConfig(steps=2, batch_size=8)).train()
        ends.append(weights(pipe))
    assert same(ends[0], ends[1])
    assert same(ends[0], ends[2])


def test_a_reused_folder_with_another_base_is_refused(base, tmp_path):
    def make(folder):
        return CausalPipeline.from_graph(
            "X -> I",
            {"X": TWO, "I": Image(1, 8, 8)},
            {"I": DiffusionMechanism.from_pretrained(folder, rank=2)},
        )

    data = {"X": [0, 1], "I": torch.zeros(2, 1, 8, 8)}
    config = TrainingConfig(steps=1)
    ModularTrainer(make(base), data, tmp_path / "out", config).train()
    other = make_tiny_base(tmp_path / "other", seed=7)
    with pytest.raises(CheckpointError, match=r"other components\.I"):
        ModularTrainer(make(other), data, tmp_path / "out", config).train()
