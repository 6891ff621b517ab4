"""One model, any number of samples and variables: symmetry, what is told, disk, families."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from causal_diffusers import CheckpointError
from causal_diffusers.discovery import ADAG, discover
from causal_diffusers.discovery.adag import pair_probabilities
from causal_diffusers.systems import LinearFamily
from discovery.dags import has_cycle
from hostile import WEIGHTS, change_weights, edit
from hub_stub import serve
from tiny import shake


def make(seed=0, **options):
    torch.manual_seed(seed)
    model = ADAG(**{"width": 8, "layers": 2, **options}).eval()
    shake([model], seed=seed)
    return model


@pytest.fixture(scope="module")
def shipped():
    return ADAG.from_pretrained()


@pytest.fixture(scope="module", params=["random", "shipped"])
def model(request):
    return make() if request.param == "random" else request.getfixturevalue("shipped")


def draw(n, d, generator, count=2):
    return LinearFamily(d).sample(count, n, generator=generator).data


def permuted(matrix, order):
    return matrix[..., order, :][..., order]


@pytest.mark.parametrize(("n", "d"), [(3, 2), (20, 5), (1000, 5), (10, 12)])
def test_permuting_the_columns_permutes_the_answer(model, n, d, generator):
    data, order = draw(n, d, generator), torch.randperm(d, generator=generator)
    possible = torch.rand(d, d, generator=generator) < 0.8
    first = model.edges(data, possible, density=0.3)
    second = model.edges(data[:, :, order], permuted(possible, order), density=0.3)
    a, b = permuted(first.probabilities, order), second.probabilities
    torch.testing.assert_close(a, b, atol=2e-3, rtol=0)
    torch.testing.assert_close(first.deviation[:, order], second.deviation, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("n", [2, 3, 10, 1000])
@pytest.mark.parametrize("d", [2, 5, 50])
def test_one_model_reads_any_number_of_samples_and_variables(model, n, d, generator):
    found = model.edges(draw(n, d, generator, count=1))
    P = found.probabilities
    assert P.shape == (1, d, d)
    assert all(bool(part.isfinite().all()) for part in (P, found.weights, found.deviation))
    assert bool(((P >= 0) & (P + P.mT <= 1 + 1e-6)).all())
    assert not P.diagonal(dim1=1, dim2=2).any()


def test_data_sets_do_not_mix(model, generator):
    data = draw(30, 4, generator, count=3)
    together, alone = model.edges(data).probabilities, model.edges(data[1:2]).probabilities
    torch.testing.assert_close(together[1], alone[0], atol=1e-3, rtol=0)


def test_the_order_of_the_rows_does_not_matter(model, generator):
    data = draw(30, 4, generator)
    mixed = data[:, torch.randperm(30, generator=generator)]
    torch.testing.assert_close(
        model.edges(data).probabilities, model.edges(mixed).probabilities, atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("factor", [1e-20, 0.01, 1e20])
def test_the_unit_of_all_columns_does_not_matter(model, factor, generator):
    data = draw(50, 4, generator).double()
    first, second = model.edges(data, deviation=1.0), model.edges(factor * data, deviation=factor)
    torch.testing.assert_close(first.probabilities, second.probabilities, atol=1e-3, rtol=0)
    torch.testing.assert_close(
        (second.deviation - first.deviation).exp().double(),
        torch.full_like(first.deviation, factor).double(),
        rtol=1e-2,
        atol=0,
    )


def test_numbers_far_from_zero_are_read_as_well(model, generator):
    data = draw(50, 4, generator).double()
    torch.testing.assert_close(
        model.edges(data).probabilities,
        model.edges(data + 1.7e9).probabilities,
        atol=2e-3,
        rtol=0,
    )


def test_probabilities_are_those_of_three_states(generator):
    logits = 3 * torch.randn(4, 5, 5, generator=generator).double()
    P, e = pair_probabilities(logits), logits.exp()
    off = ~torch.eye(5, dtype=torch.bool)
    torch.testing.assert_close(P[:, off], (e / (1 + e + e.mT))[:, off])
    assert not P[:, ~off].any()


def test_what_is_impossible_has_no_probability(model, generator):
    data = draw(40, 6, generator)
    possible = torch.rand(6, 6, generator=generator) < 0.5
    P = model.edges(data, possible).probabilities
    assert P[:, ~possible].max() < 1e-9
    required = torch.zeros(6, 6, dtype=torch.bool)
    required[2, 4] = True
    P = model.edges(data, required=required).probabilities
    assert P[:, 4, 2].max() < 1e-9


def test_what_is_told_matters(shipped, generator):
    data = draw(15, 6, generator, count=20)
    few, many = (shipped.edges(data, density=p).probabilities.sum() for p in (0.05, 0.8))
    assert few < many
    known, unknown = shipped.edges(data, deviation=1.0), shipped.edges(data)
    assert not torch.allclose(known.probabilities, unknown.probabilities)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": 0.0}, r"`density` is the chance .* in \(0, 1\): got 0.0"),
        ({"density": 1.0}, r"`density` is the chance .* in \(0, 1\): got 1.0"),
        ({"deviation": 0.0}, "`deviation` of the noise is a positive number: got 0.0"),
        ({"deviation": -1}, "`deviation` of the noise is a positive number: got -1"),
        ({"deviation": float("nan")}, "`deviation` of the noise is a positive number: got nan"),
    ],
    ids=str,
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make().edges(torch.randn(1, 5, 2), **options)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (torch.randn(5, 2), r"`data` has shape \(B, n, d\), n at least 2: got \(5, 2\)"),
        (torch.randn(1, 1, 2), r"n at least 2: got \(1, 1, 2\)"),
        (torch.tensor([[[1.0, 1], [2, 1]]]), "finite numbers that vary in every column"),
        (torch.tensor([[[1.0, 1], [2, torch.nan]]]), "finite numbers that vary"),
    ],
    ids=["no batch", "one row", "constant", "nan"],
)
def test_data_that_tell_nothing_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        make().edges(data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 5}, r"heads divide width: got \(5, 2, 2\)"),
        ({"width": 0}, "`width`, `layers` and `heads` are positive"),
        ({"layers": -1}, "are positive"),
        ({"heads": 2.0}, "are positive"),
        ({"width": True, "heads": 1}, "are positive"),
        ({"layers": 65}, "at most 64 layers and a width of 1024: got 65"),
        ({"width": 2048}, "at most 64 layers and a width of 1024: got 2 and 2048"),
        ({"family": {"setting": "general"}}, "this is no family of tasks"),
    ],
    ids=str,
)
def test_what_makes_no_model_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ADAG(**{"width": 8, "layers": 2, **options})


def general(d=3):
    chances = [[0.0 if i == j else 0.2 for j in range(d)] for i in range(d)]
    fields = {"setting": "general", "chances": chances, "deviation": 1.0, "samples": [10, 20]}
    return {**fields, "variables": None}


def ordered(names="ABC"):
    d = len(names)
    chances = [[0.5 if i < j else 0.0 for j in range(d)] for i in range(d)]
    return {
        "setting": "order-consistent",
        "chances": chances,
        "deviation": 1.0,
        "samples": [10, 20],
        "variables": list(names),
    }


@pytest.mark.parametrize("family", [None, general(), ordered()], ids=["any", "general", "order"])
def test_what_is_saved_answers_the_same(family, tmp_path, generator):
    model = make(family=family)
    model.save_pretrained(tmp_path)
    again = ADAG.from_pretrained(tmp_path)
    data = draw(20, 3, generator)
    assert torch.equal(model.edges(data).logits, again.edges(data).logits)
    assert again.family == model.family or again.family.to_dict() == model.family.to_dict()
    assert not again.training
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", WEIGHTS]


def test_the_shipped_model_is_found_by_its_name(shipped, generator):
    data = draw(20, 4, generator)
    by_name = ADAG.from_pretrained("causal-diffusers/adag")
    assert torch.equal(by_name.edges(data).logits, shipped.edges(data).logits)
    assert shipped.family is None


def test_a_model_works_in_double_precision(tmp_path, generator):
    model, data = make(), draw(40, 4, generator)
    model.save_pretrained(tmp_path)
    loaded = ADAG.from_pretrained(tmp_path, dtype=torch.float64)
    assert loaded.first.weight.dtype == torch.float64
    after, before = (each.edges(data).probabilities for each in (loaded, model))
    torch.testing.assert_close(after, before.double(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_refused(dtype, tmp_path, generator):
    make().save_pretrained(tmp_path)
    loaded = ADAG.from_pretrained(tmp_path, dtype=dtype)
    with pytest.raises(ValueError, match=f"torch.float32 or torch.float64: got {dtype}.*float"):
        loaded.edges(draw(40, 4, generator))
    assert bool(loaded.float().edges(draw(40, 4, generator)).logits.isfinite().all())


@pytest.fixture
def folder(tmp_path):
    make(family=ordered()).save_pretrained(tmp_path / "hostile")
    return tmp_path / "hostile"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 10}, "has shape"),
        ({"layers": 3}, "the file lacks"),
        ({"layers": 1}, "holds the unexpected"),
        ({"width": 10**9}, "absurdly large"),
        ({"width": 4096}, "a width of 1024"),
        ({"width": "wide"}, "are positive"),
        ({"layers": 10**5}, "at most 64 layers"),
        ({"depth": 2}, r"unknown fields \['depth'\]"),
        ({"_class_name": "UNet2DModel"}, "describes a 'UNet2DModel': expected 'ADAG'"),
        ({"family": {"setting": "general"}}, "this is no family of tasks"),
        ({"family": {**ordered(), "chances": [[0.0] * 3] * 2}}, "a square matrix"),
        ({"family": {**ordered(), "deviation": "1"}}, "does not describe a ADAG"),
        ({"family": {**ordered(), "samples": [0, -3]}}, "`samples` is a range"),
        ({"family": {**ordered(), "variables": ["A"]}}, "`variables` names 3"),
        ({"family": 7}, "does not describe a ADAG"),
    ],
    ids=lambda change: f"{change!s:.60}",
)
def test_a_damaged_config_is_refused(folder, change, message):
    edit(folder / "config.json", **change)
    with pytest.raises(CheckpointError, match=message):
        ADAG.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("first.bias"), r"the file lacks \['first.bias'\]"),
        (lambda tensors: tensors.update(evil=torch.ones(1)), r"the unexpected \['evil'\]"),
        (lambda tensors: tensors.update({"first.bias": torch.ones(3)}), "`first.bias` has shape"),
        (
            lambda tensors: tensors["first.bias"].fill_(torch.nan),
            "`first.bias` holds something else than finite real numbers",
        ),
    ],
    ids=["missing", "unexpected", "shape", "nan"],
)
def test_damaged_weights_are_refused(folder, change, message):
    change_weights(folder / WEIGHTS, change)
    with pytest.raises(CheckpointError, match=message):
        ADAG.from_pretrained(folder)


def test_what_is_no_model_is_refused(folder, tmp_path):
    (folder / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="does not exist"):
        ADAG.from_pretrained(folder)
    with pytest.raises(CheckpointError, match="neither a folder nor a repository id"):
        ADAG.from_pretrained("./no/such/folder")


def test_pickles_are_not_read(folder):
    shutil.move(folder / WEIGHTS, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(CheckpointError, match="does not exist"):
        ADAG.from_pretrained(folder)


PUSH = """
import sys, torch
from causal_diffusers.discovery import ADAG
model = ADAG(width=4, layers=1)
commit = model.push_to_hub("me/adag", commit_message="first")
again = ADAG.from_pretrained("me/adag", revision=commit.oid)
same = [torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True)]
sys.exit(0 if all(same) else 1)
"""


@pytest.mark.slow
def test_what_is_pushed_can_be_pulled(tmp_path):
    with serve() as (endpoint, repositories):
        told = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        told |= {"HF_TOKEN": "hf_nothing", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        environment = {**os.environ, **told, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", PUSH]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    _, files = repositories.commits["me/adag"][-1]
    assert {"config.json", WEIGHTS} <= {Path(path).name for path in files}
    assert json.loads(files["config.json"])["_class_name"] == "ADAG"


def test_a_family_with_an_order_is_tied_to_its_variables(generator):
    model = make(family=ordered())
    data = draw(40, 3, generator, count=1)[0]
    columns = dict(zip("ABC", data.T, strict=True))
    found = discover(columns, model)
    turned = discover({name: columns[name] for name in "CAB"}, model)
    assert turned.variables == ("A", "B", "C")
    assert torch.equal(turned.probabilities, found.probabilities)
    assert not found.probabilities.tril().any()
    assert "The model knows the causal order of these variables" in str(found)
    for wrong in ({"A": data[:, 0], "B": data[:, 1]}, dict(zip("ABD", data.T, strict=True))):
        with pytest.raises(ValueError, match=r"tied to the order-consistent family of \['A', 'B'"):
            discover(wrong, model)


def test_a_general_family_takes_any_names_but_its_number(generator):
    model = make(family=general())
    data = draw(40, 4, generator)
    assert model.edges(data[:, :, :3]).probabilities.shape == (2, 3, 3)
    with pytest.raises(ValueError, match="a family with 3 variables: got 4 columns"):
        model.edges(data)


SETTINGS = ["general", "order-consistent", "heterogeneous"]


@pytest.mark.parametrize("setting", SETTINGS)
def test_fine_tuning_makes_another_model(setting, generator):
    tasks = LinearFamily(3, 2, setting).sample(60, 20, generator=generator)
    model, told = make(), []
    before = {name: p.clone() for name, p in model.named_parameters()}
    tuned = model.fine_tune(
        list(tasks.data), setting, "ABC", steps=2, tell=lambda *each: told.append(each)
    )
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert model.family is None
    assert any(not torch.equal(p, before[name]) for name, p in tuned.named_parameters())
    assert [step for step, _ in told] == [0, 1]
    assert not tuned.training
    assert tuned.family.setting == setting
    tied = None if setting == "general" else ("A", "B", "C")
    assert tuned.family.variables == tied
    P = tuned.edges(tasks.data).probabilities
    if tied:
        assert not any(has_cycle(p > 1e-6) for p in P)


def test_fine_tuning_is_repeatable_and_saved(tmp_path, generator):
    tasks = list(LinearFamily(3, 2).sample(10, 20, generator=generator).data)
    first, second = (make().fine_tune(tasks, "general", "ABC", steps=1, seed=3) for _ in "ab")
    first.save_pretrained(tmp_path)
    third = ADAG.from_pretrained(tmp_path)
    for model in (second, third):
        assert torch.equal(model.edges(tasks[0][None]).logits, first.edges(tasks[0][None]).logits)
        assert model.family.to_dict() == first.family.to_dict()


def test_no_steps_leave_the_weights_as_they_are(generator):
    tasks = list(LinearFamily(3, 2).sample(10, 20, generator=generator).data)
    model = make()
    tuned = model.fine_tune(tasks, "general", "ABC", steps=0)
    pairs = zip(model.parameters(), tuned.parameters(), strict=True)
    assert all(torch.equal(p, q) for p, q in pairs)


GOOD = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "`tasks` is empty. Pass some hundred data sets of the family"),
        ([GOOD, GOOD[:, :2]], r"`tasks\[1\]` has shape \(n, 3\), n at least 3, .*: got \(10, 2\)"),
        ([GOOD[:2]], r"`tasks\[0\]` has shape \(n, 3\), n at least 3.*: got \(2, 3\)"),
        ([GOOD[:, 0]], r"got \(10,\)"),
        ([GOOD, GOOD / 0], r"`tasks\[1\]` should hold finite numbers"),
        ([GOOD * torch.tensor([1.0, 0, 1])], r"`tasks\[0\]` .* vary in every column"),
    ],
    ids=["none", "columns", "rows", "vector", "infinite", "constant"],
)
def test_bad_tasks_are_refused(tasks, message):
    with pytest.raises(ValueError, match=message):
        make().fine_tune(tasks, "general", "ABC")


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValueError, match=r"`setting` is one of .*: got 'shared'"):
        make().fine_tune([GOOD], "shared", "ABC")
