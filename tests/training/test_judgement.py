"""Each kind of mechanism, both ways: a good one fits, and a crippled one is named in words.

Rows that are drawn from a model itself are what a perfect training would fit.
"""

import copy

import pytest
import torch

from causal_diffusers import (
    Categorical,
    CategoricalMechanism,
    CausalPipeline,
    Confounder,
    Continuous,
    FlowMechanism,
    GANMechanism,
    Image,
    ModularTrainer,
    TrainingConfig,
)
from causal_diffusers.backbones.gan import GENERATORS, GANGenerator
from causal_diffusers.training import report_fit
from causal_diffusers.training.judgement import tail_probability
from causal_diffusers.training.report import MisfitWarning
from causal_diffusers.training.shown import _tail_of
from stripes import Stripes, rows_of_stripes

TWO, PICTURE = Categorical([0, 1]), Image(1, 8, 8)


def silence(pipe, name, part):
    """Copy a pipeline, with the trainable tensors of a variable whose names say so at zero."""
    crippled = copy.deepcopy(pipe)
    with torch.no_grad():
        for own, tensor in crippled.components[name].trainable_state().items():
            if part in own:
                tensor.zero_()
    return crippled


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def numbers():
    """A pipeline X -> Y -> Z of a label, a vector and a number, trained, and its trainer."""
    g = seeded()
    x = torch.randint(2, (6000,), generator=g)
    y = torch.randn(6000, 2, generator=g) + 2.0 * x[:, None]
    y[:, 1] = 0.8 * y[:, 0] + 0.6 * y[:, 1]
    z = y[:, 0] ** 2 + torch.randn(6000, generator=g)
    data = {"X": x, "Y": y, "Z": z}
    variables = {"X": TWO, "Y": Continuous.of(y), "Z": Continuous.of(z)}
    torch.manual_seed(0)
    pipe = CausalPipeline.from_graph("X -> Y -> Z", variables)
    config = TrainingConfig(steps=300, learning_rate=1e-2, ema_decay=0.95, batch_size=256)
    trainer = ModularTrainer(pipe, data, config=config)
    trainer.train()
    return pipe, trainer


def test_trained_flows_fit(numbers):
    _, trainer = numbers
    report = trainer.report()
    assert report.num_rows == 600
    assert report.is_good, str(report)
    assert [entry.verdict for entry in report.variables] == ["fits"] * 3
    assert "ranks among draws of the model" in report["Y"].finding
    assert "a network tells it" in report["Z"].finding


@pytest.mark.parametrize("name", ["Y", "Z"])
def test_a_flow_that_ignores_its_parents_is_named(numbers, name):
    pipe, trainer = numbers
    report = report_fit(silence(pipe, name, "from_parents"), trainer.aside)
    assert report[name].verdict == "MISFIT", str(report)
    assert f'Train "{name}" for more steps' in str(report)
    others = {entry.verdict for entry in report.variables if entry.variable != name}
    assert others == {"fits"}


def test_a_flow_of_the_wrong_width_is_named():
    """Right in the mean, given its parents too: only the spread is wrong."""
    x, e = torch.randn(2, 1500, generator=seeded())
    pipe = CausalPipeline.from_graph("X -> Y", {"X": Continuous(), "Y": Continuous()})
    report = report_fit(pipe, {"X": x, "Y": 0.7 * e})
    assert report["Y"].verdict == "MISFIT"


def test_perfect_flows_are_rarely_blamed():
    blamed = 0
    for seed in range(8):
        torch.manual_seed(seed)
        pipe = CausalPipeline.from_graph(
            "X -> Y; X <-> Y",
            {"X": Continuous(), "Y": Continuous(dim=2)},
            {n: FlowMechanism(width=16) for n in "XY"},
            {"U_X_Y": Confounder(states=3)},
        )
        values = pipe.scm.sample(400, generator=seeded(seed))
        blamed += not report_fit(pipe, decoded(pipe, values), seed=seed).is_good
    assert blamed == 0


def decoded(pipe, values):
    return {name: pipe.variables[name].decode(column) for name, column in values.items()}


def test_no_row_says_how_a_variable_is_made_that_was_always_set():
    pipe = CausalPipeline.from_graph("X -> Y", {"X": TWO, "Y": TWO})
    values = decoded(pipe, pipe.scm.sample(300, generator=seeded()))
    report = report_fit(pipe, {**values, "intervened": ["X"] * 300})
    assert report["X"].verdict == "not judged"
    assert "0 rows in which it was not set by hand" in str(report["X"])
    assert report["Y"].verdict == "fits", str(report)


def test_rows_of_experiments_are_judged_as_such():
    """Under do(X) the confounder no longer shows in X; a model that fits both regimes fits."""
    torch.manual_seed(0)
    pipe = CausalPipeline.from_graph(
        "X -> Y; X <-> Y", {"X": TWO, "Y": TWO}, confounders={"U_X_Y": Confounder(states=2)}
    )
    with torch.no_grad():
        for name in "XY":
            f = pipe.components[name]
            f.from_confounders.weight.mul_(20)
            f.network[-1].weight.mul_(4)
    seen = pipe.scm.sample(1500, generator=seeded(1))
    x = torch.randint(2, (1500,), generator=seeded(2))
    done = pipe.scm.sample(1500, do={"X": x}, generator=seeded(3))
    values = {n: torch.cat([seen[n], done[n]]) for n in "XY"}
    tags = [""] * 1500 + ["X"] * 1500
    report = report_fit(pipe, {**decoded(pipe, values), "intervened": tags})
    assert report.is_good, str(report)
    untold = report_fit(pipe, decoded(pipe, values))
    assert not untold.is_good  # the same rows without the tags


@pytest.mark.slow
def test_a_district_of_labels_and_a_number():
    """X -> M -> Y with X <-> Y: trained it fits, without the confounder it does not."""
    u, e = torch.randn(2, 12_000, generator=seeded())
    coins = torch.rand(2, 12_000, generator=seeded(1))
    x = (coins[0] < torch.sigmoid(2 * u)).long()
    m = (coins[1] < 0.2 + 0.6 * x).long()
    y = 2.0 * m + u + 0.5 * e
    torch.manual_seed(0)
    pipe = CausalPipeline.from_graph(
        "X -> M -> Y; X <-> Y",
        {"X": TWO, "M": TWO, "Y": Continuous.of(y)},
        confounders={"U_X_Y": Confounder(states=8)},
    )
    trainer = ModularTrainer(
        pipe, {"X": x, "M": m, "Y": y}, config=TrainingConfig(steps=400, batch_size=256)
    )
    trainer.train()
    assert trainer.report().is_good, str(trainer.report())
    for name in "XY":
        report = report_fit(silence(pipe, name, "from_confounders"), trainer.aside)
        assert report["Y"].verdict == "MISFIT", str(report)
        assert "Train {X, Y} for more steps" in str(report["Y"])


@pytest.fixture
def stripes(tmp_path):
    GENERATORS["stripes"] = Stripes
    GANGenerator("stripes", {}).save_pretrained(tmp_path / "stripes")
    yield tmp_path / "stripes"
    del GENERATORS["stripes"]


def test_a_gan_both_ways(stripes):
    f = GANMechanism.from_pretrained(stripes, candidates=16)
    pipe = CausalPipeline.from_graph("X -> I", {"X": TWO, "I": PICTURE}, {"I": f})
    rows = rows_of_stripes(2000, (0.1, 0.9))
    trainer = ModularTrainer(pipe, rows, config=TrainingConfig(steps=150), held_out=0.3)
    trainer.train()
    report = trainer.report(num_images=300)
    assert report.is_good, str(report)
    assert "X read right from" in report["I"].finding
    crippled = silence(pipe, "I", "reader.heads")
    bad = report_fit(crippled, trainer.aside, num_images=300)["I"]
    assert bad.verdict == "MISFIT", str(bad)
    assert 'Train "I" for more steps.' in str(bad)


def test_an_image_without_labels_is_read_for_its_effects(stripes):
    """The generator makes both kinds alike; in the data one in ten stands."""
    f = GANMechanism.from_pretrained(stripes, candidates=16)
    pipe = CausalPipeline.from_graph("I -> A", {"A": TWO, "I": PICTURE}, {"I": f})
    even, rare = (rows_of_stripes(1200, shares) for shares in ((0.5, 0.5), (0.1, 0.1)))
    for rows, verdict in ((even, "fits"), (rare, "MISFIT")):
        stands = (rows["I"][:, 0, 0, 1] - rows["I"][:, 0, 0, 0]).abs() > 0.25
        report = report_fit(pipe, {"I": rows["I"], "A": stands.long()}, num_images=300)
        assert report["I"].verdict == verdict, str(report)
        assert "what its images say of A" in report["I"].finding


@pytest.fixture
def confounded(stripes):
    """A GAN and a label that do what a hidden coin says, set by hand; L listens to I or not."""

    def make(graph):
        f = GANMechanism.from_pretrained(stripes, conditioning="latent", gates=False)
        g = CategoricalMechanism(width=2, depth=1)
        pipe = CausalPipeline.from_graph(
            graph, {"L": TWO, "I": PICTURE}, {"I": f, "L": g}, {"U_I_L": Confounder(states=2)}
        )
        with torch.no_grad():
            first, _, last = f.latent.networks[0]  # moves the first latent, among others
            first.weight.zero_()
            first.bias.zero_()
            first.weight[:2, -2:] = 10 * torch.eye(2)  # the two states
            last.weight[2, :2] = torch.tensor([-0.3, 0.3])  # the shift of the first latent
            g.from_parents.weight.zero_()
            g.from_confounders.weight.copy_(10 * torch.eye(2))
            g.network[-1].weight.copy_(0.15 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
        return pipe

    return make


@pytest.mark.parametrize("graph", ["I; L; I <-> L", "I -> L; I <-> L"])
def test_a_confounded_gan_both_ways(confounded, graph):
    pipe = confounded(graph)
    values = decoded(pipe, pipe.scm.sample(1200, generator=seeded()))
    report = report_fit(pipe, values, num_images=300)
    assert report.is_good, str(report)
    assert {entry.verdict for entry in report.variables} == {"fits"}
    bad = report_fit(silence(pipe, "I", "latent"), values, num_images=300)["I"]
    assert bad.verdict == "MISFIT", str(bad)
    assert "L read right from" in bad.finding
    if "->" in graph:  # L has no tractable past: its module is sampled
        crippled = silence(pipe, "L", "network")
        with torch.no_grad():
            crippled.components["L"].network[-1].bias.copy_(torch.tensor([2.0, 0.0]))
        assert report_fit(crippled, values, num_images=300)["L"].verdict == "MISFIT"


def test_training_warns_in_words_and_holds_rows_out_by_itself():
    x = torch.randint(2, (600,), generator=seeded())
    pipe = CausalPipeline.from_graph("X -> Y", {"X": TWO, "Y": TWO})
    trainer = ModularTrainer(pipe, {"X": x, "Y": x}, config=TrainingConfig(steps=1))
    assert (len(trainer.rows), len(trainer.aside)) == (540, 60)
    trainer.train()
    with pytest.warns(MisfitWarning, match=r"THE MODEL FITS Y BADLY \(60 held-out rows\)"):
        trainer.report()


@pytest.mark.parametrize(
    ("rows", "held_out", "aside"),
    [(499, None, 0), (500, None, 50), (50_000, None, 2000), (600, 0, 0), (600, 0.5, 300)],
)
def test_how_many_rows_are_held_out(rows, held_out, aside):
    pipe = CausalPipeline.from_graph("X", {"X": TWO})
    trainer = ModularTrainer(pipe, {"X": torch.arange(rows) % 2}, held_out=held_out)
    assert len(trainer.aside or ()) == aside
    assert len(trainer.rows) == rows - aside


def two_sided(counts, number):
    """The total variation of one binary label from fair coins."""
    return (counts / number - 0.5).abs()


def distances(trials, cells):
    """Total variations of 300 fair coins in each of some cells, on average over these."""
    size = (trials, cells)
    return two_sided(
        torch.binomial(torch.full(size, 300.0), torch.full(size, 0.5), generator=seeded(trials)),
        300,
    ).mean(dim=1)


@pytest.mark.parametrize("cells", [1, 2, 20])
@pytest.mark.parametrize("level", [0.05, 0.005, 0.0005])
def test_false_alarms_are_as_rare_as_they_are_said_to_be(cells, level):
    """A total variation over few cells is no normal number: its tail is longer."""
    values, times = distances(100_000, cells).double().unique(return_counts=True)
    alarms = []
    for repeat in range(20):  # the null is itself drawn
        null = distances(2000 + repeat, cells).double()
        edges = null.mean().item(), null.quantile(0.95).item()
        p = [(tail_probability(v, null), _tail_of(v, *edges)) for v in values.tolist()]
        alarms.append((times[:, None] * (torch.tensor(p) < level)).sum(dim=0) / 100_000)
    assert bool((torch.stack(alarms).mean(dim=0) < 1.3 * level).all())


def test_a_large_distance_is_told_from_chance():
    null = torch.randn(2000, 10, generator=seeded()).abs().mean(dim=1)
    far = null.mean().item() + 5 * null.std().item()
    assert tail_probability(far, null) < 1e-4
    assert _tail_of(far, null.mean().item(), null.quantile(0.95).item()) < 1e-3
    assert tail_probability(0.3, torch.zeros(2000)) < 1e-9  # a model that is sure, and wrong
