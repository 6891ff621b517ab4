"""The denoising loss against the same sum written out row by row."""

import math

import pytest
import torch

from causal_diffusers import Categorical, Confounder, Continuous, DiffusionMechanism, Image
from causal_diffusers.training import DenoisingObjective, Rows, denoising
from tiny import make_tiny_base, make_tiny_ldm, shake

SMALL, THREE, STEPS = Image(1, 8, 8), Categorical("abc"), 20


@pytest.fixture(scope="module", params=["pixels", "latents"])
def base(request, tmp_path_factory):
    make = {"pixels": make_tiny_base, "latents": make_tiny_ldm}[request.param]
    return make(tmp_path_factory.mktemp("base"), steps=STEPS)


def make(base, **options):
    mechanism = DiffusionMechanism.from_pretrained(base, rank=2, **options)
    mechanism.bind(SMALL, {"X": THREE}, {})
    shake([mechanism])
    return DenoisingObjective("I", mechanism), mechanism


def draw(size, generator):
    images = torch.rand(size, 1, 8, 8, generator=generator)
    return {"I": 2 * images - 1, "X": torch.randint(3, (size,), generator=generator)}


def test_the_loss_is_the_squared_error_in_v(base, generator):
    """The truth against the prediction, both turned into v by hand."""
    objective, mechanism = make(base)
    rows, seed, size = draw(6, generator), 11, 6
    losses = objective(rows, seed)
    own = torch.Generator().manual_seed(seed)
    uniform = torch.rand(size, 2, generator=own)
    encoded = mechanism.backbone.encode(rows["I"])
    noise = torch.randn(encoded.shape, generator=own)
    alphas = mechanism.backbone.scheduler.alphas_cumprod
    for i in range(size):
        t = int(STEPS * math.sqrt(uniform[i, 0]))
        a = alphas[t].item()
        x, eps = encoded[i : i + 1], noise[i : i + 1]
        x_t = math.sqrt(a) * x + math.sqrt(1 - a) * eps
        hidden = uniform[i, 1:] < 0.1
        guess = mechanism.predict(x_t, torch.tensor([t]), {"X": rows["X"][i : i + 1]}, hidden)
        x_guess = (x_t - math.sqrt(1 - a) * guess) / math.sqrt(a)
        v = math.sqrt(a) * eps - math.sqrt(1 - a) * x
        v_guess = math.sqrt(a) * guess - math.sqrt(1 - a) * x_guess
        torch.testing.assert_close(losses[i], (v - v_guess).square().mean(), rtol=1e-3, atol=1e-5)


def test_the_hidden_rows_do_not_see_their_parents(base, generator):
    rows = draw(64, generator)
    other = {**rows, "X": (rows["X"] + 1) % 3}
    for dropout, share in ((0.0, 0), (0.5, 0.5)):
        objective, _ = make(base, condition_dropout=dropout)
        blind = torch.isclose(objective(rows, 1), objective(other, 1), rtol=1e-5, atol=0)
        assert blind.float().mean().item() == pytest.approx(share, abs=0.2)


def test_the_noisy_end_is_seen_more_often(base, generator):
    """With t drawn in proportion to itself, P(t < s) is the square of s / T."""
    objective, mechanism = make(base)
    seen = []
    mechanism.predict = lambda x_t, t, *_: seen.append(t) or torch.zeros_like(x_t)
    objective(draw(4000, generator), 0)
    t = torch.cat(seen)
    assert t.min() >= 0
    assert t.max() == STEPS - 1
    for s in (5, 10, 15):
        assert (t < s).float().mean().item() == pytest.approx((s / STEPS) ** 2, abs=0.03)


def test_no_image_of_the_batch_matters_to_another(base, generator):
    objective, _ = make(base)
    rows = draw(4, generator)
    changed = {**rows, "I": rows["I"].clone()}
    changed["I"][2] = 0.5
    same = torch.isclose(objective(rows, 5), objective(changed, 5), rtol=1e-4, atol=1e-6)
    assert same.tolist() == [True, True, False, True]


def test_a_mechanism_without_a_variable_is_refused(base):
    with pytest.raises(ValueError, match=r'mechanism of "I" must be bound'):
        DenoisingObjective("I", DiffusionMechanism.from_pretrained(base))


def few(generator, **more):
    """Six rows, two of each label, whose images are alike."""
    images, labels = 0.2 * torch.rand(6, 1, 8, 8, generator=generator) + 0.4, list("aabbcc")
    variables = {"I": SMALL, "X": THREE} | dict.fromkeys(more, Continuous())
    return Rows({"I": images, "X": labels, **more}, variables)


def prepared(objective, rows):
    objective.prepare(rows, 0, torch.device("cpu"))
    return objective


def noted(function, seen):
    """Note what a function gives."""

    def call(*arguments):
        seen.append(function(*arguments))
        return seen[-1]

    return call


def test_the_target_is_the_plain_one_without_its_noise(base, generator):
    """Given what was noised and the parents, the two differ on average by nothing.

    So their difference is orthogonal to all that could be predicted from x_t and the label,
    here x_t itself, its cubes, the target and a constant of each label.
    """
    rows, seen = few(generator), []
    many = rows.batch(torch.arange(6).repeat(4000))
    for objective, mechanism in (make(base, condition_dropout=0.0) for _ in range(2)):
        mechanism.predict = lambda x_t, *_: torch.zeros_like(x_t)
        mechanism.backbone.noise = noted(mechanism.backbone.noise, seen)
        (objective if seen else prepared(objective, rows))(many, 3)
    (x_t, plain, _), (_, target, _), (same, *_) = seen
    assert torch.equal(x_t, same)
    gap, x_t = (target - plain).flatten(1), x_t.flatten(1)
    assert gap.square().mean() > 1e-3  # there is noise
    for part in (x_t, x_t**3, target.flatten(1), torch.ones_like(x_t)):
        for label in range(3):
            products = (gap * part)[many["X"] == label].mean(dim=1)
            assert abs(products.mean()) < 5 * products.std() / len(products) ** 0.5


def test_the_candidates_are_of_the_same_parents_or_of_all(base, generator):
    """By their mean at the noisy end, where nothing is left of the image."""
    rows, asked = few(generator), []
    objective, mechanism = make(base, condition_dropout=0.5)
    candidates = prepared(objective, rows)._candidates
    mean = candidates.mean
    candidates.mean = lambda *arguments: asked.append(arguments[3]) or mean(*arguments)
    objective(rows.batch(torch.arange(6).repeat(4)), 0)
    assert asked[0].unique().tolist() == [-1, 0, 1, 2]
    shape = mechanism.backbone.shape
    encoded = mechanism.backbone.encode(rows.batch(torch.arange(6))["I"])
    found = mean(torch.randn(4, *shape), torch.zeros(4), encoded[:4], torch.tensor([0, 1, 2, -1]))
    truth = torch.stack([*encoded.view(3, 2, *shape).mean(dim=1), encoded.mean(dim=0)])
    torch.testing.assert_close(found, truth, rtol=1e-4, atol=1e-5)


def test_parents_that_are_no_labels_leave_the_image_itself(base, generator):
    mechanism = DiffusionMechanism.from_pretrained(base, rank=2)
    mechanism.bind(SMALL, {"X": THREE, "age": Continuous()}, {})
    objective = DenoisingObjective("I", mechanism)
    rows = few(generator, age=torch.randn(6, generator=generator))
    batch = rows.batch(torch.arange(6))
    before = objective(batch, 0)
    assert torch.equal(prepared(objective, rows)(batch, 0), before)


def test_a_confounded_image_has_candidates_of_its_code(base, generator):
    mechanism = DiffusionMechanism.from_pretrained(base, rank=2, codes=2)
    mechanism.bind(SMALL, {"X": THREE}, {"U": Confounder(states=2)})
    mechanism.reader.read = lambda images: (images[:, 0, 0, 0] > 0).long()
    rows = few(generator)
    batch = rows.batch(torch.arange(6))
    candidates = prepared(DenoisingObjective("I", mechanism), rows)._candidates
    keys = 2 * batch["X"] + mechanism.reader.read(batch["I"])
    sizes = {key: part.stop - part.start for key, part in candidates.rows.items()}
    assert sizes == {-1: 6, **{key: int((keys == key).sum()) for key in keys.tolist()}}


def test_more_images_than_can_be_kept_leave_the_image_itself(base, generator, monkeypatch):
    objective, mechanism = make(base)
    rows = few(generator)
    batch = rows.batch(torch.arange(6))
    before = objective(batch, 0)
    monkeypatch.setattr(denoising, "_LEAST", 1)
    monkeypatch.setattr(denoising, "_NUMBERS", 6 * math.prod(mechanism.backbone.shape) - 1)
    assert torch.equal(prepared(objective, rows)(batch, 0), before)
    monkeypatch.setattr(denoising, "_NUMBERS", 6 * math.prod(mechanism.backbone.shape))
    assert not torch.equal(prepared(objective, rows)(batch, 0), before)


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_the_ends_of_a_schedule_are_finite(base, end, generator):
    objective, mechanism = make(base)
    mechanism.backbone.scheduler.alphas_cumprod = torch.full((STEPS,), end)
    rows = few(generator)
    assert prepared(objective, rows)(rows.batch(torch.arange(6)), 0).isfinite().all()
