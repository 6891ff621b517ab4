"""The demonstration runs, measures what it says it measures, and judges itself honestly."""

import csv
import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image as PILImage

from causal_diffusers import CausalPipeline, CheckpointError, cli
from causal_diffusers.demo import Answers, Findings, Study, prose, report, run
from causal_diffusers.demo.findings import _floor_of_averages, ask_images, read_digits
from causal_diffusers.demo.pictures import chart, handwriting
from causal_diffusers.demo.study import TRAINED
from causal_diffusers.metrics import SamplingFloor
from causal_diffusers.systems import FrontDoorDigits
from tiny import make_tiny_base, make_tiny_pipeline

SMOKE = Study.choose(smoke=True)


@pytest.fixture(scope="module")
def system():
    return FrontDoorDigits()


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A smoke run: its findings, its folder, and all that it said."""
    folder, said = tmp_path_factory.mktemp("demo") / "report", []
    findings = run(SMOKE, folder, said.append)
    return findings, folder, "\n".join(said)


def test_it_says_question_plan_estimands_tables_and_verdict(ran):
    findings, folder, said = ran
    for words in (
        "D -> W",
        "D <-> A",
        "P(A | do(D)) = ",
        "stage 1: ",
        "worst error",
        "floor, mean",
    ):
        assert words in said
    assert str(folder / "report.html") in said
    assert " ".join(said.split()).endswith(prose.verdict(findings))
    assert max(map(len, said.splitlines())) < 100


def test_it_writes_a_report_that_needs_no_network(ran):
    _, folder, _ = ran
    page = (folder / "report.html").read_text()
    assert "<script" not in page
    without_namespaces = page.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://", without_namespaces)
    assert page.count("<svg") == 3
    assert "data:image/png;base64," in page
    with PILImage.open(folder / "grid.png") as grid:
        assert grid.width > 500


def test_its_files_agree_with_its_findings(ran):
    findings, folder, _ = ran
    record = json.loads((folder / "findings.json").read_text())
    assert record["answers"]["W"]["worst"]["pipeline"] == findings.answers["W"].worst("pipeline")
    with (folder / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["do"] for row in rows] == ["D"] * 10 + ["W"] * 10
    truth = torch.tensor([float(row["truth"]) for row in rows[:10]])
    assert torch.allclose(truth, FrontDoorDigits().verdict_under_do("D"), atol=1e-6)


def test_the_trained_pipeline_is_kept_and_checkpoints_are_not(ran):
    _, folder, _ = ran
    assert CausalPipeline.from_pretrained(folder / "pipeline").graph == FrontDoorDigits.graph
    assert not (folder / "checkpoints").exists()


def test_training_is_not_lost_when_the_run_is_stopped(tmp_path, monkeypatch):
    def stopped(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("causal_diffusers.demo.study.ask", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(SMOKE, tmp_path, lambda text: None)
    trained = read_weights(tmp_path / "pipeline")
    log = sorted((tmp_path / "checkpoints").rglob("*.safetensors"))
    assert log
    written = [path.stat().st_mtime_ns for path in log]
    monkeypatch.setattr(shutil, "rmtree", lambda *arguments, **options: None)
    run(SMOKE, tmp_path, lambda text: None)
    assert [path.stat().st_mtime_ns for path in log] == written  # nothing was trained again
    assert read_weights(tmp_path / "pipeline") == trained


def read_weights(folder):
    return {path.parent.name: path.read_bytes() for path in folder.rglob("*.safetensors")}


def test_the_shipped_pipeline_is_asked_or_missed_clearly(tmp_path):
    from causal_diffusers.aliases import shipped_names

    study = Study.choose(pretrained=True, smoke=True)
    if TRAINED.partition("/")[2] in shipped_names():
        findings = run(study, tmp_path, lambda text: None)
        assert "training" not in findings.seconds
    else:
        with pytest.raises(CheckpointError, match="this release ships"):
            run(study, tmp_path, lambda text: None)


def test_the_command_runs_it(tmp_path, capsys, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "causal_diffusers.demo.run", lambda study, output, tell: seen.update(s=study, o=output)
    )
    words = ["demo", "--steps", "7", "--samples", "11", "--seed", "3", "--output", str(tmp_path)]
    assert cli.main(words) == 0
    study = seen["s"]
    assert (study.steps["I"], study.samples, study.seed) == (7, 11, 3)
    assert (study.pretrained, study.is_smoke, seen["o"]) == (False, False, Path(tmp_path))


def test_worst_is_the_largest_error():
    columns = {"truth": torch.linspace(0, 0.9, 10), "pipeline": torch.linspace(0, 0.9, 10)}
    columns["pipeline"] = columns["pipeline"].clone()
    columns["pipeline"][4] += 0.25
    assert Answers("D", "", columns, {}).worst("pipeline") == pytest.approx(0.25, abs=1e-6)


def test_floor_of_averages_is_that_of_the_system(system, generator):
    """Compare with the standard deviation of P(A=1 | I, u), enumerated."""
    n = 400
    floor = _floor_of_averages(system, "W", n, generator)
    verdict, deviations = system.verdict(system.images), []
    for digit in range(10):
        p = verdict[system.digits == digit]
        deviations.append(p.std(correction=0).item() / n**0.5)
    noise = torch.randn(20_000, 10, generator=generator) * torch.tensor(deviations)
    assert floor.mean == pytest.approx(noise.abs().amax(dim=1).mean().item(), rel=0.1)


class Exact:
    """The system itself, wearing the surface of a pipeline."""

    def __init__(self, system, share=0.5):
        from causal_diffusers import Image

        self.variables = {"I": Image(1, 8, 8)}
        self.components = {"A": self, "U_D_A": self}
        self.system, self.share = system, share

    def log_weights(self):
        return torch.tensor([1 - self.share, self.share]).log()

    def probabilities(self, parents, confounders, *, num_samples):
        images = self.variables["I"].decode(parents["I"])
        u = next(iter(confounders.values()))
        p = self.system.verdict(images).gather(1, u[:, None]).squeeze(1)
        return torch.stack([1 - p, p], dim=1)


def test_a_perfect_pipeline_makes_no_error_on_images(system):
    errors = ask_images(Exact(system), system)
    assert errors["pipeline"][1] < 1e-5
    assert errors["naive"][1] > 0.15


def test_a_wrong_confounder_is_an_error_on_images(system):
    assert ask_images(Exact(system, share=0.9), system)["pipeline"][1] > 0.1


def test_real_digits_are_read_and_shuffled_ones_are_not(system):
    real = torch.stack([system.images[system.digits == d][:20] for d in range(10)])
    share, accuracy = read_digits(real, system)
    assert share > 0.97
    assert accuracy >= 0.98
    assert read_digits(real.roll(1, dims=0), system)[0] < 0.05


def findings_with(study, error, floor):
    truth = torch.full((10,), 0.4)
    columns = {"truth": truth, "pipeline": truth + error, "drawn": truth, "naive": truth + 0.2}
    floors = {"pipeline": SamplingFloor(floor, floor)}
    answers = {name: Answers(name, "P(A)", columns, floors) for name in "DW"}
    empty = torch.zeros(10, 1, 1, 8, 8)
    return Findings(
        study=study,
        plan="",
        answers=answers,
        image_errors={"pipeline": (0.0, 0.0), "naive": (0.1, 0.2)},
        read_as_asked=0.9,
        reader_accuracy=0.99,
        trainable=(1, 10),
        pictures=empty,
        real=empty,
        seconds={},
    )


@pytest.mark.parametrize(
    ("study", "error", "floor", "words"),
    [
        (Study(), 0.05, 0.02, "the aim, at most .060 in both, is met."),
        (Study(), 0.07, 0.02, "the aim, at most .060 in both, is missed."),
        (Study(), 0.07, 0.065, "cannot show whether the aim, at most .060, is met"),
        (Study.choose(pretrained=True), 0.05, 0.02, "the aim, at most .030 in both, is missed."),
        (Study.choose(pretrained=True), 0.02, 0.05, "is met."),
        (SMOKE, 0.0, 0.0, "these numbers mean nothing."),
    ],
)
def test_the_verdict_says_whether_the_aim_is_met(study, error, floor, words):
    sentence = prose.verdict(findings_with(study, error, floor))
    assert words in sentence
    assert prose.number(error) in sentence
    assert ".200" in sentence


def test_a_report_replaces_an_earlier_one(tmp_path):
    for error in (0.05, 0.07):
        report.write(findings_with(Study(), error, 0.0), tmp_path)
    assert "is missed" in (tmp_path / "report.html").read_text()


def test_smoke_and_pretrained_are_small():
    assert max(SMOKE.steps.values()) < 10
    assert Study.choose(pretrained=True).samples < Study().samples
    assert Study.choose(pretrained=True, samples=2000).samples == 2000
    assert dataclasses.replace(Study(), seed=1).aim == 0.06


def test_dark_ink_on_paper_in_ten_columns():
    pictures = torch.zeros(10, 2, 1, 8, 8)
    pictures[3, 1] = 1
    sheet = handwriting(pictures, pictures[:, :1])
    assert sheet.getpixel((sheet.width - 5, sheet.height - 10)) == 255
    assert sheet.getpixel((3 * 62 + 28, sheet.height - 34)) == 0


def test_the_chart_shows_each_answer_where_it_is():
    columns = {name: torch.linspace(0, 1, 10) for name in ("truth", "pipeline", "naive")}
    picture = chart(Answers("D", "", columns, {}))
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', picture)][1:]
    assert heights == sorted(heights, reverse=True)


def test_a_tiny_pipeline_has_the_parts_that_are_asked(tmp_path, system):
    """The names of the components in the demonstration are those of the graph."""
    pipe = make_tiny_pipeline(make_tiny_base(tmp_path))
    assert {"A", "I", "U_D_A"} <= set(pipe.components)
    assert pipe.graph == system.graph
