"""Loading and saving as practitioners of diffusers expect them, private hooks included."""

import inspect
import json
import shutil

import diffusers
import pytest
import torch
from diffusers import DDPMPipeline, DiffusionPipeline
from diffusers.pipelines import pipeline_loading_utils

from causal_diffusers import (
    Categorical,
    CategoricalMechanism,
    CausalPipeline,
    CheckpointError,
    Confounder,
    ConfounderPrior,
    DiffusionMechanism,
    ModelMixin,
)
from causal_diffusers.graphs.names import RESERVED
from causal_diffusers.mechanisms import Mechanism
from causal_diffusers.stored import StoredPipeline
from tiny import make_tiny_base, make_tiny_pipeline, shake

TWO = Categorical([0, 1])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def pipe(base):
    return make_tiny_pipeline(base)


@pytest.fixture(scope="module")
def saved(pipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    pipe.save_pretrained(folder, include_backbones=True)
    return folder


class SubclassedPipeline(CausalPipeline):
    """A pipeline of somebody's own."""


class ForeignMechanism(Mechanism):
    """A mechanism of somebody's own."""

    def __init__(self):
        super().__init__()
        self.register_to_config(variable=None, parents=None, confounders=None)

    def sample(self, parents, confounders, *, num_samples, generator, options):
        return torch.zeros(num_samples, dtype=torch.int64)

    def _check_signature(self, variable, parents, confounders):
        pass

    def _build(self):
        self.weight = torch.nn.Parameter(torch.zeros(1))


def state_of(pipe):
    return {
        f"{name}.{key}": tensor
        for name, component in pipe.components.items()
        for key, tensor in component.trainable_state().items()
    }


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_the_weights_come_back(pipe, saved):
    assert equal(state_of(CausalPipeline.from_pretrained(saved)), state_of(pipe))


def test_it_is_of_the_class_that_was_asked(saved):
    pipe = CausalPipeline.from_pretrained(saved)
    assert type(pipe) is CausalPipeline
    assert not pipe.A.training
    assert pipe.name_or_path == str(saved)
    assert type(SubclassedPipeline.from_pretrained(saved)) is SubclassedPipeline


def test_a_subclass_comes_back_by_its_own_class_only(pipe, tmp_path):
    own = SubclassedPipeline.from_pipe(pipe)
    own.save_pretrained(tmp_path, include_backbones=True)
    assert type(SubclassedPipeline.from_pretrained(tmp_path)) is SubclassedPipeline
    with pytest.raises(RuntimeError, match=r"must be one of .*: got 'SubclassedPipeline'"):
        CausalPipeline.from_pretrained(tmp_path)


def test_plain_diffusers_finds_it(pipe, saved):
    found = DiffusionPipeline.from_pretrained(saved)
    assert type(found) is CausalPipeline
    assert equal(state_of(found), state_of(pipe))


def test_plain_diffusers_takes_its_own_options(saved):
    found = DiffusionPipeline.from_pretrained(saved, dtype=torch.bfloat16, use_safetensors=True)
    assert {component.dtype for component in found.components.values()} == {torch.bfloat16}


def test_plain_diffusers_is_told_where_components_are_replaced(saved, pipe):
    with pytest.raises(TypeError, match=r"\['W'\]\. Use `CausalPipeline.from_pretrained`"):
        DiffusionPipeline.from_pretrained(saved, W=pipe.W)


def test_components_can_be_replaced_on_loading(pipe, saved):
    mine = CategoricalMechanism()
    found = CausalPipeline.from_pretrained(saved, W=mine)
    assert found.W is mine
    assert mine.is_bound
    assert not torch.equal(found.W.from_parents.weight, pipe.W.from_parents.weight)


def test_a_foreign_mechanism_can_be_passed_on_loading_and_used(saved):
    found = CausalPipeline.from_pretrained(saved, W=ForeignMechanism())
    assert found(3, outcomes=["W"]).values["W"] == ["a", "a", "a"]


def test_a_component_of_another_kind_is_refused(saved):
    with pytest.raises(ValueError, match='"W" must be a Mechanism: got Linear'):
        CausalPipeline.from_pretrained(saved, W=torch.nn.Linear(1, 1))


def test_a_component_can_be_left_out(saved):
    found = CausalPipeline.from_pretrained(saved, I=None)
    assert found.I is None
    assert set(found.mechanisms) == {"D", "W", "A"}
    assert set(found(2, outcomes=["W"]).values) == {"W"}
    with pytest.raises(ValueError, match='"I" has no mechanism, and this query needs'):
        found(2, outcomes=["A"])
    with pytest.raises(ValueError, match='"I" cannot be saved: got NoneType'):
        found.save_pretrained(saved / "never")


@pytest.mark.parametrize("argument", ["dtype", "torch_dtype"])
def test_a_precision_for_all(saved, argument):
    found = CausalPipeline.from_pretrained(saved, **{argument: torch.bfloat16})
    assert {c.dtype for c in found.components.values()} == {torch.bfloat16}


def test_a_precision_for_each(saved, base):
    dtype = {"I": torch.bfloat16, "default": torch.float32}
    for options in ({}, {"backbones": {"I": base}}):
        found = CausalPipeline.from_pretrained(saved, dtype=dtype, **options)
        assert found.I.dtype == torch.bfloat16
        assert found.A.dtype == torch.float32


@pytest.mark.parametrize(
    "options",
    [{"device_map": "cpu"}, {"low_cpu_mem_usage": False}, {"use_safetensors": True}],
    ids=str,
)
def test_options_of_diffusers_are_taken(pipe, saved, options):
    assert equal(state_of(CausalPipeline.from_pretrained(saved, **options)), state_of(pipe))


def test_a_variant_is_saved_beside_the_others(pipe, tmp_path):
    pipe.save_pretrained(tmp_path, include_backbones=True, variant="ema")
    assert (tmp_path / "W" / "diffusion_pytorch_model.ema.safetensors").is_file()
    found = CausalPipeline.from_pretrained(tmp_path, variant="ema")
    assert equal(state_of(found), state_of(pipe))
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model\.safetensors"):
        CausalPipeline.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"trust_remote_code": True}, ValueError, "`trust_remote_code` would run code"),
        ({"custom_pipeline": "evil"}, ValueError, "`custom_pipeline` would run code"),
        ({"custom_revision": "main"}, ValueError, "`custom_revision` would run code"),
        ({"use_safetensors": False}, ValueError, "Weights are safetensors"),
        ({"graph": {}}, TypeError, "The graph cannot be replaced"),
        ({"quantization_config": 1}, TypeError, "does not know ['quantization_config']"),
        ({"dtype": "bfloat16"}, TypeError, "`dtype` must be a `torch.dtype`"),
        ({"device_map": "balanced"}, RuntimeError, "balanced"),
        ({"unet": None}, TypeError, "does not know ['unet']"),
        ({"Q": 1, "P": 2}, TypeError, "does not know ['P', 'Q']"),
    ],
)
def test_other_options_are_refused(saved, options, error, message):
    with pytest.raises(error) as caught:
        CausalPipeline.from_pretrained(saved, **options)
    assert message in str(caught.value)


def test_pickle_is_never_written(pipe, tmp_path):
    with pytest.raises(ValueError, match="Weights are safetensors: got a request for pickle"):
        pipe.save_pretrained(tmp_path / "x", include_backbones=True, safe_serialization=False)
    assert not (tmp_path / "x").exists()


def test_a_foreign_mechanism_cannot_be_saved(tmp_path):
    pipe = CausalPipeline.from_graph("X", {"X": TWO}, {"X": ForeignMechanism()})
    with pytest.raises(ValueError, match=r'"X" cannot be saved: got ForeignMechanism'):
        pipe.save_pretrained(tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_saving_leaves_the_pipeline_alone(base, tmp_path):
    pipe = make_tiny_pipeline(base)
    before = {name: value.clone() for name, value in state_of(pipe).items()}
    pipe.save_pretrained(tmp_path, include_backbones=True)
    assert equal(state_of(pipe), before)
    assert pipe.I.base_reference.repo is None


def test_a_folder_can_be_saved_over_itself(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "own")
    pipe = CausalPipeline.from_pretrained(folder)
    shake(pipe.components.values(), seed=9)
    pipe.save_pretrained(folder, include_backbones=True)
    assert equal(state_of(CausalPipeline.from_pretrained(folder)), state_of(pipe))


def test_the_index_names_public_classes(pipe, saved):
    index = json.loads((saved / "model_index.json").read_text())
    assert index["I"] == ["causal_diffusers", "DiffusionMechanism"]
    assert index["U_D_A"] == ["causal_diffusers", "ConfounderPrior"]
    assert index["format_version"] == 1
    assert "_name_or_path" not in index
    assert pipe.to_json_string() == (saved / "model_index.json").read_text()


def test_a_card_is_written(saved):
    assert (saved / "README.md").read_text().startswith("---\n")


def test_a_component_loads_by_itself(pipe, saved):
    mechanism = DiffusionMechanism.from_pretrained(saved / "I")
    assert mechanism.is_bound
    found = {f"I.{name}": t for name, t in mechanism.trainable_state().items()}
    assert equal(found, {k: t for k, t in state_of(pipe).items() if k.startswith("I.")})


def test_a_mechanism_moves_between_pipelines(saved):
    mechanism = CategoricalMechanism.from_pretrained(saved / "W")
    letters = Categorical("abc")
    other = CausalPipeline.from_graph("D -> W", dict.fromkeys("DW", letters), {"W": mechanism})
    assert other.W is mechanism


def test_from_pipe_shares_the_weights(pipe):
    again = CausalPipeline.from_pipe(pipe)
    assert again is not pipe
    assert again.W is pipe.W
    mine = CategoricalMechanism().bind(pipe.W.variable, pipe.W.parents, pipe.W.confounders)
    assert CausalPipeline.from_pipe(pipe, W=mine).W is mine


def test_from_pipe_of_another_kind_is_refused(base):
    other = DDPMPipeline.from_pretrained(base)
    with pytest.raises(ValueError, match="`from_pipe` takes a causal pipeline: got DDPMPipeline"):
        CausalPipeline.from_pipe(other)


def test_components_are_those_of_the_constructor(pipe):
    again = CausalPipeline(pipe.config["graph"], **pipe.components)
    assert again.components == pipe.components
    assert list(pipe.components) == ["D", "W", "I", "A", "U_D_A"]
    assert isinstance(pipe.U_D_A, ConfounderPrior)


def test_unbound_mechanisms_are_for_from_graph(pipe):
    components = {**pipe.components, "W": CategoricalMechanism()}
    with pytest.raises(ValueError, match=r'"W" must be bound .* Create the pipeline with'):
        CausalPipeline(pipe.config["graph"], **components)


def test_gaussian_confounders_have_no_component(tmp_path):
    pipe = CausalPipeline.from_graph(
        "X <-> Y", dict.fromkeys("XY", TWO), confounders={"U_X_Y": Confounder(dim=4)}
    )
    pipe.save_pretrained(tmp_path)
    assert not (tmp_path / "U_X_Y").exists()
    assert CausalPipeline.from_pretrained(tmp_path).confounders == {"U_X_Y": Confounder(dim=4)}


def test_the_private_hooks_of_diffusers_are_still_there():
    """If one has moved, `stored` and `pipeline.register_with_diffusers` must follow it."""
    assert list(inspect.signature(DiffusionPipeline._get_signature_keys).parameters) == ["obj"]
    assert not inspect.signature(DiffusionPipeline._get_signature_types).parameters
    assert "config_dict" in inspect.signature(DiffusionPipeline.extract_init_dict).parameters
    loading = inspect.getsource(DiffusionPipeline.from_pretrained)
    assert "cls._get_signature_keys(pipeline_class)" in loading
    assert "pipeline_class._get_signature_types()" in loading
    assert "pipeline_class.extract_init_dict(config_dict, **kwargs)" in loading
    for classes in pipeline_loading_utils.LOADABLE_CLASSES.values():
        assert all(methods[0] == "save_pretrained" for methods in classes.values())


def test_it_is_registered_with_diffusers():
    assert diffusers.CausalPipeline is CausalPipeline
    assert "causal_diffusers" in pipeline_loading_utils.LOADABLE_CLASSES
    assert issubclass(CategoricalMechanism, ModelMixin)


def test_diffusers_sees_no_component_in_the_signature():
    expected = (["self", "graph"], [inspect.Parameter.empty, None])
    parameters = inspect.signature(StoredPipeline.__init__).parameters
    assert (list(parameters), [p.default for p in parameters.values()]) == expected
    assert DiffusionPipeline._get_signature_keys(CausalPipeline) == ([], ["graph"])


def test_offloading_is_refused_with_the_way_out(pipe):
    with pytest.raises(NotImplementedError, match=r'Use `\.to\("cuda"\)`'):
        pipe.enable_model_cpu_offload(gpu_id=0)


def test_no_variable_can_shadow_the_pipeline(pipe):
    public = {name for name in dir(CausalPipeline) if not name.startswith("_")}
    assert public - RESERVED == set()
    own = {name for name in vars(pipe) if not name.startswith("_")} - set(pipe.components)
    assert own - RESERVED == set()
