"""Reports: good models are not blamed, crippled ones are, by name."""

import pytest
import torch

from causal_diffusers import (
    Categorical,
    CategoricalMechanism,
    CausalPipeline,
    DiffusionMechanism,
    Image,
    ModularTrainer,
    TrainingConfig,
)
from causal_diffusers.graphs import ADMG
from causal_diffusers.training import report_fit
from causal_diffusers.training.report import MisfitWarning
from exact import ExactModel
from tiny import make_tiny_base

GRAPH = "D -> W -> A; D <-> A"


def pipe_of(model):
    """A pipeline that is the exact model itself."""
    scm = model.scm()
    pipe = CausalPipeline.from_graph(
        scm.graph, scm.variables, scm.mechanisms, confounders=scm.confounders
    )
    for name, prior in pipe.scm.priors.items():
        prior.load_state_dict(scm.priors[name].state_dict())
    return pipe, scm


@pytest.fixture(scope="module")
def exact():
    pipe, scm = pipe_of(ExactModel(GRAPH, seed=4, values=3))
    return pipe, scm.sample(3000, generator=torch.Generator().manual_seed(0))


def test_a_perfect_model_fits(exact):
    pipe, rows = exact
    report = report_fit(pipe, rows)
    assert report.is_good, str(report)
    assert [entry.verdict for entry in report.variables] == ["fits"] * 3
    assert report["A"].given == ("D", "W")
    assert str(report).startswith("no misfit found (2000 held-out rows)")  # of 3,000


def test_perfect_models_are_rarely_blamed():
    blamed = 0
    for seed in range(8):
        pipe, scm = pipe_of(ExactModel(GRAPH, seed=seed))
        rows = scm.sample(500, generator=torch.Generator().manual_seed(seed))
        blamed += not report_fit(pipe, rows, seed=seed).is_good
    assert blamed == 0


def test_a_crippled_mechanism_is_named(exact):
    _, rows = exact
    variables = dict.fromkeys("DWA", Categorical(range(3)))
    torch.manual_seed(0)
    pipe = CausalPipeline.from_graph(GRAPH, variables, {"W": CategoricalMechanism(width=1)})
    few = TrainingConfig(steps=1)
    trainer = ModularTrainer(
        pipe, rows, config=TrainingConfig(steps=150, draws=64), overrides={"W": few}, held_out=0.3
    )
    trainer.train()
    with pytest.warns(MisfitWarning, match="THE MODEL FITS W BADLY"):
        report = trainer.report()
    assert report.num_rows == 900
    assert report["W"].verdict == "MISFIT"
    assert "wider mechanism" in str(report["W"])
    assert report["D"].verdict == "fits", str(report)
    assert str(report).startswith("THE MODEL FITS W BADLY (900 held-out rows)")


def test_rows_of_the_training_are_called_so(exact):
    pipe, rows = exact
    trainer = ModularTrainer(pipe, rows, held_out=0)
    assert "rows that it was trained on" in str(trainer.report())
    assert "held-out rows" in str(trainer.report({name: v[:50] for name, v in rows.items()}))


@pytest.mark.parametrize("share", [1.0, -0.1, 1e-9])
def test_a_share_that_leaves_nothing_is_refused(exact, share):
    pipe, rows = exact
    with pytest.raises(ValueError, match="`held_out` is the share of the 3000 rows"):
        ModularTrainer(pipe, rows, held_out=share)


def test_an_image_that_ignores_its_parents_is_named(tmp_path, generator):
    pipe = CausalPipeline.from_graph(
        "D -> I",
        {"D": Categorical([0, 1]), "I": Image(1, 8, 8)},
        {"I": DiffusionMechanism.from_pretrained(make_tiny_base(tmp_path), rank=2)},
    )
    d = torch.randint(2, (400,), generator=generator)
    images = 0.2 * torch.rand(400, 1, 8, 8, generator=generator)
    images[:, :, :4] += 0.7 * d[:, None, None, None]
    report = report_fit(pipe, {"D": d, "I": images}, num_images=60)
    assert report["I"].verdict == "MISFIT", str(report)
    assert "larger `rank`" in str(report["I"])


def test_a_mechanism_that_ignores_its_image_parent_is_named(generator):
    graph = ADMG.parse("I -> A")
    image = torch.rand(1500, 1, 8, 8, generator=generator)
    a = (image[:, 0, :4].mean((1, 2)) > image[:, 0, 4:].mean((1, 2))).long()

    class Ignorant:
        """What a report needs of a pipeline whose A is right on average, and no more."""

        def __init__(self):
            mechanism = CategoricalMechanism().bind(Categorical([0, 1]), {"I": Image(1, 8, 8)}, {})
            with torch.no_grad():
                mechanism.network[-1].weight.zero_()
                mechanism.network[-1].bias.copy_(a.double().mean().mul(torch.ones(2)).log())
                mechanism.network[-1].bias[0] = (1 - a.float().mean()).log()
            self.graph, self.mechanisms = graph, {"A": mechanism, "I": None}
            self.variables = {"A": Categorical([0, 1]), "I": Image(1, 8, 8)}

    report = report_fit(Ignorant(), {"I": image, "A": a})
    assert report["A"].verdict == "MISFIT", str(report)
    assert report["I"].verdict == "not judged"
