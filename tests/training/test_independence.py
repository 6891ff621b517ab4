"""The report on codes warns when they lose what matters, and not when they do not."""

import pytest
import torch

from causal_diffusers import (
    Categorical,
    CausalPipeline,
    Confounder,
    Continuous,
    DiffusionMechanism,
    Image,
    TrainingConfig,
)
from causal_diffusers.training.independence import (
    Gain,
    RepresentationReport,
    _deal_anew,
    _distance,
)
from quadrants import classes_of, rows
from tiny import make_tiny_base

TWO, PICTURE = Categorical([0, 1]), Image(1, 8, 8)
QUICK = {"config": TrainingConfig(steps=120, batch_size=128), "num_samples": 60}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


def make(base, partner, lost=()):
    """Make a pipeline whose codes are the classes, but for some that are told for another."""
    torch.manual_seed(0)
    variables = {"X": TWO, "I": PICTURE, **({"L": TWO} if partner == "L" else {"J": PICTURE})}
    images = [name for name, v in variables.items() if v == PICTURE]
    pipe = CausalPipeline.from_graph(
        f"X -> I; X -> {partner}; U: I, {partner}",
        variables,
        {n: DiffusionMechanism.from_pretrained(base, rank=2, codes=4) for n in images},
        {"U": Confounder(states=2)},
    )
    pipe.set_progress_bar_config(disable=True)
    told = torch.arange(4)
    for kept, other in lost:
        told[other] = kept
    for name in images:
        reader = pipe.mechanisms[name].reader
        reader.read = lambda x: told[classes_of(x)]
    return pipe


@pytest.mark.parametrize("partner", ["L", "J"])
def test_codes_that_are_the_classes_are_good(base, partner):
    report = RepresentationReport.of(
        make(base, partner), rows(3000, partner), num_inference_steps=2, **QUICK
    )
    assert report.warnings == ()
    assert "says nothing about" in str(report)
    assert "Assumed: given its parents and its code" in str(report)


@pytest.mark.parametrize("partner", ["L", "J"])
def test_codes_that_are_too_few_are_warned_about(base, partner):
    """Two codes for four classes, and those that tell the partner most apart told as one."""
    pipe = make(base, partner, lost=[(0, 1), (2, 3)])
    report = RepresentationReport.of(pipe, rows(3000, partner), num_inference_steps=2, **QUICK)
    warned = [w for w in report.warnings if w.startswith("WARNING: the code of I loses")]
    assert len(warned) == 1
    assert f"says about {partner}" in warned[0]
    assert 'Give "I" more `codes`' in warned[0]
    gain = next(g for g in report.gains if g.image == "I")
    assert gain.mean > 0.03


def test_a_base_that_was_not_trained_agrees_by_chance_only(base):
    report = RepresentationReport.of(make(base, "L"), rows(400, "L"), **QUICK)
    assert 0 <= report.agreement["I"] < 0.6
    ((names, (distance, mean, upper)),) = report.distance.items()
    assert names == ("I", "L")
    assert distance > upper > mean > 0
    assert "a perfect sampler scores" in str(report)


def test_members_joined_by_an_arrow_are_left_out(base):
    pipe = CausalPipeline.from_graph(
        "I -> L; U: I, L",
        {"I": PICTURE, "L": TWO},
        {"I": DiffusionMechanism.from_pretrained(base, rank=2, codes=4)},
    )
    data = {n: v for n, v in rows(60, "L").items() if n != "X"}
    report = RepresentationReport.of(pipe, data, num_inference_steps=2, **QUICK)
    assert report.gains == ()


def test_without_a_confounded_image_there_is_nothing_to_test():
    pipe = CausalPipeline.from_graph("X", {"X": TWO})
    with pytest.raises(ValueError, match="no image of this pipeline is confounded"):
        RepresentationReport.of(pipe, {"X": [0, 1]})


def test_dealing_anew_stays_within_strata_and_keeps_the_marginals():
    generator = torch.Generator().manual_seed(0)
    columns = {n: torch.randint(3, (500,), generator=generator) for n in "ABCM"}
    dealt = _deal_anew(columns, "M", ["A", "B"])
    real, anew = (
        {n: v[half] for n, v in dealt.items()} for half in (slice(500), slice(500, None))
    )
    assert real["(paired)"].unique().tolist() == [1]
    assert anew["(paired)"].unique().tolist() == [0]
    assert all(torch.equal(real[n], columns[n]) for n in "ABCM")
    assert all(torch.equal(anew[n], columns[n]) for n in "ABC")
    assert not torch.equal(anew["M"], columns["M"])
    for a in range(3):
        for b in range(3):
            cell = (columns["A"] == a) & (columns["B"] == b)
            one, two = (
                anew["M"][cell].bincount(minlength=3),
                columns["M"][cell].bincount(minlength=3),
            )
            assert torch.equal(one, two)


@pytest.mark.parametrize(("mean", "is_noise"), [(0.02, True), (-1.0, True), (0.031, False)])
def test_three_standard_errors_are_noise(mean, is_noise):
    assert Gain("I", "L", mean, 0.01).is_noise is is_noise


def test_the_floor_knows_that_sample_and_row_share_their_parents():
    """With a parent of 20 values, dealing all rows would put the floor far too high."""
    generator, results = torch.Generator().manual_seed(0), []
    for _ in range(60):
        x = torch.randint(20, (500,), generator=generator)
        draws = [torch.rand(500, generator=generator) < 0.2 + 0.03 * x for _ in range(2)]
        sampled, real = ({"X": x, "A": a.long()} for a in draws)
        results.append(_distance(sampled, real, ["A", "X"], generator))
    found, mean, upper = torch.tensor(results).unbind(dim=1)
    assert abs(found.mean() - mean.mean()) < 0.008
    assert (found <= upper).float().mean() > 0.86


def test_a_number_that_follows_its_own_cause_is_no_reason_to_warn(base):
    """Z -> N; I <-> N where image and code are noise: pairs are known by (Z, N) alone."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2000, generator=generator)
    columns = {"Z": z, "N": z + 0.1 * torch.randn(2000, generator=generator)}
    columns["I"] = torch.rand(2000, 1, 8, 8, generator=generator)
    pipe = CausalPipeline.from_graph(
        "Z -> N; U: I, N",
        {"Z": Continuous(), "N": Continuous(), "I": PICTURE},
        {"I": DiffusionMechanism.from_pretrained(base, rank=2, codes=4)},
        {"U": Confounder(states=2)},
    )
    pipe.set_progress_bar_config(disable=True)
    report = RepresentationReport.of(
        pipe, columns, config=TrainingConfig(steps=200), num_samples=20, num_inference_steps=2
    )
    assert report.warnings == ()
