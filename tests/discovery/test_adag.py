"""One model, any number of samples and variables: symmetry, what is told, families."""

import pytest
import torch

from causal_diffusers.discovery import ADAG, discover
from causal_diffusers.discovery.edges import pair_probabilities
from causal_diffusers.systems import LinearFamily
from discovery.dags import has_cycle
from discovery.models import draw, general, make, ordered


@pytest.fixture(scope="module")
def shipped():
    return ADAG.from_pretrained()


@pytest.fixture(scope="module", params=["random", "shipped"])
def model(request):
    return make() if request.param == "random" else request.getfixturevalue("shipped")


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


def test_a_large_batch_says_what_its_parts_say():
    data = torch.randn(20, 30, 40, generator=torch.Generator().manual_seed(3))
    model = make()
    whole = model.edges(data)  # in parts of 8
    parts = [model.edges(data[k : k + 1]) for k in range(20)]
    for name in ("logits", "weights", "deviation"):
        alone = torch.cat([getattr(part, name) for part in parts])
        torch.testing.assert_close(getattr(whole, name), alone, rtol=1e-4, atol=1e-4)
