"""The command line: what it prints, what it writes, and how it refuses."""

import csv
import json
import os
import re

import pytest
import torch
from PIL import Image as PILImage

from causal_diffusers import ADMG, Categorical, CausalPipeline, __version__, cli, identify
from test_import import heavy_after
from tiny import make_tiny_base, make_tiny_pipeline

FRONT_DOOR = "D -> I -> A; D <-> A"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A tiny pipeline on disk: D -> W -> I -> A, D <-> A."""
    folder = tmp_path_factory.mktemp("saved")
    pipe = make_tiny_pipeline(make_tiny_base(folder / "base"))
    pipe.save_pretrained(folder / "pipeline", include_backbones=True)
    return str(folder / "pipeline")


def test_identify_prints_the_estimand(capsys):
    assert cli.main(["identify", FRONT_DOOR, "--outcomes", "A", "--do", "D"]) == 0
    estimand = identify(ADMG.parse(FRONT_DOOR), ["A"], ["D"])
    assert capsys.readouterr().out == f"P(A | do(D)) = {estimand}\n"


def test_identify_prints_latex(capsys):
    cli.main(["identify", FRONT_DOOR, "--outcomes", "A", "--do", "D", "--latex"])
    assert capsys.readouterr().out.strip() == identify(ADMG.parse(FRONT_DOOR), "A", "D").to_latex()


def test_identify_takes_experiments(capsys):
    words = ["identify", "X -> Y; X <-> Y", "--outcomes", "Y", "--do", "X", "--experiments"]
    assert cli.main([*words, "", "X"]) == 0
    assert capsys.readouterr().out == "P(Y | do(X)) = P_{X}(Y)\n"
    assert cli.main([*words, "X,Y"]) == 1
    assert "do(X, Y) sets Y by hand" in capsys.readouterr().err


def test_identify_takes_conditions_and_files(tmp_path, capsys):
    (tmp_path / "graph.dagitty").write_text("dag { D -> I I -> A D <-> A }")
    words = ["identify", str(tmp_path / "graph.dagitty"), "--outcomes", "A"]
    assert cli.main([*words, "--do", "I", "--given", "D"]) == 0
    assert capsys.readouterr().out == "P(A | do(I), D) = P(A | D, I)\n"


def test_what_is_not_identifiable_exits_with_one(capsys):
    assert cli.main(["identify", "X -> Y; X <-> Y", "--outcomes", "Y", "--do", "X"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("causal-diffusers: `P(Y | do(X))` is not identifiable")
    assert captured.err.count("\n") == 1


def test_plan_shows_the_stages_of_a_graph(capsys):
    assert cli.main(["plan", FRONT_DOOR]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "stage 1: {I}; matched on {I} given {D}",
        "stage 2: {A, D}; matched on {A, D, I}, {I} frozen",
    ]


def test_plan_shows_the_stages_of_a_pipeline(saved, capsys):
    assert cli.main(["plan", saved]) == 0
    assert capsys.readouterr().out == f"{CausalPipeline.from_pretrained(saved).plan()}\n"


def test_plan_shows_an_objective_that_was_chosen(tmp_path, capsys):
    two = dict.fromkeys("XY", Categorical([0, 1]))
    CausalPipeline.from_graph("X <-> Y", two).save_pretrained(tmp_path / "pipeline")
    assert cli.main(["plan", str(tmp_path / "pipeline"), "--objective", "adversarial"]) == 0
    assert "{X, Y} by adversarial" in capsys.readouterr().out


def test_the_graph_commands_are_light():
    for words in (["identify", FRONT_DOOR, "--outcomes", "A", "--do", "D"], ["plan", FRONT_DOOR]):
        call = f"from causal_diffusers import cli; assert cli.main({words!r}) == 0"
        assert heavy_after(call) == set()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["identify", "X -> Q", "--outcomes", "Y"], "Y"),
        (["identify", "X -> -> Q", "--outcomes", "X"], "X -> -> Q"),
        (["identify", "X -> Y; Y -> X", "--outcomes", "X"], "cycle"),
        (["identify", "none.txt", "--outcomes", "X"], "no file or folder `none.txt`"),
        (["plan", "none.dot"], "no file or folder `none.dot`"),
        (
            ["plan", FRONT_DOOR, "--objective", "likelihood"],
            "`--objective` needs to know",
        ),
        (["train", "none.yaml"], "no training file `none.yaml`"),
        (["sample", "causal-diffusers/none"], "this release ships"),
        (["demo", "--pretrained", "--steps", "3"], "`--pretrained` trains nothing"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_two(words, message, capsys):
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("causal-diffusers: ")
    assert captured.err.count("\n") == 1


def test_debug_shows_the_traceback():
    with pytest.raises(FileNotFoundError):
        cli.main(["train", "none.yaml", "--debug"])


def test_a_bug_is_not_hidden(monkeypatch):
    def broken(options):
        raise AttributeError("bug")

    monkeypatch.setattr(cli, "_plan", broken)
    with pytest.raises(AttributeError, match="bug"):
        cli.main(["plan", "X"])


def test_an_interruption_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_train", interrupted)
    assert cli.main(["train", "recipe.yaml"]) == 130
    assert "the same command goes on from the checkpoint" in capsys.readouterr().err


def test_a_key_error_is_shown_without_quotes(monkeypatch, capsys):
    def broken(options):
        raise KeyError("The data have no column")

    monkeypatch.setattr(cli, "_train", broken)
    assert cli.main(["train", "recipe.yaml"]) == 2
    assert capsys.readouterr().err == "causal-diffusers: The data have no column\n"


@pytest.mark.parametrize(("before", "after"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(before, after, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", before or "")
    if before is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    cli.main(["plan", "X"])
    assert os.environ["OMP_WAIT_POLICY"] == after


@pytest.mark.parametrize("word", ["0", "-1", "many", "1.5"])
def test_a_number_of_samples_is_positive(word, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["sample", "x/y", f"--num-samples={word}"])
    assert stop.value.code == 2
    assert f"takes a whole number from 1: got {word}" in capsys.readouterr().err


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


def sample(saved, folder, *words):
    fixed = ["--num-inference-steps", "2", "--num-samples", "5", "--device", "cpu"]
    return cli.main(["sample", saved, "--output", str(folder), *fixed, *words])


def table(folder):
    with (folder / "values.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_sample_writes_images_and_values(saved, tmp_path, capsys):
    assert sample(saved, tmp_path / "out", "--do", "W=b", "--outcomes", "I", "A") == 0
    rows = table(tmp_path / "out")
    assert [row["W"] for row in rows] == ["b"] * 5
    assert {row["A"] for row in rows} <= {"no", "yes"}
    with PILImage.open(tmp_path / "out" / rows[3]["I"]) as image:
        assert image.size == (8, 8)
    printed = capsys.readouterr().out
    assert printed.startswith("P(I, A | do(W=b)): 5 samples in ")
    assert re.search(r"^  P\(A\): no [01]\.\d{3}, yes [01]\.\d{3}$", printed, re.MULTILINE)


def test_samples_follow_from_the_seed_and_are_those_of_the_pipeline(saved, tmp_path):
    for name in ("one", "two"):
        sample(saved, tmp_path / name, "--do", "W=b", "--seed", "7")
    sample(saved, tmp_path / "other", "--do", "W=b", "--seed", "8")
    assert table(tmp_path / "one") == table(tmp_path / "two")
    pipe = CausalPipeline.from_pretrained(saved)
    generator = torch.Generator().manual_seed(7)
    out = pipe(5, do={"W": "b"}, num_inference_steps=2, generator=generator)
    assert [row["A"] for row in table(tmp_path / "one")] == out.values["A"]
    first = (tmp_path / "one" / "I" / "00000.png").read_bytes()
    assert first != (tmp_path / "other" / "I" / "00000.png").read_bytes()


def test_an_image_is_given_as_a_file(saved, tmp_path):
    PILImage.new("L", (8, 8), 200).save(tmp_path / "x.png")
    assert (
        sample(saved, tmp_path / "out", "--do", f"I={tmp_path / 'x.png'}", "--outcomes", "A") == 0
    )
    assert {row["A"] for row in table(tmp_path / "out")} <= {"no", "yes"}


def test_conditions_are_taken(saved, tmp_path):
    assert sample(saved, tmp_path / "out", "--given", "D=c", "--outcomes", "W") == 0
    assert [row["D"] for row in table(tmp_path / "out")] == ["c"] * 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--do", "W"], "takes NAME=VALUE: got `W`"),
        (["--do", "W=a", "W=b"], "got `W` twice"),
        (["--do", "Q=1"], "Q"),
        (["--do", "W=z"], "takes one of ['a', 'b', 'c']: got 'z'"),
        (["--do", "I=none.png"], "none.png"),
        (["--given", "I=none.png"], "none.png"),
    ],
)
def test_a_wrong_value_is_refused(saved, tmp_path, words, message, capsys):
    assert sample(saved, tmp_path / "out", *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_samples_are_not_mixed_with_older_ones(saved, tmp_path, capsys):
    sample(saved, tmp_path / "out")
    assert sample(saved, tmp_path / "out") == 2
    assert "holds samples already" in capsys.readouterr().err


def write_recipe(folder, data, **more):
    record = {
        "graph": "W -> A",
        "variables": {"W": ["a", "b", "c"], "A": ["no", "yes"]},
        "data": data,
        "training": {"steps": 3},
        **more,
    }
    path = folder / "recipe.json"
    path.write_text(json.dumps(record))
    return str(path)


def test_what_was_sampled_can_be_trained_on(saved, tmp_path, capsys):
    sample(saved, tmp_path / "samples", "--outcomes", "W", "A", "I")
    image = {"type": "image", "channels": 1, "height": 8, "width": 8}
    variables = {"W": ["a", "b", "c"], "A": ["no", "yes"], "I": image}
    recipe = write_recipe(
        tmp_path,
        str(tmp_path / "samples" / "values.csv"),
        graph="W -> A <- I",
        variables=variables,
        mechanisms={"I": "causal-diffusers/digits-ddpm"},
    )
    assert cli.main(["train", recipe, "--output", str(tmp_path / "trained")]) == 0
    told = capsys.readouterr().out
    assert "CausalPipeline.from_pretrained(" in told
    assert "rows that it was trained on)" in told  # the report, of too few rows to spare any
    assert sample(str(tmp_path / "trained"), tmp_path / "again", "--do", "W=b") == 0


def test_train_needs_to_know_where_to_save(tmp_path, capsys):
    assert cli.main(["train", write_recipe(tmp_path, "rows.csv")]) == 2
    assert "Add `--output DIR`, or the key `output`" in capsys.readouterr().err


def test_a_wrong_label_in_the_data_is_named_with_its_row(tmp_path, capsys):
    (tmp_path / "rows.csv").write_text("W,A\na,no\nq,yes\n")
    recipe = write_recipe(tmp_path, str(tmp_path / "rows.csv"), output=str(tmp_path / "out"))
    assert cli.main(["train", recipe]) == 2
    assert "\"W\" takes one of ['a', 'b', 'c']: got 'q' in row 1" in capsys.readouterr().err


def test_a_missing_column_is_named(tmp_path, capsys):
    (tmp_path / "rows.csv").write_text("W\na\n")
    recipe = write_recipe(tmp_path, str(tmp_path / "rows.csv"), output=str(tmp_path / "out"))
    assert cli.main(["train", recipe]) == 2
    assert 'no column "A"' in capsys.readouterr().err


def test_falsify_names_the_pair_and_exits_with_one(tmp_path, capsys):
    rows = "".join(f"{'abc'[i % 3]},{('no', 'yes')[i % 3 == 0]}\n" for i in range(300))
    (tmp_path / "rows.csv").write_text("W,A\n" + rows)
    data = str(tmp_path / "rows.csv")
    assert cli.main(["falsify", write_recipe(tmp_path, data, graph="W; A")]) == 1
    assert "THE DATA CONTRADICT THE GRAPH" in (told := capsys.readouterr().out)
    assert "W and A: add an edge" in told
    assert cli.main(["falsify", write_recipe(tmp_path, data)]) == 0
    assert "the graph forbids nothing" in capsys.readouterr().out
    assert cli.main(["falsify", write_recipe(tmp_path, data), "--level", "2"]) == 2


@pytest.fixture
def rows(tmp_path):
    """A chain of numbers, X -> M -> Y, as a csv file."""
    generator = torch.Generator().manual_seed(0)
    e = torch.randn(3, 500, generator=generator)
    x = e[0]
    m = 2 * x + e[1]
    y = -2 * m + e[2]
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Y", "X", "M"])
        writer.writerows(torch.stack([y, x, m], dim=1).tolist())
    return tmp_path / "rows.csv"


def test_discover_falsify_train_and_sample_are_a_chain(rows, tmp_path, capsys):
    graph = tmp_path / "graph.txt"
    assert cli.main(["discover", str(rows), "--output", str(graph)]) == 0
    assert "X -> M" in capsys.readouterr().out
    assert ADMG.parse(graph.read_text()).directed == {("X", "M"), ("M", "Y")}
    kinds = {name: {"type": "continuous", "scale": 2} for name in "XMY"}
    recipe = tmp_path / "recipe.json"
    training = {"steps": 2}
    text = {"graph": str(graph), "variables": kinds, "data": str(rows), "training": training}
    recipe.write_text(json.dumps(text))
    assert cli.main(["falsify", str(recipe)]) == 0
    assert cli.main(["train", str(recipe), "--output", str(tmp_path / "pipe")]) == 0
    assert sample(str(tmp_path / "pipe"), tmp_path / "out", "--do", "M=1", "--outcomes", "Y") == 0
    assert len(table(tmp_path / "out")) == 5


def test_discover_takes_what_is_known(rows, tmp_path, capsys):
    words = ["discover", str(rows), "--columns", "X", "M", "--output", str(tmp_path / "g.txt")]
    assert cli.main([*words, "--forbidden", "X->M", "--required", "M->X"]) == 0
    assert ADMG.parse((tmp_path / "g.txt").read_text()).directed == {("M", "X")}
    assert cli.main([*words, "--tiers", "M", "X"]) == 0
    assert ADMG.parse((tmp_path / "g.txt").read_text()).directed <= {("M", "X")}
    capsys.readouterr()
    assert cli.main([*words, "--required", "M to X"]) == 2
    assert "an edge is written 'X->Y': got 'M to X'" in capsys.readouterr().err


def test_discover_refuses_words(rows, capsys):
    rows.write_text("X,Y\n1,red\n2,blue\n4,red\n")
    assert cli.main(["discover", str(rows)]) == 2
    assert "\"Y\" should hold numbers: got 'red'" in capsys.readouterr().err
