"""A base is loaded once, strictly, and cited so that it can be found again."""

import json
import shutil

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, ScoreSdeVeScheduler
from safetensors.torch import load_file, save_file

from causal_diffusers.backbones import BackboneReference, load_backbone
from causal_diffusers.backbones.files import sha256
from causal_diffusers.errors import CheckpointError
from tiny import make_tiny_base

WEIGHTS, SCHEDULE = "diffusion_pytorch_model.safetensors", "scheduler_config.json"
HASH, COMMIT = "0" * 64, "a" * 40


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def base(made, tmp_path):
    return shutil.copytree(made, tmp_path / "base")


def edit(path, **changes):
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


def tensors_of(backbone):
    return backbone.unet.state_dict()


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_a_base_is_what_diffusers_loads(base):
    backbone, reference = load_backbone(base)
    pipe = DDPMPipeline.from_pretrained(base)
    assert same(tensors_of(backbone), pipe.unet.state_dict())
    assert dict(backbone.scheduler.config) == dict(pipe.scheduler.config)
    assert reference == BackboneReference(None, None, sha256(base / "unet" / WEIGHTS))


def test_loading_a_base_moves_no_random_state(base):
    state = torch.get_rng_state()
    load_backbone(base)
    assert torch.equal(torch.get_rng_state(), state)


def flatten(base):
    """Lay a base out as the oldest repositories are: all at the root."""
    for path in ((base / "unet").rglob("*"), (base / "scheduler").rglob("*")):
        for file in list(path):
            file.rename(base / file.name)
    for name in ("unet", "scheduler"):
        (base / name).rmdir()
    return base


def test_the_oldest_layout_is_read(base, made):
    found, reference = load_backbone(flatten(base))
    origin, _ = load_backbone(made)
    assert same(tensors_of(found), tensors_of(origin))
    assert reference.sha256 == sha256(base / WEIGHTS)


def test_the_oldest_names_of_attention_are_read(base, made):
    former = {
        ".to_q.": ".query.",
        ".to_k.": ".key.",
        ".to_v.": ".value.",
        ".to_out.0.": ".proj_attn.",
    }
    renamed = {}
    for name, tensor in load_file(base / "unet" / WEIGHTS).items():
        for new, old in former.items():
            name = name.replace(new, old)
        renamed[name] = tensor
    assert any(".proj_attn." in name for name in renamed)
    save_file(renamed, base / "unet" / WEIGHTS, metadata={"format": "pt"})
    assert same(tensors_of(load_backbone(base)[0]), tensors_of(load_backbone(made)[0]))


def test_weights_in_half_precision_are_loaded_into_single(base):
    half = {n: t.half() for n, t in load_file(base / "unet" / WEIGHTS).items()}
    save_file(half, base / "unet" / WEIGHTS)
    backbone, _ = load_backbone(base)
    assert {p.dtype for p in backbone.parameters()} == {torch.float32}
    assert all(torch.equal(t, half[n].float()) for n, t in tensors_of(backbone).items())


def test_the_schedule_of_a_relative_is_read(base):
    DDIMScheduler(num_train_timesteps=77, beta_schedule="squaredcos_cap_v2").save_pretrained(
        base / "scheduler"
    )
    backbone, _ = load_backbone(base)
    assert backbone.scheduler.config["num_train_timesteps"] == 77
    assert torch.equal(
        backbone.scheduler.alphas_cumprod,
        DDIMScheduler.from_config(backbone.scheduler.config).alphas_cumprod,
    )


def test_another_kind_of_schedule_is_refused(base):
    ScoreSdeVeScheduler().save_pretrained(base / "scheduler")
    with pytest.raises(CheckpointError, match="'ScoreSdeVeScheduler' has another kind"):
        load_backbone(base)


@pytest.mark.parametrize("changes", [{"num_train_timesteps": 10**12}, {"prediction_type": "x"}])
def test_a_hostile_schedule_is_refused(base, changes):
    edit(base / "scheduler" / SCHEDULE, **changes)
    with pytest.raises(CheckpointError):
        load_backbone(base)


@pytest.mark.parametrize(
    "changes",
    [
        {"_class_name": "UNet2DConditionModel"},
        {"_class_name": ...},
        {"_class_name": ["os", "system"]},
        {"block_out_channels": [10**9, 10**9]},
        {"block_out_channels": [2**18, 2**18]},
        {"block_out_channels": [8]},
        {"block_out_channels": None},
        {"block_out_channels": "88"},
        {"layers_per_block": 10**9},
        {"layers_per_block": 10**6},
        {"layers_per_block": "many"},
        {"layers_per_block": 2},
        {"down_block_types": ["DownBlock2D"] * 10_000},
        {"down_block_types": ["EvilBlock", "EvilBlock"]},
        {"down_block_types": None},
        {"norm_num_groups": 0},
        {"norm_num_groups": 3},
        {"attention_head_dim": 0},
        {"act_fn": "evil"},
        {"time_embedding_type": "learned", "num_train_timesteps": 2**19},
        {"num_class_embeds": 10},
        {"class_embed_type": "identity"},
        {"sample_size": None},
        {"sample_size": [1, 2, 3]},
        {"in_channels": 3},
        {"in_channels": float("nan")},
    ],
    ids=str,
)
def test_a_damaged_config_is_refused(base, changes):
    edit(base / "unet" / "config.json", **changes)
    with pytest.raises(CheckpointError) as caught:
        load_backbone(base)
    assert str(base) in caught.value.path


def test_a_class_conditional_base_is_refused_with_the_reason(base):
    unet = DDPMPipeline.from_pretrained(base).unet
    told = type(unet).from_config({**unet.config, "num_class_embeds": 10})
    told.save_pretrained(base / "unet")
    with pytest.raises(CheckpointError, match=r"conditional on classes.* Choose an unconditional"):
        load_backbone(base)


DAMAGES = {
    "missing": lambda t: t.pop("conv_in.bias"),
    "unexpected": lambda t: t.update(evil=torch.zeros(2)),
    "renamed": lambda t: t.update(evil=t.pop("conv_in.bias")),
    "transposed": lambda t: t.update({"conv_in.weight": t["conv_in.weight"].mT.contiguous()[:4]}),
    "lora": lambda t: t.update({"conv_in.base_layer.bias": t.pop("conv_in.bias")}),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_weights_of_another_network_are_refused(base, damage):
    content = load_file(base / "unet" / WEIGHTS)
    damage(content)
    save_file(content, base / "unet" / WEIGHTS)
    with pytest.raises(CheckpointError, match=WEIGHTS):
        load_backbone(base)


def test_only_the_file_that_was_hashed_is_loaded(base, made):
    """Weights in parts, which diffusers would prefer, are not read."""
    other = make_tiny_base(base.parent / "other", seed=1) / "unet" / WEIGHTS
    shutil.copy(other, base / "unet" / "part.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(load_file(other), "part.safetensors")}
    (base / "unet" / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    assert same(tensors_of(load_backbone(base)[0]), tensors_of(load_backbone(made)[0]))


@pytest.mark.parametrize("file", [f"unet/{WEIGHTS}", "unet/config.json", f"scheduler/{SCHEDULE}"])
def test_a_missing_file_is_refused(base, file):
    (base / file).unlink()
    with pytest.raises(CheckpointError):
        load_backbone(base)


def test_pickled_weights_are_not_looked_at(base):
    (base / "unet" / WEIGHTS).rename(base / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(CheckpointError, match="with safetensors weights"):
        load_backbone(base)


def test_another_hash_is_refused(base):
    _, reference = load_backbone(base)
    load_backbone(base, expected=reference)
    with pytest.raises(CheckpointError, match="not those that the adapter was trained on"):
        load_backbone(base, expected=BackboneReference(None, None, HASH))


def test_the_saved_reference_is_kept(base):
    expected = BackboneReference("owner/name", COMMIT, sha256(base / "unet" / WEIGHTS))
    assert load_backbone(base, expected=expected)[1] is expected


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\n---\n# A base", "mit"),
        ("---\ntags: [ddpm]\n---\n", None),
        ("---\nlicense: [mit, x]\n---\n", None),
        ("no metadata", None),
    ],
)
def test_the_licence_of_the_card_is_kept(base, card, licence):
    (base / "README.md").write_text(card)
    assert load_backbone(base)[1].license == licence


@pytest.mark.parametrize(
    "card", ["---\nlicense: [\n---\n", "---\na: !!python/name:os.system\n---\n"]
)
def test_a_damaged_card_is_refused(base, card):
    (base / "README.md").write_text(card)
    with pytest.raises(CheckpointError, match=r"README\.md does not describe a model card"):
        load_backbone(base)


def test_a_shipped_base_is_known_by_its_id():
    backbone, reference = load_backbone("causal-diffusers/digits-ddpm")
    assert backbone.image.shape == (1, 8, 8)
    assert (reference.repo, reference.revision) == ("causal-diffusers/digits-ddpm", None)


@pytest.mark.parametrize(
    "source", ["no-such-folder", "./no/such", "a/b/c", "../up/x", "a/..", "", "/no/such/folder"]
)
def test_what_is_neither_folder_nor_repository_is_refused(source):
    with pytest.raises(CheckpointError):
        load_backbone(source)


@pytest.mark.parametrize(
    "fields",
    [
        {"repo": "../x"},
        {"repo": "/etc/passwd"},
        {"repo": "owner/../x"},
        {"repo": "owner/name/more"},
        {"repo": "owner"},
        {"repo": "owner/name\n"},
        {"repo": "https://host/owner/name"},
        {"revision": "main"},
        {"revision": None},
        {"revision": COMMIT[:39]},
        {"revision": COMMIT.upper()},
        {"sha256": "x"},
        {"sha256": HASH + "0"},
        {"sha256": None},
        {"class_name": "UNet2DConditionModel"},
    ],
    ids=str,
)
def test_a_malformed_reference_is_refused(fields):
    good = {"repo": "owner/name", "revision": COMMIT, "sha256": HASH}
    assert BackboneReference(**good).to_dict() == {
        **good,
        "class_name": "UNet2DModel",
        "license": None,
    }
    with pytest.raises(CheckpointError):
        BackboneReference(**{**good, **fields})


def test_a_shipped_base_needs_no_commit():
    assert BackboneReference("causal-diffusers/digits-ddpm", None, HASH).revision is None
