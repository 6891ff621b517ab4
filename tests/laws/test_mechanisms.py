"""What holds for every mechanism."""

import copy
import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from causal_diffusers.errors import CheckpointError
from causal_diffusers.mechanisms import LikelihoodMechanism
from causal_diffusers.variables import Categorical
from hostile import WEIGHTS, edit
from mechanisms import zoo
from mechanisms.zoo import SIGNATURES, draw_inputs, draw_values, make, make_prior, sample
from tiny import make_tiny_base, shake

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(params=SIGNATURES)
def mechanism(request, base):
    return make(request.param, base)


@pytest.fixture(params=[*zoo.KINDS, "prior"])
def component(request, base):
    return make_prior() if request.param == "prior" else make(request.param, base)


def load(component, folder, **options):
    return type(component).from_pretrained(folder, **options)


def save(component, folder):
    extra = {} if not hasattr(component, "backbone") else {"include_backbone": True}
    component.save_pretrained(folder, **extra)
    return folder


def tensors(component):
    return {name: t.detach().clone() for name, t in component.state_dict().items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


# -- sampling ---------------------------------------------------------------------------------


def test_samples_are_values_of_the_variable(mechanism):
    values = sample(mechanism, 7)
    assert values.shape == (7, *mechanism.variable.shape)
    assert not values.requires_grad
    if isinstance(mechanism.variable, Categorical):
        assert values.dtype == torch.int64
        assert set(values.tolist()) <= set(range(len(mechanism.variable.labels)))
    else:
        assert values.dtype == torch.float32
        assert values.isfinite().all()


def test_the_generator_is_the_only_source_of_noise(mechanism):
    state = torch.get_rng_state()
    one, two, other = sample(mechanism, 40), sample(mechanism, 40), sample(mechanism, 40, seed=1)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_each_parent_is_heard(mechanism):
    parents, confounders = draw_inputs(mechanism, 6)
    before = zoo.respond(mechanism, (parents, confounders))
    for name, variable in mechanism.parents.items():
        others = {**parents, name: draw_values(variable, 6, torch.Generator().manual_seed(9))}
        assert not torch.equal(zoo.respond(mechanism, (others, confounders)), before), name


def test_each_confounder_is_heard(mechanism):
    parents, confounders = draw_inputs(mechanism, 6)
    is_coded = bool(confounders) and "codes" in mechanism.config
    law = mechanism.head if is_coded else mechanism  # of an image: the one of its code
    before = zoo.respond(law, (parents, confounders))
    for name, value in confounders.items():
        others = {**confounders, name: value.flip(0)}
        assert not torch.equal(zoo.respond(law, (parents, others)), before), name


def test_the_order_of_the_parents_does_not_matter(mechanism):
    turned = [dict(reversed(inputs.items())) for inputs in draw_inputs(mechanism, 6)]
    assert torch.equal(sample(mechanism, inputs=turned), sample(mechanism))


def test_a_repeated_value_is_read_as_if_it_were_copied(mechanism):
    expanded = [
        {name: value.expand(6, *value.shape[1:]) for name, value in inputs.items()}
        for inputs in draw_inputs(mechanism, 1)
    ]
    copied = [{name: value.clone() for name, value in inputs.items()} for inputs in expanded]
    assert torch.equal(sample(mechanism, inputs=expanded), sample(mechanism, inputs=copied))


def test_train_mode_changes_no_sample(mechanism):
    before = sample(mechanism)
    assert torch.equal(sample(mechanism.train()), before)


# -- precision --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_mechanism_works_in_any_precision(mechanism, dtype):
    before = sample(mechanism)
    torch.nn.Module.to(mechanism, dtype)  # ModelMixin.to warns
    values = sample(mechanism)
    assert values.dtype == before.dtype
    if before.is_floating_point():  # the same noise, the same image but for rounding
        assert (values - before).abs().flatten(1).mean(dim=1).median() < 0.1
    else:
        assert (values == before).float().mean() > 0.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_parent_may_come_in_another_precision(mechanism, dtype):
    parents, confounders = draw_inputs(mechanism, 6)
    cast = {n: v.to(dtype) if v.is_floating_point() else v for n, v in parents.items()}
    assert len(sample(mechanism, inputs=(cast, confounders))) == 6


def test_a_likelihood_is_single_precision_at_least(mechanism):
    if isinstance(mechanism, LikelihoodMechanism):
        torch.nn.Module.to(mechanism, torch.bfloat16)
        values = sample(mechanism)
        log_prob = mechanism.log_prob(values, *draw_inputs(mechanism, 6))
        assert log_prob.dtype == torch.float32
        assert log_prob.isfinite().all()


# -- copies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_the_same_and_apart(mechanism, again):
    before, state = sample(mechanism, 20), tensors(mechanism)
    twin = again(mechanism)
    assert torch.equal(sample(twin, 20), before)
    assert dict(twin.config) == dict(mechanism.config)
    shake([twin], seed=3)
    assert same(tensors(mechanism), state)
    assert torch.equal(sample(mechanism, 20), before)
    assert not torch.equal(sample(twin, 20), before)


def test_a_copy_can_be_made_after_a_gradient_step(mechanism):
    zoo.loss(mechanism, 2).backward()
    assert torch.equal(sample(copy.deepcopy(mechanism)), sample(mechanism))


# -- disk -------------------------------------------------------------------------------------


def test_what_is_loaded_samples_the_same(mechanism, tmp_path):
    again = load(mechanism, save(mechanism, tmp_path))
    assert torch.equal(sample(again), sample(mechanism))
    assert not any(module.training for module in again.modules())
    assert plain(again) == plain(mechanism)


def plain(mechanism):
    """The config, as JSON has it; a base that was saved along has a hash of its own."""
    config = {k: v for k, v in mechanism.config.items() if k[0] != "_" and k != "base"}
    return json.loads(json.dumps(config))


def test_the_file_holds_what_training_moves(mechanism, tmp_path):
    stored = load_file(save(mechanism, tmp_path) / WEIGHTS)
    assert same(stored, {n: t.detach() for n, t in mechanism.trainable_state().items()})
    assert not any("base_layer" in name for name in stored)


def test_freezing_a_mechanism_does_not_empty_its_file(component, tmp_path):
    names = set(component.trainable_state())
    component.requires_grad_(False)
    assert set(load_file(save(component, tmp_path) / WEIGHTS)) == names


def test_unfreezing_everything_does_not_copy_the_base(component, tmp_path):
    names = set(component.trainable_state())
    component.requires_grad_(True)
    assert set(load_file(save(component, tmp_path) / WEIGHTS)) == names


def test_loading_chooses_the_precision(component, tmp_path):
    save(component, tmp_path)
    again = load(component, tmp_path, torch_dtype=torch.bfloat16)
    assert {p.dtype for p in again.parameters()} == {torch.bfloat16}


def test_a_variant_has_a_file_of_its_own(component, tmp_path):
    component.save_pretrained(tmp_path, variant="fp16", **_with_base(component))
    assert (tmp_path / "diffusion_pytorch_model.fp16.safetensors").is_file()
    again = load(component, tmp_path, variant="fp16")
    assert same(
        {n: t.detach() for n, t in again.trainable_state().items()},
        {n: t.detach() for n, t in component.trainable_state().items()},
    )
    with pytest.raises(CheckpointError, match="does not exist"):
        load(component, tmp_path)


def _with_base(component):
    return {"include_backbone": True} if hasattr(component, "backbone") else {}


DAMAGES = {
    "missing": (lambda t: t.pop(min(t)), "the file lacks"),
    "unexpected": (lambda t: t.update(evil=torch.zeros(1)), "holds the unexpected"),
    "shape": (lambda t: t.update({min(t): torch.zeros(2, 2, 2)}), "has shape"),
    "renamed": (lambda t: t.update(other=t.pop(min(t))), "holds the unexpected"),
    "nan": (lambda t: t[min(t)].view(-1)[:1].fill_(float("nan")), "finite real numbers"),
    "inf": (lambda t: t[max(t)].view(-1)[:1].fill_(float("inf")), "finite real numbers"),
    "integers": (lambda t: t.update({min(t): t[min(t)].long()}), "finite real numbers"),
}


@pytest.mark.parametrize(("damage", "complaint"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_weights_are_refused(component, tmp_path, damage, complaint):
    weights = save(component, tmp_path) / WEIGHTS
    content = load_file(weights)
    damage(content)
    save_file(content, weights)
    with pytest.raises(CheckpointError, match=complaint) as caught:
        load(component, tmp_path)
    assert str(tmp_path) in caught.value.path


@pytest.mark.parametrize("keep", [0, 7, 100, -5])
def test_a_truncated_file_is_refused(component, tmp_path, keep):
    weights = save(component, tmp_path) / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load(component, tmp_path)


@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
def test_a_missing_file_is_refused(component, tmp_path, name):
    (save(component, tmp_path) / name).unlink()
    with pytest.raises(CheckpointError):
        load(component, tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"_class_name": "Component"},
        {"_class_name": ...},
        {"_class_name": ["os", "system"]},
        {"of_the_future": 1},
        {"hidden_size": None},
    ],
    ids=str,
)
def test_a_config_of_something_else_is_refused(component, tmp_path, changes):
    edit(save(component, tmp_path) / "config.json", **changes)
    with pytest.raises(CheckpointError):
        type(component).from_pretrained(tmp_path)


HUGE = {"type": "image", "channels": 1, "height": 10**9, "width": 10**9}
MANY = {"type": "categorical", "labels": list(range(50_000))}
PLANNED = "(has shape|the file lacks|absurdly large)"  # found on a plan that costs no memory
DOES_NOT_DESCRIBE = "does not describe|The reference to|referred to as"

NONSENSE = [
    ("categorical, confounded", {"width": 10**15}, PLANNED),
    ("categorical, confounded", {"width": 2**19}, PLANNED),
    ("categorical, confounded", {"parents": {"X": HUGE}}, PLANNED),
    ("categorical, confounded", {"parents": {"X": MANY}}, PLANNED),
    ("categorical, confounded", {"variable": MANY}, PLANNED),
    ("categorical, confounded", {"confounders": {"U": {"dim": 10**12}}}, PLANNED),
    ("categorical, confounded", {"confounders": {}}, PLANNED),
    ("categorical, confounded", {"variable": None}, PLANNED),
    ("categorical, confounded", {"depth": 64}, PLANNED),
    ("categorical, confounded", {"depth": 10**9}, PLANNED),
    ("categorical, confounded", {"depth": 10**5}, DOES_NOT_DESCRIBE),
    ("categorical, confounded", {"depth": -1}, DOES_NOT_DESCRIBE),
    ("categorical, confounded", {"depth": 1e3}, DOES_NOT_DESCRIBE),
    ("categorical, confounded", {"width": "wide"}, DOES_NOT_DESCRIBE),
    ("categorical, confounded", {"parents": None}, DOES_NOT_DESCRIBE),
    ("categorical, confounded", {"parents": {"X": {"type": "evil"}}}, DOES_NOT_DESCRIBE),
    ("categorical, confounded", {"parents": {"X": None}}, DOES_NOT_DESCRIBE),
    ("categorical, confounded", {"confounders": {"U": {"states": -1}}}, DOES_NOT_DESCRIBE),
    ("categorical, confounded", {"confounders": [5]}, DOES_NOT_DESCRIBE),
    ("categorical, confounded", {"variable": HUGE}, DOES_NOT_DESCRIBE),
    ("categorical, confounded", {"variable": "X"}, DOES_NOT_DESCRIBE),
    ("prior", {"states": 10**15}, PLANNED),
    ("prior", {"states": 2**19}, PLANNED),
    ("prior", {"states": 0}, DOES_NOT_DESCRIBE),
    ("prior", {"states": None}, DOES_NOT_DESCRIBE),
    ("diffusion, of labels", {"rank": 1000}, PLANNED),
    ("diffusion, of labels", {"parents": {"X": HUGE}}, PLANNED),
    ("diffusion, of labels", {"parents": {"X": MANY}}, PLANNED),
    ("diffusion, of labels", {"variable": None}, PLANNED),
    ("diffusion, of labels", {"target_modules": ["to_q"]}, PLANNED),
    ("diffusion, of labels", {"variable": HUGE}, DOES_NOT_DESCRIBE),
    ("diffusion, of labels", {"confounders": {"U": {"dim": 2}}}, PLANNED),
    ("diffusion, of labels", {"rank": 10**6}, DOES_NOT_DESCRIBE),
    ("diffusion, of labels", {"rank": "two"}, DOES_NOT_DESCRIBE),
    ("diffusion, of labels", {"alpha": float("nan")}, DOES_NOT_DESCRIBE),
    ("diffusion, of labels", {"alpha": None}, DOES_NOT_DESCRIBE),
    ("diffusion, of labels", {"target_modules": ".*"}, DOES_NOT_DESCRIBE),
    ("diffusion, of labels", {"target_modules": [".*"]}, DOES_NOT_DESCRIBE),
    ("diffusion, of labels", {"target_modules": [1]}, DOES_NOT_DESCRIBE),
    ("diffusion, of labels", {"target_modules": []}, DOES_NOT_DESCRIBE),
    ("diffusion, of labels", {"condition_dropout": 2}, DOES_NOT_DESCRIBE),
    ("diffusion, of labels", {"base": None}, DOES_NOT_DESCRIBE),
    ("diffusion, of labels", {"base": {"repo": "a/b"}}, DOES_NOT_DESCRIBE),
    (
        "diffusion, of labels",
        {"base": {"repo": "../x", "revision": None, "sha256": "0" * 64}},
        DOES_NOT_DESCRIBE,
    ),
    (
        "diffusion, of labels",
        {"base": {"repo": None, "revision": None, "sha256": "0"}},
        DOES_NOT_DESCRIBE,
    ),
]


@pytest.fixture(scope="module")
def folders(base, tmp_path_factory):
    """A saved component of each kind."""
    top = tmp_path_factory.mktemp("saved")
    components = {"prior": make_prior()} | {
        name: make(name, base) for name in ("categorical, confounded", "diffusion, of labels")
    }
    return {n: (type(c), save(c, top / n.split(",")[0])) for n, c in components.items()}


@pytest.mark.parametrize(("name", "changes", "complaint"), NONSENSE)
def test_a_damaged_config_is_refused_before_it_costs_anything(
    folders, tmp_path, name, changes, complaint
):
    kind, saved = folders[name]
    folder = shutil.copytree(saved, tmp_path / "copy")
    edit(folder / "config.json", **changes)
    with pytest.raises(CheckpointError, match=complaint):
        kind.from_pretrained(folder)


# -- binding ----------------------------------------------------------------------------------


def test_binding_again_changes_nothing(mechanism):
    state = tensors(mechanism)
    again = mechanism.bind(mechanism.variable, mechanism.parents, mechanism.confounders)
    assert again is mechanism
    assert same(tensors(mechanism), state)


def test_a_bound_mechanism_stays_with_its_variable(mechanism):
    foreign = {**mechanism.parents, "Z": Categorical([0, 1])}
    with pytest.raises(ValueError, match="is bound to another variable or other parents"):
        mechanism.bind(mechanism.variable, foreign, mechanism.confounders)


def test_every_tensor_that_training_may_move_gets_a_gradient(mechanism):
    zoo.loss(mechanism, 30).backward()
    moved = mechanism.trainable_state()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in moved.values())
    assert all(p.grad is None for n, p in mechanism.named_parameters() if n not in moved)
