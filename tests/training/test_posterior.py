import pytest
import torch

from causal_diffusers import Categorical, CausalPipeline, GANMechanism, Image, ModularTrainer
from causal_diffusers.backbones.gan import GENERATORS, GANGenerator
from causal_diffusers.seeding import spawn
from causal_diffusers.training import PosteriorObjective, Rows, TrainingConfig
from causal_diffusers.training.plan import check_objective, objective_of
from stripes import Stripes

TWO, PICTURE = Categorical([0, 1]), Image(1, 8, 8)


def standing(images):
    """How many images have standing stripes."""
    x = images.squeeze(1)
    return ((x[:, 0, 1] - x[:, 0, 0]).abs() > 0.5).double().mean().item()


@pytest.fixture
def gan(tmp_path):
    GENERATORS["stripes"] = Stripes
    GANGenerator("stripes", {}).save_pretrained(tmp_path / "stripes")
    yield tmp_path / "stripes"
    del GENERATORS["stripes"]


def pipeline(gan, **options):
    f = GANMechanism.from_pretrained(gan, **{"candidates": 16, **options})
    return CausalPipeline.from_graph("X -> I", {"X": TWO, "I": PICTURE}, {"I": f})


def rows(number=2000):
    """P(stands | X) is .6 or .9; that of the generator is .5."""
    stream = spawn(0, "rows")
    X = torch.randint(2, (number,), generator=stream)
    stands = torch.rand(number, generator=stream) < torch.tensor([0.6, 0.9])[X]
    z = torch.randn(number, 4, generator=stream)
    z[:, 0] = z[:, 0].abs() * torch.where(stands, 1, -1)
    return {"X": X, "I": (Stripes()(z).detach() + 1) / 2}


def objective(gan):
    return PosteriorObjective("I", pipeline(gan).I)


def test_it_is_the_default_of_a_generator_that_is_told_by_bayes(gan):
    pipe = pipeline(gan)
    assert objective_of(pipe.I) == "posterior"
    assert "{I} by posterior" in str(pipe.plan())
    assert objective_of(pipeline(gan, conditioning="latent", gates=False).I) == "adversarial"


def test_a_game_cannot_train_what_is_told_by_bayes(gan):
    with pytest.raises(ValueError, match="is told by Bayes"):
        check_objective("adversarial", {"I": pipeline(gan).I})


def test_the_losses_are_a_function_of_the_seed(gan):
    one = objective(gan)
    batch = Rows(rows(20), {"X": TWO, "I": PICTURE}).batch(torch.arange(20))
    state = torch.get_rng_state()
    losses = one(batch, 3)
    assert losses.shape == (20,)
    assert torch.equal(one(batch, 3), losses)
    assert not torch.equal(one(batch, 4), losses)
    assert torch.equal(torch.get_rng_state(), state)
    assert one.columns == ("I", "X")
    assert one.culprits(batch, 0) == ("I",)


def test_another_conditioning_is_refused(gan):
    with pytest.raises(ValueError, match=r'conditioning="latent"\. Choose `objective="adv'):
        PosteriorObjective("I", pipeline(gan, conditioning="latent", gates=False).I)


def test_the_class_balance_of_the_generator_does_not_leak(gan):
    """A noisy cause of a rare kind of image: the truth is the table behind the rows."""
    pipe = pipeline(gan)
    before = standing(pipe.I.backbone(torch.randn(2000, 4, generator=spawn(1, "z"))))
    assert abs(before - 0.5) < 0.05
    ModularTrainer(pipe, rows(), config=TrainingConfig(steps=200)).train()

    def answer(x):
        out = pipe(600, do={"X": x}, outcomes=["I"], output_type="pt", generator=spawn(2, x))
        return standing(2 * out.images["I"] - 1)

    assert abs(answer(0) - 0.6) < 0.09  # four standard errors
    assert abs(answer(1) - 0.9) < 0.06
    codes = {"X": torch.tensor([0, 1]).repeat(20)}
    count = pipe.I.effective_candidates(codes, num_samples=40, generator=spawn(3, "w"))
    assert count.mean() > 4  # no collapse onto few images
    with torch.no_grad():
        for parameter in pipe.I.reader.odds.parameters():
            parameter.zero_()
    assert answer(1) < 0.83  # .75 by Bayes: what leaks in without the odds
