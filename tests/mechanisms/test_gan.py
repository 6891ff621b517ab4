"""The frozen GAN: laws are in tests/laws; here is what only this mechanism does."""

import pytest
import torch
from torch import nn

from causal_diffusers import GANMechanism
from causal_diffusers.backbones.gan import GENERATORS, GANGenerator
from causal_diffusers.errors import CheckpointError
from causal_diffusers.mechanisms.latent import LatentMap
from causal_diffusers.variables import Categorical, Confounder, Image
from mechanisms.zoo import LETTERS, PHOTO, PICTURE, YES, draw_inputs, sample
from tiny import make_tiny_gan, shake


@pytest.fixture(scope="module")
def gan(tmp_path_factory):
    return make_tiny_gan(tmp_path_factory.mktemp("gan"))


def told(gan, parents=None, confounders=None, **options):
    mechanism = GANMechanism.from_pretrained(gan, **{"candidates": 8, **options})
    return mechanism.bind(
        PICTURE, {"X": LETTERS} if parents is None else parents, confounders or {}
    )


# -- before training ---------------------------------------------------------------------------


@pytest.mark.parametrize("gates", [True, False])
def test_an_untold_latent_samples_the_generator_bit_for_bit(gan, gates):
    f = told(gan, {"X": YES, "J": PHOTO}, {"U": Confounder()}, gates=gates)
    z = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sample(f, 6), f.backbone(z))


def test_untrained_candidates_are_images_of_the_generator_all_alike(gan):
    """Each sample is one of its own candidates, bit for bit, and none is preferred."""
    f = told(gan, {})
    images = sample(f, 40)
    z, log_w = f._weigh({}, 0, 32, _stream_of(0))
    own = f.backbone(z.flatten(0, 1)).unflatten(0, (32, 8))
    hits = [(own[row] == images[row]).flatten(1).all(dim=1).sum() for row in range(32)]
    assert hits == [1] * 32
    assert log_w.abs().max() < 1e-5


def _stream_of(row):
    from causal_diffusers.seeding import draw_seed, spawn

    return spawn(draw_seed(torch.Generator().manual_seed(0)), row)


def test_without_odds_every_candidate_counts(gan):
    f, generator = told(gan, {}), torch.Generator().manual_seed(0)
    count = f.effective_candidates({}, num_samples=5, generator=generator)
    torch.testing.assert_close(count, torch.full((5,), 8.0))


# -- the latent map ----------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [2, 3, 8])
def test_the_density_of_latents_is_that_of_the_map(dim):
    """Against the determinant of the Jacobian, by automatic differentiation."""
    h = LatentMap(dim, 3, couplings=4, width=8)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in h.parameters():
            tensor += 0.5 * torch.randn(tensor.shape, generator=generator)
    h.double()
    normal = torch.distributions.Normal(torch.zeros(dim).double(), 1)
    for _ in range(5):
        eps, c = (torch.randn(n, generator=generator).double() for n in (dim, 3))
        jacobian = torch.autograd.functional.jacobian(lambda x, c=c: h(x, c), eps)
        by_hand = normal.log_prob(eps).sum() - torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(h.log_prob(h(eps, c), c), by_hand)


# -- Bayes, where the posterior is known -------------------------------------------------------


class Plane(nn.Module):
    """A generator whose images are two pixels, tanh of the two latents."""

    latent_dim = 2

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, z):
        return (self.scale * z).tanh()[:, None, None]


@pytest.fixture
def plane(tmp_path):
    GENERATORS["plane"] = Plane
    GANGenerator("plane", {}).save_pretrained(tmp_path / "plane")
    yield tmp_path / "plane"
    del GENERATORS["plane"]


class Oracle(nn.Module):
    """A reader that knows: p(X = 1 | I) and rho(I) are given functions of the latents."""

    def see(self, images):
        return images.flatten(1).atanh()

    def log_odds(self, seen):
        return 0.7 * seen[..., 1] - 0.3 * seen[..., 0]

    def log_prob(self, seen, parents):
        logit = 3 * seen[..., 0] * seen[..., 1] - 1
        return nn.functional.logsigmoid(torch.where(parents["X"] == 1, logit, -logit))


@pytest.mark.parametrize(
    ("proposal", "guidance_scale"), [("prior", 1), ("wrong", 0), ("wrong", 1), ("wrong", 2)]
)
def test_samples_are_those_of_the_posterior(plane, proposal, guidance_scale):
    """Against a sum over a grid of latents; a proposal that is wrong changes nothing."""
    f = GANMechanism.from_pretrained(plane, candidates=128)
    f.bind(Image(1, 1, 2), {"X": Categorical([0, 1])}, {})
    if proposal == "wrong":
        shake([f])
    f.reader = Oracle()
    axis = torch.linspace(-6, 6, 241)
    z = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).flatten(0, 1)
    for x in (0, 1):
        log_p = guidance_scale * f.reader.log_prob(z, {"X": torch.tensor(x)})
        p = (log_p + f.reader.log_odds(z) - z.square().sum(dim=1) / 2).softmax(dim=0)
        images = f.sample(
            {"X": torch.full((800,), x)},
            {},
            num_samples=800,
            generator=torch.Generator().manual_seed(0),
            options=_options(guidance_scale),
        )
        found = images.flatten(1).atanh()
        for event in (lambda z: z[:, 0] * z[:, 1] > 0, lambda z: z[:, 1] > 0.5):
            truth = p[event(z)].sum()
            error = (event(found).float().mean() - truth).abs()
            assert error < 4 * (truth * (1 - truth) / 800).sqrt() + 0.01  # 1 / candidates


def _options(guidance_scale):
    from causal_diffusers.mechanisms import SamplingOptions

    return SamplingOptions(guidance_scale=guidance_scale, batch_size=4096)


def test_relaxed_draws_have_the_same_distribution(plane):
    f = GANMechanism.from_pretrained(plane, candidates=32)
    f.bind(Image(1, 1, 2), {"X": Categorical([0, 1])}, {})
    f.reader = Oracle()
    inputs = {"X": torch.ones(800, dtype=torch.int64)}, {}
    hard = sample(f, 800, inputs=inputs).flatten(1)
    own = torch.Generator().manual_seed(1)
    soft = f.relaxed_sample(*inputs, num_samples=800, generator=own).flatten(1)
    for column in (0, 1):
        gap = (hard[:, column] > 0).float().mean() - (soft[:, column] > 0).float().mean()
        assert gap.abs() < 0.1  # four standard errors
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        f.relaxed_sample(*inputs, num_samples=1, generator=own, temperature=0)


def test_a_one_hot_parent_is_read_as_its_code(gan):
    f = told(gan, {"X": LETTERS, "W": YES})
    shake([f])
    parents, _ = draw_inputs(f, 6)
    hot = {n: torch.eye(3 if n == "X" else 2)[v] for n, v in parents.items()}
    with torch.no_grad():
        one, two = (
            f.relaxed_sample(p, {}, num_samples=6, generator=torch.Generator().manual_seed(3))
            for p in (parents, hot)
        )
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("parents", [{"X": LETTERS}, {"J": PHOTO}])
def test_the_batch_size_does_not_matter(gan, parents):
    f = told(gan, parents)
    shake([f])
    whole = sample(f, 40)
    for batch_size in (1, 7, 1000):
        part = sample(f, 40, batch_size=batch_size)
        torch.testing.assert_close(part, whole, atol=1e-3, rtol=0)


def test_the_progress_bar_counts_every_block(gan):
    seen = []
    sample(told(gan), 70, progress_bar=lambda jobs: seen.append(len(jobs)) or jobs)
    assert seen == [3]


# -- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parents", "confounders", "expected"),
    [
        ({}, {}, "posterior"),
        ({"X": LETTERS}, {}, "posterior"),
        ({"X": LETTERS, "J": PHOTO}, {}, "latent"),
        ({"X": LETTERS}, {"U": Confounder()}, "latent"),
    ],
)
def test_bayes_is_the_default_where_it_can_be_had(gan, parents, confounders, expected):
    f = told(gan, parents, confounders)
    assert f.conditioning == expected
    assert hasattr(f, "reader") == (expected == "posterior")


@pytest.mark.parametrize(
    ("parents", "confounders"), [({"J": PHOTO}, {}), ({"X": YES}, {"U": Confounder()})]
)
def test_bayes_is_refused_where_it_cannot_be_had(gan, parents, confounders):
    with pytest.raises(ValueError, match="unconfounded image of categorical parents"):
        told(gan, parents, confounders, conditioning="posterior")


def test_the_latent_may_be_asked_for(gan):
    f = told(gan, conditioning="latent", gates=False)
    assert {name.partition(".")[0] for name in f.trainable_state()} == {"latent"}
    with pytest.raises(ValueError, match="`effective_candidates` needs"):
        f.effective_candidates({}, num_samples=1, generator=torch.Generator())


@pytest.mark.parametrize(
    "arguments", [{"candidates": 7}, {"candidates": 0}, {"conditioning": "x"}]
)
def test_arguments_are_sensible(arguments):
    with pytest.raises(ValueError, match="candidates"):
        GANMechanism(**arguments)


def test_the_variable_is_what_the_generator_makes(gan):
    with pytest.raises(ValueError, match=r"generator makes Image\(channels=1, height=8"):
        GANMechanism.from_pretrained(gan).bind(PHOTO, {}, {})
    with pytest.raises(ValueError, match="`GANMechanism` has no pretrained model"):
        GANMechanism().bind(PICTURE, {}, {})


def test_arguments_without_effect_are_refused(gan, tmp_path):
    told(gan).save_pretrained(tmp_path, include_backbone=True)
    with pytest.raises(ValueError, match="a saved mechanism, which keeps its adapter"):
        GANMechanism.from_pretrained(tmp_path, candidates=4)
    with pytest.raises(ValueError, match="a pretrained model, which gets a new adapter"):
        GANMechanism.from_pretrained(gan, dtype=torch.bfloat16)


# -- the reference to the generator ------------------------------------------------------------


def test_a_generator_is_referred_to_and_found_again(gan, tmp_path):
    f = told(gan)
    shake([f])
    f.save_pretrained(tmp_path)
    assert not (tmp_path / "backbone").exists()
    with pytest.raises(CheckpointError, match="Say where it is with"):
        GANMechanism.from_pretrained(tmp_path)
    again = GANMechanism.from_pretrained(tmp_path, backbone=gan)
    assert torch.equal(sample(again), sample(f))
    other = make_tiny_gan(tmp_path / "other", seed=1)
    with pytest.raises(CheckpointError, match="not those that the adapter was trained on"):
        GANMechanism.from_pretrained(tmp_path, backbone=other)


def test_the_generator_is_bit_identical_after_an_optimiser_that_takes_all(gan):
    f = told(gan, {"J": PHOTO}, {"U": Confounder()})
    before = {name: t.clone() for name, t in f.backbone.state_dict().items()}
    adam = torch.optim.AdamW(f.parameters(), lr=0.1, weight_decay=0.1)
    inputs = draw_inputs(f, 4)
    for _ in range(3):
        f.train()
        own = torch.Generator().manual_seed(0)
        f.relaxed_sample(*inputs, num_samples=4, generator=own).square().sum().backward()
        adam.step()
        adam.zero_grad()
    after = f.backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
