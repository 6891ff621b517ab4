"""Rows of several regimes: what is read, what learns from what, and that it tells the truth."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from causal_diffusers import (
    ADMG,
    Categorical,
    CategoricalMechanism,
    CausalPipeline,
    Confounder,
    Continuous,
    DiffusionMechanism,
    Image,
    ModularTrainer,
    NotIdentifiableError,
    TrainingConfig,
)
from causal_diffusers.systems import DiscreteSCM
from causal_diffusers.training import LikelihoodObjective, Rows
from causal_diffusers.training.intervened import read_masks
from causal_diffusers.training.objective import Objective
from causal_diffusers.variables import Experiment
from tiny import make_tiny_base
from training.test_likelihood import District

TWO, THREE = Categorical([0, 1]), Categorical("abc")
BOW = ADMG.parse("X -> Y; X <-> Y")
DRUGS = ADMG.parse("X1 -> W -> Y <- X2; W <-> X1 <-> X2 <-> Y")


def regimes(system, experiments, count, seed=0):
    """Draw rows under each experiment; the values that are set are tossed."""
    parts = []
    generator = torch.Generator().manual_seed(seed)
    for names in experiments:
        for values in itertools.product((0, 1), repeat=len(names)):
            do = dict(zip(names, values, strict=True))
            part = system.sample(count // 2 ** len(names), do=do, generator=generator)
            size = len(next(iter(part.values())))
            parts.append({**part, "intervened": [",".join(names)] * size})
    rows = {name: torch.cat([part[name] for part in parts]) for name in system.graph.variables}
    return {**rows, "intervened": [word for part in parts for word in part["intervened"]]}


def trained(graph, rows, *, states=4, steps=200):
    torch.manual_seed(0)
    pipe = CausalPipeline.from_graph(
        graph,
        dict.fromkeys(graph.variables, TWO),
        confounders=dict.fromkeys(graph.confounders, Confounder(states=states)),
    )
    ModularTrainer(pipe, rows, config=TrainingConfig(steps=steps)).train()
    return pipe


def answer(pipe, outcome, do, **options):
    out = pipe(
        4000, do=do, outcomes=outcome, generator=torch.Generator().manual_seed(0), **options
    )
    return out.probabilities[outcome].mean(dim=0).numpy()


def strong_bow():
    """Draw a bow whose confounder matters: plain conditioning is off by more than .1."""
    drawn = (
        DiscreteSCM.random(BOW, generator=torch.Generator().manual_seed(seed))
        for seed in itertools.count()
    )
    return next(system for system in drawn if naive_error(system) > 0.15)


def naive_error(system):
    done, seen = system.interventional("Y", "X"), system.interventional("Y", (), "X")
    return np.abs(done.values - seen.values).max()


# what is read


def test_words_and_lists_of_names():
    masks = read_masks(["", None, float("nan"), "X", " Y , X", ("Y",), np.array(["X"])], "XYZ")
    assert masks["X"].tolist() == [0, 0, 0, 1, 1, 0, 1]
    assert masks["Y"].tolist() == [0, 0, 0, 0, 1, 1, 0]
    assert sorted(masks) == ["X", "Y"]


def test_what_is_no_variable_is_refused():
    with pytest.raises(ValueError, match=r'got "Q" in row 1\. .* a variable of its own'):
        Rows({"X": [0, 1], "intervened": ["", "Q"]}, {"X": TWO})
    with pytest.raises(ValueError, match="an entry for each of 2 rows: got 1"):
        Rows({"X": [0, 1], "intervened": [""]}, {"X": TWO})


def test_experiments_are_listed_with_the_values_that_were_tried():
    columns = {"X": [0, 1, 1, 0], "Y": [0, 1, 2, 2], "intervened": ["", "X", "X,Y", "X"]}
    rows = Rows(columns, {"X": TWO, "Y": THREE})
    tried = Experiment(("X", "Y"), ((1, 2),))
    assert rows.experiments == (Experiment(), Experiment(("X",)), tried)


def test_rows_without_the_column_are_as_before():
    plain = Rows({"X": [0, 1]}, {"X": TWO})
    assert plain.experiments == (Experiment(),)
    assert plain.free(["X"]) is plain
    assert sorted(plain.batch(torch.tensor([0]))) == ["X"]


def test_counts_tell_regimes_apart():
    columns = {"X": [0, 0, 0], "Y": [1, 1, 1], "intervened": ["", "X", "X"]}
    distinct, counts = Rows(columns, {"X": TWO, "Y": TWO}).counts(["X", "Y"])
    assert distinct["do(X)"].tolist() == [0, 1]
    assert counts.tolist() == [1.0, 2.0]


def test_rows_are_known_again_by_what_was_set():
    variables = {"X": TWO}
    one, same, other = (
        Rows({"X": [0, 1], "intervened": tags}, variables).fingerprint(["X"])
        for tags in (["", "X"], [(), ["X"]], ["X", ""])
    )
    assert one == same != other


def test_rows_in_which_all_was_set_are_left_out_and_keep_their_numbers():
    columns = {"X": [0, 1, 1], "Y": [0, 0, 1], "intervened": ["X", "", "X,Y"]}
    rows = Rows(columns, {"X": TWO, "Y": TWO})
    free = rows.free(["X", "Y"])
    assert [free.number_of(row) for row in range(len(free))] == [0, 1]
    assert free.batch(torch.tensor([0, 1]))["do(X)"].tolist() == [1, 0]
    only = rows.free(["Y"])
    assert (len(only), sorted(only.variables)) == (2, ["X", "Y"])
    with pytest.raises(ValueError, match="in which X were not set by hand"):
        Rows({"X": [0], "intervened": ["X"]}, {"X": TWO}).free(["X"])


def test_images_that_were_set_are_left_out_and_files_are_found(tmp_path):
    shades = (0, 80, 160, 240)
    files = [tmp_path / f"{shade}.png" for shade in shades]
    for file, shade in zip(files, shades, strict=True):
        PILImage.new("L", (4, 4), shade).save(file)
    columns = {"I": list(map(str, files)), "intervened": ["", "I", "", "I"]}
    rows = Rows(columns, {"I": Image(1, 4, 4)})
    free = rows.free(["I"])
    shown = free.batch(torch.arange(2))
    assert list(shown) == ["I"]
    assert (shown["I"][:, 0, 0, 0] * 127.5 + 127.5).round().tolist() == [0, 160]
    assert free.fingerprint(["I"]) != rows.fingerprint(["I"])


# what is minimised


def test_the_factors_of_what_was_set_are_dropped():
    """Summed over the others, what is left is a distribution for each value that is set."""
    district = District(Confounder(states=3), Confounder(states=2))
    cells = district.cells()
    for names in ("X", "Y", "XY", "XW"):
        batch = {**cells, **{f"do({name})": torch.ones(24, dtype=torch.long) for name in names}}
        free = [1 + "XYW".index(name) for name in "XYW" if name not in names]
        total = (-district.objective(batch, seed=0)).exp().reshape(2, 3, 2, 2).sum(dim=free)
        assert torch.allclose(total, torch.ones_like(total), atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*Sampling anyway")
def test_the_confounder_is_kept():
    r"""Under do(X), Q is \sum_u p(u) p(y | x, u), not p(y | x) of the observed joint."""
    u = {"U": Confounder(states=2)}
    system = strong_bow()
    pipe = CausalPipeline.from_graph(BOW, dict.fromkeys("XY", TWO), confounders={"U_X_Y": u["U"]})
    objective = ModularTrainer(pipe, system.sample(9, generator=torch.Generator())).objectives("X")
    cells = {"X": torch.tensor([0, 1]), "Y": torch.tensor([1, 1])}
    with torch.no_grad():
        set_ = (-objective[0]({**cells, "do(X)": torch.ones(2, dtype=torch.long)}, 0)).exp()
    by_sampling = [answer(pipe, "Y", {"X": x}, on_unidentified="warn")[1] for x in (0, 1)]
    assert np.allclose(set_.numpy(), by_sampling, atol=0.02)


# what is answered


def test_an_experiment_answers_the_bow():
    system = strong_bow()
    rows = regimes(system, [(), ("X",)], 40_000)
    pipe = trained(BOW, rows)
    truth = system.interventional("Y", "X").values
    assert str(pipe.identify("Y", "X")) == "P_{X}(Y)"
    for x in (0, 1):
        assert np.abs(answer(pipe, "Y", {"X": x}) - truth[:, x]).max() < 0.02
    assert np.abs(answer(pipe, "Y", {}) - system.interventional("Y").values).max() < 0.02

    without = {name: column for name, column in rows.items() if name != "intervened"}
    deaf = trained(BOW, without)
    with pytest.raises(NotIdentifiableError):
        deaf(1, do={"X": 1})
    with pytest.warns(UserWarning, match="Sampling anyway"):
        off = [answer(deaf, "Y", {"X": x}, on_unidentified="warn") - truth[:, x] for x in (0, 1)]
    assert np.abs(off).max() > 0.02


def test_two_experiments_answer_for_both_drugs():
    """Fig. 1a of Lee, Correa & Bareinboim (2019): neither experiment answers alone."""
    system = DiscreteSCM.random(DRUGS, generator=torch.Generator().manual_seed(1))
    pipe = trained(DRUGS, regimes(system, [("X1",), ("X2",)], 20_000), states=3, steps=150)
    truth = system.interventional("Y", ["X1", "X2"]).values
    for x1, x2 in itertools.product((0, 1), repeat=2):
        found = answer(pipe, "Y", {"X1": x1, "X2": x2})
        assert np.abs(found - truth[:, x1, x2]).max() < 0.02
    pipe.experiments = pipe.experiments[:1]
    with pytest.raises(NotIdentifiableError, match="would settle it"):
        pipe(1, do={"X1": 1, "X2": 0})


def test_a_value_that_was_never_tried_is_not_answered():
    columns = {"X": [0, 1] * 4 + [1] * 8, "Y": [0, 1] * 8, "intervened": [""] * 8 + ["X"] * 8}
    pipe = trained(BOW, columns, steps=2)
    assert pipe.experiments[1].tried == ((1,),)
    pipe(2, do={"X": 1})
    pipe.identify("Y", do={"X": 1})
    for ask in (lambda: pipe(2, do={"X": 0}), lambda: pipe(2, do={"X": [0, 1]})):
        with pytest.raises(NotIdentifiableError):
            ask()
    with pytest.raises(NotIdentifiableError):
        pipe.identify("Y", do="X")


def test_what_is_always_set_is_never_trained_and_never_sampled():
    columns = {"X": [0, 1] * 4, "Y": [0, 1] * 4, "intervened": ["X"] * 8}
    torch.manual_seed(0)
    pipe = CausalPipeline.from_graph(BOW, dict.fromkeys("XY", TWO))
    before = {n: p.clone() for n, p in pipe.X.named_parameters()}
    trainer = ModularTrainer(pipe, columns, config=TrainingConfig(steps=3))
    assert str(trainer.plan).splitlines()[1:] == [
        "{Y} learns from do(X)",
        "not trained: {X}, set by hand in every row",
    ]
    trainer.train()
    assert all(torch.equal(before[n], p) for n, p in pipe.X.named_parameters())
    assert pipe(2, do={"X": 1}).values["X"] == [1, 1]
    with pytest.raises(NotIdentifiableError, match="Observation, with nothing set, would settle"):
        pipe(2)
    with (
        pytest.warns(UserWarning, match="Sampling anyway"),
        pytest.raises(ValueError, match=r'"X" was set by hand in every row.*do=\{"X"'),
    ):
        pipe(2, on_unidentified="warn")


def test_the_plan_says_which_regime_teaches_what():
    columns = {"X": [0, 1] * 4, "Y": [0, 1] * 4, "intervened": ["", "X"] * 4}
    pipe = CausalPipeline.from_graph(BOW, dict.fromkeys("XY", TWO))
    trainer = ModularTrainer(pipe, columns, config=TrainingConfig(steps=1))
    told = "{X} learns from observation; {Y} learns from observation, do(X)"
    assert str(trainer.plan).splitlines()[1] == told
    assert "learns" not in str(pipe.plan())
    trainer.train()
    assert str(pipe.plan()) == str(trainer.plan)


def test_an_objective_that_does_not_know_experiments_refuses_them():
    class Blind(LikelihoodObjective):
        select = Objective.select

    rows = Rows({"X": [0, 1], "intervened": ["", "X"]}, {"X": TWO})
    f = CategoricalMechanism().bind(TWO, {}, {})
    with pytest.raises(ValueError, match=r"`intervened` is not understood by every .* likelihood"):
        Blind({"X": f}, {}, {}).select(rows)


def test_a_game_clamps_what_was_set_and_tells_its_critic():
    columns = {"X": [0, 1, 1], "Y": [0, 1, 0], "intervened": ["", "X", "X,Y"]}
    pipe = CausalPipeline.from_graph(BOW, dict.fromkeys("XY", TWO))
    config = TrainingConfig(steps=1, batch_size=4, objective="adversarial")
    trainer = ModularTrainer(pipe, columns, config=config, held_out=0)
    (game,) = trainer.objectives("XY")
    rows = game.select(trainer.rows)
    assert len(rows) == 2
    game.prepare(rows, 0, torch.device("cpu"))
    batch = rows.batch(torch.tensor([0, 1] * 50))
    drawn = game.draw(batch, 3)
    is_set = batch["do(X)"] == 1
    assert drawn["X"][is_set].argmax(1).eq(1).all()
    assert drawn["X"][~is_set].argmax(1).unique().tolist() == [0, 1]
    assert game.view(drawn)["do(X)"].flatten().tolist() == [0.0, 1.0] * 50
    trainer.train()
    assert pipe.experiments[1].variables == ("X",)


@pytest.mark.slow
def test_a_game_learns_a_bow_from_an_experiment():
    """P(Y | do(X)) of a bow, which observation leaves open and plain conditioning misses."""
    system = strong_bow()
    rows = regimes(system, [(), ("X",)], 8000)
    torch.manual_seed(0)
    pipe = CausalPipeline.from_graph(BOW, dict.fromkeys("XY", TWO))
    config = TrainingConfig(steps=1000, objective="adversarial")
    ModularTrainer(pipe, rows, config=config).train()
    truth = system.interventional("Y", "X").values
    found = [
        pipe(4000, do={"X": x}, outcomes="Y", generator=torch.Generator().manual_seed(x))
        .probabilities["Y"]
        .mean(dim=0)
        .numpy()
        for x in (0, 1)
    ]
    assert naive_error(system) > 0.15
    assert np.abs(np.stack(found, axis=1) - truth).max() < 0.04


def test_the_experiments_travel_with_the_pipeline(tmp_path):
    columns = {"X": [0, 1] * 2, "Y": [0, 1] * 2, "intervened": ["", "", "X", ""]}
    pipe = trained(BOW, columns, steps=1)
    pipe.save_pretrained(tmp_path)
    again = CausalPipeline.from_pretrained(tmp_path)
    assert again.experiments == pipe.experiments == (Experiment(), Experiment(("X",), ((0,),)))
    assert '"format_version": 2' in (tmp_path / "model_index.json").read_text()
    again(1, do={"X": 0})
    retrained = trained(BOW, {"X": [0, 1], "Y": [0, 1]}, steps=1)
    assert retrained.experiments == (Experiment(),)
    assert '"format_version": 1' in retrained.to_json_string()


def test_labels_that_were_tried_beside_a_number_are_remembered():
    columns = {"X": [1, 1, 0], "Z": [0.3, -0.2, 0.1], "intervened": ["X,Z", "X,Z", ""]}
    rows = Rows(columns, {"X": TWO, "Z": Continuous()})
    assert rows.experiments[1] == Experiment(("X", "Z"), ((1, None),))
    assert not rows.experiments[1].covers({"X": {0}, "Z": None}, rows.variables)
    assert rows.experiments[1].covers({"X": {1}, "Z": None}, rows.variables)


def test_what_was_put_aside_was_not_tried():
    columns = {"X": [0, 1, 1], "intervened": ["", "", "X"]}
    rows = Rows(columns, {"X": TWO})
    assert rows.take(torch.tensor([0, 1])).experiments == (Experiment(),)
    assert rows.take(torch.tensor([2])).experiments == (Experiment(("X",), ((1,),)),)


def test_an_image_that_was_always_set_leaves_the_likelihood_of_the_rest(tmp_path):
    base = make_tiny_base(tmp_path / "base")
    pipe = CausalPipeline.from_graph(
        "U: I, L",
        {"I": Image(1, 8, 8), "L": TWO},
        {"I": DiffusionMechanism.from_pretrained(base, rank=2, codes=4)},
        {"U": Confounder(states=2)},
    )
    columns = {"I": torch.rand(8, 1, 8, 8), "L": [0, 1] * 4, "intervened": ["I"] * 8}
    trainer = ModularTrainer(pipe, columns, config=TrainingConfig(steps=2), held_out=0)
    assert [o.name for o in trainer.objectives("L")] == ["likelihood"]
    trainer.train()
