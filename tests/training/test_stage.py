"""The loop: resumed exactly, averaged rightly, and refusing what is not finite."""

import json
import math

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import load_file

from causal_diffusers import Categorical, CategoricalMechanism, Confounder, ConfounderPrior, Image
from causal_diffusers.errors import CheckpointError
from causal_diffusers.training import LikelihoodObjective, Rows, TrainingConfig, train_stage
from causal_diffusers.training import stage as stage_module
from causal_diffusers.training.checkpoint import StageFiles
from causal_diffusers.training.origin import made_from

TWO, SMALL = Categorical(["no", "yes"]), Image(1, 8, 8)
FEW = TrainingConfig(steps=8, checkpoint_every=3, ema_decay=0.9)


def discrete(*, seed=0, dim=None):
    """X and Y share a confounder and are trained on counts."""
    torch.manual_seed(seed)
    u = {"U": Confounder(dim=dim) if dim else Confounder(states=2)}
    mechanisms = {name: CategoricalMechanism(width=4).bind(TWO, {}, u) for name in "XY"}
    priors = {} if dim else {"U": ConfounderPrior(states=2)}
    return LikelihoodObjective(mechanisms, u, priors)


def seeing(*, seed=0):
    """Y sees an image and is trained on batches."""
    torch.manual_seed(seed)
    f = CategoricalMechanism(width=4).bind(TWO, {"I": SMALL}, {})
    return LikelihoodObjective({"Y": f}, {}, {})


@pytest.fixture
def rows(generator):
    columns = {name: torch.randint(2, (40,), generator=generator) for name in "XY"}
    columns["I"] = torch.rand(40, 1, 8, 8, generator=generator)
    return Rows(columns, {"X": TWO, "Y": TWO, "I": SMALL})


def weights(objective):
    return {name: p.detach().clone() for name, p in objective.trainable_state().items()}


def train(make, rows, config=FEW, folder=None, seed=0):
    objective = make(seed=seed)
    train_stage(objective, rows, config, label="{X, Y}", folder=folder)
    return weights(objective)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


class Stopped(BaseException):
    """Stands for a kill that the test survives."""


def interrupted(make, rows, folder, step, config=FEW, error=Stopped):
    """Train until the loop breaks before a step."""
    advance = stage_module._Loop._advance

    def advance_or_stop(loop):
        if loop.step == step:
            raise error
        return advance(loop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage_module._Loop, "_advance", advance_or_stop)
        objective = make()
        with pytest.raises(error):
            train_stage(objective, rows, config, label="{X, Y}", folder=folder)
    return objective


@pytest.mark.parametrize("make", [discrete, seeing])
@pytest.mark.parametrize("step", [0, 2, 3, 4, 7])
@pytest.mark.parametrize("error", [Stopped, KeyboardInterrupt])
def test_a_run_that_broke_ends_in_the_same_weights(make, step, error, rows, tmp_path):
    whole = train(make, rows)
    objective = interrupted(make, rows, tmp_path, step, error=error)
    assert not objective.training
    # what is trained next starts elsewhere, unless a checkpoint says where it was
    assert same(train(make, rows, folder=tmp_path, seed=9 if step >= 3 else 0), whole)
    assert not (tmp_path / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("make", [discrete, seeing])
def test_gradients_that_others_left_change_nothing(make, parts, rows):
    objective, config = make(), TrainingConfig(steps=3, gradient_accumulation_steps=parts)
    for p in objective.parameters():
        p.grad = torch.full_like(p, 7.0)
    train_stage(objective, rows, config, label="{X, Y}")
    assert same(weights(objective), train(make, rows, config))


@pytest.mark.parametrize("error", [FloatingPointError, KeyboardInterrupt])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_that_broke_leaves_no_gradient(parts, error, rows, monkeypatch):
    def clip_and_stop(loop):
        assert any(p.grad is not None for p in loop.state.values())
        raise error

    monkeypatch.setattr(stage_module._Loop, "_clip_gradient", clip_and_stop)
    objective, config = seeing(), TrainingConfig(steps=3, gradient_accumulation_steps=parts)
    with pytest.raises(error):
        train_stage(objective, rows, config, label="{Y}")
    assert all(p.grad is None for p in objective.parameters())


def test_batches_in_place_of_counts_are_resumed_exactly(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(LikelihoodObjective, "most_rows", 3)  # of four distinct rows
    interrupted(discrete, rows, tmp_path, 4)
    assert same(train(discrete, rows, folder=tmp_path, seed=9), train(discrete, rows))


@pytest.mark.parametrize("make", [discrete, seeing])
def test_keeping_files_changes_nothing(make, rows, tmp_path):
    assert same(train(make, rows, folder=tmp_path), train(make, rows))


def test_a_finished_stage_is_read_and_not_trained(rows, tmp_path, monkeypatch):
    whole = train(discrete, rows, folder=tmp_path)
    monkeypatch.setattr(stage_module, "_Loop", None)
    objective = discrete(seed=5)
    train_stage(objective, rows, FEW, label="{X, Y}", folder=tmp_path)
    assert same(weights(objective), whole)
    assert not any(module.training for module in objective.modules())


def test_the_log_has_each_step_once(rows, tmp_path):
    interrupted(discrete, rows, tmp_path, 5)
    logged = (tmp_path / "log.jsonl").read_text()
    assert [json.loads(line)["step"] for line in logged.splitlines()] == [1, 2, 3, 4, 5]
    train(discrete, rows, folder=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert [line["seconds"] for line in lines] == sorted(line["seconds"] for line in lines)
    assert all(math.isfinite(line["loss"]) for line in lines)
    assert lines[0].keys() == {"stage", "step", "loss", "learning_rate", "seconds"}


def test_the_log_of_a_run_without_a_checkpoint_starts_anew(rows, tmp_path):
    interrupted(discrete, rows, tmp_path, 2)
    train(discrete, rows, folder=tmp_path)
    lines = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert [line["step"] for line in lines] == list(range(1, 9))


@pytest.mark.parametrize("is_finished", [False, True])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"config": TrainingConfig(steps=9, ema_decay=0.9)}, r"config\.steps"),
        ({"config": TrainingConfig(steps=8, ema_decay=0.9, seed=1)}, r"config\.seed"),
        ({"data": "other"}, "data"),
    ],
)
def test_other_data_or_another_config_is_refused(is_finished, change, named, rows, tmp_path):
    if is_finished:
        train(discrete, rows, folder=tmp_path)
    else:
        interrupted(discrete, rows, tmp_path, 4)
    if "data" in change:
        rows = Rows({"X": [0, 1], "Y": [1, 1]}, {"X": TWO, "Y": TWO})
    file = "finished" if is_finished else "checkpoint"
    with pytest.raises(CheckpointError, match=f"{file}.safetensors was made from other {named}"):
        train(discrete, rows, change.get("config", FEW), tmp_path)


def test_checkpoints_may_be_written_more_often_after_a_restart(rows, tmp_path):
    interrupted(discrete, rows, tmp_path, 4)
    more = TrainingConfig(steps=8, checkpoint_every=1, ema_decay=0.9)
    assert same(train(discrete, rows, more, tmp_path), train(discrete, rows))


def test_a_checkpoint_without_a_step_is_damaged(rows, tmp_path):
    interrupted(discrete, rows, tmp_path, 4)
    loop = discrete()
    checkpoint = StageFiles(tmp_path, made_from(loop, rows, FEW)).checkpoint
    held = {f"weights.{n}": p for n, p in weights(loop).items()}
    held |= {f"average.{n}": p for n, p in weights(loop).items()}
    for key in ("step", "exp_avg", "exp_avg_sq"):
        zero = {n: torch.zeros(()) if key == "step" else p for n, p in weights(loop).items()}
        held |= {f"{key}.{n}": p for n, p in zero.items()}
    checkpoint.write(held, step="many", scaler="{}")
    with pytest.raises(CheckpointError, match="damaged"):
        train(discrete, rows, folder=tmp_path)


def test_the_moving_average_is_what_is_kept(rows, monkeypatch):
    """By hand: m <- d m + (1 - d) w with d = min(decay, (1 + t) / (10 + t))."""
    seen = []
    average = stage_module._Loop._average_weights

    def spy(loop):
        seen.append({name: p.detach().clone() for name, p in loop.state.items()})
        average(loop)

    monkeypatch.setattr(stage_module._Loop, "_average_weights", spy)
    mean, kept = weights(discrete()), train(discrete, rows)
    for t, current in enumerate(seen, start=1):
        d = min(0.9, (1 + t) / (10 + t))
        mean = {name: d * mean[name] + (1 - d) * current[name] for name in mean}
    for name, value in kept.items():
        torch.testing.assert_close(value, mean[name])
    assert not same(kept, seen[-1])


@pytest.mark.parametrize(("decay", "kept"), [(0.0, False), (0.9, True)])
def test_a_checkpoint_holds_an_average_only_if_there_is_one(decay, kept, rows, tmp_path):
    config = TrainingConfig(steps=8, checkpoint_every=3, ema_decay=decay)
    interrupted(discrete, rows, tmp_path, 4, config)
    held = load_file(tmp_path / "checkpoint.safetensors")
    assert any(name.startswith("average.") for name in held) == kept
    assert same(train(discrete, rows, config, tmp_path, seed=9), train(discrete, rows, config))


def test_the_learning_rate_warms_up_and_decays(rows, tmp_path):
    config = TrainingConfig(steps=100, learning_rate=0.5, ema_decay=0.0)
    train(discrete, rows, config, tmp_path)
    lines = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    rates = [line["learning_rate"] for line in lines]
    for step, rate in enumerate(rates):
        cosine = 0.25 * (1 + math.cos(math.pi * step / 100))
        assert rate == pytest.approx(cosine * min(1, (step + 1) / 20))


def gradients(rows, numbers, *, parts, monkeypatch):
    """Give the gradient of one step over given rows, in so many batches."""
    batches = iter(numbers.chunk(parts))
    found = []

    def drawn_from(rows, objective, size, _):
        def draw(_):
            chosen = next(batches)
            assert len(chosen) == size
            return rows.batch(chosen, objective.columns), torch.ones(len(chosen)), chosen

        return draw, "chosen rows"

    def spy(loop):
        found.append({name: p.grad.clone() for name, p in loop.state.items()})

    with monkeypatch.context() as patch:
        patch.setattr(stage_module, "drawn_from", drawn_from)
        patch.setattr(stage_module._Loop, "_clip_gradient", spy)
        size = len(numbers) // parts
        config = TrainingConfig(steps=1, batch_size=size, gradient_accumulation_steps=parts)
        train(seeing, rows, config)
    (only,) = found  # one optimiser step, however many batches
    return only


def test_accumulated_batches_are_one_larger_batch(rows, monkeypatch):
    numbers = torch.arange(24)
    whole = gradients(rows, numbers, parts=1, monkeypatch=monkeypatch)
    for parts in (2, 3, 4):
        pieces = gradients(rows, numbers, parts=parts, monkeypatch=monkeypatch)
        for name, gradient in whole.items():
            torch.testing.assert_close(pieces[name], gradient, rtol=1e-4, atol=1e-6)


def test_accumulated_batches_differ(rows, monkeypatch):
    seen = []
    forward = LikelihoodObjective.forward
    monkeypatch.setattr(
        LikelihoodObjective,
        "forward",
        lambda o, b, s: seen.append((b["Y"], s)) or forward(o, b, s),
    )
    train(seeing, rows, TrainingConfig(steps=2, batch_size=30, gradient_accumulation_steps=3))
    assert len(seen) == 6
    assert len({seed for _, seed in seen}) == 6
    assert len({tuple(values.tolist()) for values, _ in seen}) == 6


def test_counts_are_accumulated_over_scrambles(rows):
    """Each batch is all the data, seen under another Sobol set."""
    config = TrainingConfig(steps=2, gradient_accumulation_steps=2)
    once = train(lambda seed: discrete(seed=seed, dim=1), rows, TrainingConfig(steps=2))
    assert not same(train(lambda seed: discrete(seed=seed, dim=1), rows, config), once)


@pytest.mark.parametrize("precisions", [["no", "bf16", "no"], ["bf16", "no"]])
def test_one_process_trains_in_several_precisions(precisions, rows):
    ends = {}
    for precision in precisions:
        config = TrainingConfig(steps=3, mixed_precision=precision)
        ends.setdefault(precision, []).append(train(seeing, rows, config))
    assert not same(ends["no"][0], ends["bf16"][0])
    assert all(same(end, ends["no"][0]) for end in ends["no"])
    assert {p.dtype for end in ends["bf16"] for p in end.values()} == {torch.float32}


def test_the_accelerator_of_the_user_is_left_alone(rows):
    shared = AcceleratorState._shared_state, GradientState._shared_state
    before = [dict(state) for state in shared]
    try:
        own = Accelerator(mixed_precision="bf16", gradient_accumulation_steps=7)
        train(seeing, rows, TrainingConfig(steps=2))
        assert own.mixed_precision == "bf16"
        assert own.gradient_accumulation_steps == 7
    finally:
        for state, content in zip(shared, before, strict=True):
            state.clear()
            state.update(content)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_fp16_without_a_gpu_is_refused(rows):
    with pytest.raises(ValueError, match=r'"fp16", which needs a GPU: got none. Use "bf16"'):
        train(seeing, rows, TrainingConfig(steps=2, mixed_precision="fp16"))


def poison(rows, row):
    rows._columns["I"][row] = math.nan  # past the door, where NaN is refused
    return rows


def test_a_row_without_a_finite_loss_is_named(rows, tmp_path):
    config = TrainingConfig(steps=20, batch_size=30)
    with pytest.raises(FloatingPointError, match=r'loss of "Y" is nan .*in row 17 of the data'):
        train(seeing, poison(rows, 17), config, tmp_path)
    assert not (tmp_path / "finished.safetensors").exists()


def test_a_configuration_without_a_finite_loss_is_named_in_labels():
    rows = Rows({"X": [0, 0, 1, 1, 1], "Y": [0, 0, 1, 0, 1]}, {"X": TWO, "Y": TWO})
    f = CategoricalMechanism(width=4).bind(TWO, {}, {})
    g = CategoricalMechanism(width=4).bind(TWO, {"X": TWO}, {})
    log_prob = g.log_prob

    def broken(values, parents, *rest, **options):
        both = (values * parents["X"]).bool()
        return torch.where(both, math.nan, log_prob(values, parents, *rest, **options))

    g.log_prob = broken
    objective = LikelihoodObjective({"X": f, "Y": g}, {}, {})
    message = "loss of \"Y\" is nan at step 0, in the 2 rows with X='yes', Y='yes'"
    with pytest.raises(FloatingPointError, match=message):
        train_stage(objective, rows, FEW, label="{X, Y}")


def test_a_gradient_that_is_not_finite_does_not_reach_the_weights(rows):
    objective = seeing()
    before = weights(objective)
    next(objective.parameters()).register_hook(lambda g: g * math.inf)
    with pytest.raises(FloatingPointError, match=r"gradient of {Y} is not finite at step 0"):
        train_stage(objective, rows, FEW, label="{Y}")
    assert same(weights(objective), before)


def test_the_bar_is_closed_and_the_mode_restored_after_an_error(rows, monkeypatch):
    closed = []
    bar = stage_module.tqdm

    class Bar(bar):
        def close(self):
            closed.append(self.n)
            super().close()

    monkeypatch.setattr(stage_module, "tqdm", Bar)
    objective = interrupted(seeing, rows, None, 3)
    assert closed[0] == 3
    assert not any(module.training for module in objective.modules())


def test_a_stage_with_nothing_to_train_is_refused(rows):
    objective = discrete().requires_grad_(False)
    with pytest.raises(ValueError, match=r"{X, Y} has nothing to train: no parameter"):
        train_stage(objective, rows, FEW, label="{X, Y}")


def test_what_the_user_froze_does_not_move(rows, tmp_path):
    objective = discrete()
    objective.components["X"].requires_grad_(False)
    before = weights(objective)
    train_stage(objective, rows, FEW, label="{X, Y}", folder=tmp_path)
    moved = {name for name, p in weights(objective).items() if not torch.equal(p, before[name])}
    assert {name.partition(".")[0] for name in moved} == {"Y", "U"}
    again = discrete(seed=4)
    train_stage(again, rows, FEW, label="{X, Y}", folder=tmp_path)
    assert same(weights(again), weights(objective))


def test_the_weights_do_not_depend_on_anything_global(rows):
    first = train(discrete, rows)
    torch.rand(3)
    assert same(train(discrete, rows), first)
    objective = discrete()
    torch.manual_seed(77)
    train_stage(objective, rows, FEW, label="{X, Y}")
    assert same(weights(objective), first)
