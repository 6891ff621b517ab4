"""A pipeline answers what the graph lets it answer, and says what it was asked."""

import copy
import inspect
import pickle
import warnings

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image as PILImage

from causal_diffusers import (
    ADMG,
    Categorical,
    CategoricalMechanism,
    CausalPipeline,
    CausalPipelineOutput,
    Confounder,
    ConfounderPrior,
    DiffusionMechanism,
    GraphError,
    Image,
    NotIdentifiableError,
    ShapeError,
)
from tiny import make_tiny_base, make_tiny_pipeline

TWO = Categorical(["no", "yes"])
SEED = 3


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def pipe(base):
    return make_tiny_pipeline(base)


def ask(pipe, num_samples=4, **options):
    generator = torch.Generator().manual_seed(SEED)
    options = {"num_inference_steps": 2, **options}
    return pipe(num_samples, generator=generator, **options)


def bow():
    return CausalPipeline.from_graph("X -> Y; X <-> Y; X -> Z", dict.fromkeys("XYZ", TWO))


class Counting:
    """Count the denoising steps of a mechanism."""

    def __init__(self, mechanism):
        self.steps = 0
        mechanism.backbone.register_forward_hook(self)

    def __call__(self, *_):
        self.steps += 1


def test_everything_is_sampled_by_default(pipe):
    out = ask(pipe)
    assert list(out.values) == ["D", "W", "A"]
    assert set(out.values["D"]) <= set("abc")
    assert set(out.values["A"]) <= {"no", "yes"}
    assert [image.size for image in out.images["I"]] == [(8, 8)] * 4
    assert out.effective_sample_size is None
    assert out.query == "P(D, W, I, A)"
    assert out.graph == pipe.graph


def test_do_sets_labels_and_codes(pipe):
    assert ask(pipe, do={"W": "b"}).values["W"] == ["b"] * 4
    assert ask(pipe, do={"W": 1}).values["W"] == ["b"] * 4
    assert ask(pipe, do={"W": ["a", "b", "c", "a"]}).values["W"] == ["a", "b", "c", "a"]


def test_do_sets_an_image(pipe):
    white = PILImage.new("L", (8, 8), 255)
    out = ask(pipe, do={"I": white}, outcomes="A")
    assert np.asarray(out.images["I"][3]).min() == 255
    as_tensor = ask(pipe, do={"I": torch.ones(1, 8, 8)}, outcomes="A")
    assert torch.equal(out.probabilities["A"], as_tensor.probabilities["A"])
    black = ask(pipe, do={"I": torch.zeros(4, 1, 8, 8)}, outcomes="A")
    assert not torch.equal(out.probabilities["A"], black.probabilities["A"])


def test_given_fixes_a_value_and_says_what_it_rests_on(pipe):
    out = ask(pipe, given={"W": "b"}, outcomes=["D"], do={"I": torch.zeros(1, 8, 8)})
    assert out.values["W"] == ["b"] * 4
    assert 50 < out.effective_sample_size <= 1000
    assert ask(pipe, given={"D": "a"}, outcomes=["W"], pool_size=70).effective_sample_size <= 70


def test_outcomes_say_what_comes_back(pipe):
    out = ask(pipe, outcomes=["A"], do={"D": "a"})
    assert set(out.values) == {"A", "D"}
    assert out.images == {}
    assert set(out.probabilities) == {"A"}


def test_probabilities_are_those_of_the_outcomes(pipe):
    out = ask(pipe, num_samples=5, do={"W": "a"})
    assert set(out.probabilities) == {"D", "A"}
    assert out.probabilities["A"].shape == (5, 2)
    assert torch.allclose(out.probabilities["A"].sum(dim=1), torch.ones(5))


@pytest.mark.parametrize(
    ("query", "steps"),
    [
        ({"outcomes": ["W"]}, 0),
        ({"outcomes": ["W"], "given": {"D": "a"}}, 0),
        ({"outcomes": ["A"], "do": {"I": torch.zeros(1, 8, 8)}}, 0),
        ({"outcomes": ["A"], "do": {"D": "a"}}, 3),
        ({"outcomes": ["I"]}, 3),
        ({}, 3),
    ],
)
def test_no_step_is_run_for_an_image_that_no_outcome_needs(pipe, query, steps):
    counting = Counting(pipe.I)
    ask(pipe, num_inference_steps=3, **query)
    assert counting.steps == steps


def test_batches_and_guidance_reach_the_mechanism(pipe):
    counting = Counting(pipe.I)
    ask(pipe, num_samples=5, batch_size=2, num_inference_steps=2, outcomes=["I"])
    assert counting.steps == 3 * 2
    plain = ask(pipe, outcomes=["I"], output_type="pt").images["I"]
    guided = ask(pipe, outcomes=["I"], output_type="pt", guidance_scale=3.0).images["I"]
    assert not torch.equal(plain, guided)


def test_output_types_agree(pipe):
    pt = ask(pipe, output_type="pt").images["I"]
    assert pt.shape == (4, 1, 8, 8)
    assert 0 <= pt.min() <= pt.max() <= 1
    array = ask(pipe, output_type="np").images["I"]
    assert array.shape == (4, 8, 8, 1)
    assert np.array_equal(array, pt.permute(0, 2, 3, 1).numpy())
    for picture, pixels in zip(ask(pipe).images["I"], array, strict=True):
        assert np.array_equal(np.asarray(picture), (pixels[..., 0] * 255).round())


def test_a_tuple_if_asked(pipe):
    images, values = ask(pipe, return_dict=False)
    out = ask(pipe)
    assert values == out.values
    assert len(images["I"]) == 4


def test_the_generator_decides(pipe):
    assert ask(pipe, output_type="pt").images["I"].equal(ask(pipe, output_type="pt").images["I"])
    free = [pipe(8, num_inference_steps=1, output_type="pt").images["I"] for _ in range(2)]
    assert not torch.equal(*free)


def test_the_callback_hears_of_every_sampled_variable(pipe):
    heard = []
    ask(pipe, do={"W": "a"}, callback_on_variable_end=lambda *told: heard.append(told))
    assert {name for _, name, _ in heard} == {"D", "I", "A"}
    assert all(told is pipe for told, _, _ in heard)
    assert {name: tuple(v.shape) for _, name, v in heard}["I"] == (4, 1, 8, 8)


def test_the_progress_bar_is_that_of_diffusers(pipe, capsys):
    loud = copy.copy(pipe)
    loud.set_progress_bar_config(disable=False)
    ask(loud, outcomes=["I"])
    assert "2/2" in capsys.readouterr().err
    ask(pipe, outcomes=["I"])
    assert capsys.readouterr().err == ""


def test_an_unidentifiable_query_is_refused():
    with pytest.raises(NotIdentifiableError) as caught:
        bow()(do={"X": "yes"})
    assert "P(Y, Z | do(X))" in str(caught.value)
    assert str(caught.value).endswith("Identifiable one at a time: Z.")
    assert caught.value.hedge is not None


def test_it_may_be_sampled_with_a_warning():
    with pytest.warns(UserWarning, match=r"Sampling anyway: other models fit the data as well"):
        out = bow()(2, do={"X": "yes"}, on_unidentified="warn")
    assert len(out.values["Y"]) == 2


@pytest.mark.parametrize(
    "query",
    [{}, {"do": {}}, {"given": {"X": "yes"}}, {"do": {"X": "yes"}, "outcomes": "Z"}],
    ids=repr,
)
def test_an_identifiable_query_is_answered_without_a_word(query):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bow()(2, on_unidentified="warn", **query)


def test_identify_is_that_of_the_graph(pipe):
    assert str(pipe.identify("A", do="I")) == "sum_{D} P(A | D, I) P(D)"
    assert str(pipe.identify(["A"], do={"I": 3}, given=[])) == "sum_{D} P(A | D, I) P(D)"
    with pytest.raises(NotIdentifiableError):
        bow().identify("Y", do=["X"])


def test_plan_names_every_variable_once(pipe):
    trained = [name for stage in pipe.plan() for name in stage.stage.variables]
    assert sorted(trained) == ["A", "D", "I", "W"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"on_unidentified": "ignore"}, ValueError, '`on_unidentified` is "raise" or "warn"'),
        ({"output_type": "latent"}, ValueError, '`output_type` is "pil", "np" or "pt"'),
        ({"num_samples": 0}, ValueError, "`num_samples` must be an integer of at least 1"),
        ({"num_samples": 2.5}, ValueError, "of at least 1: got 2.5"),
        ({"pool_size": 0, "given": {"W": "a"}}, ValueError, "`pool_size` must be an integer"),
        ({"outcomes": []}, ValueError, "`outcomes` must name at least one variable"),
        ({"generator": [torch.Generator()] * 2}, TypeError, "`generator` must be one"),
        ({"do": {"Q": 1}}, GraphError, '`do` must name variables of the graph: got "Q"'),
        ({"do": {"W": "z"}}, ValueError, "\"W\" takes one of ['a', 'b', 'c']"),
        ({"do": {"W": ["a", "b"]}}, ShapeError, "Pass `num_samples=2`"),
        ({"do": {"W": "a"}, "outcomes": "W"}, GraphError, '`do` is known: got "W" in both'),
        ({"given": {"I": torch.zeros(1, 8, 8)}}, ValueError, 'got the image "I"'),
    ],
)
def test_calls_are_checked_before_anything_is_sampled(pipe, options, error, message):
    counting = Counting(pipe.I)
    with pytest.raises(error) as caught:
        pipe(**{"num_samples": 4, **options})
    assert message in str(caught.value)
    assert counting.steps == 0


def test_unknown_options_are_refused(pipe):
    with pytest.raises(TypeError):
        pipe(prompt="a digit")


def test_from_graph_takes_text_or_a_graph():
    one = CausalPipeline.from_graph("X -> Y", dict.fromkeys("XY", TWO))
    two = CausalPipeline.from_graph(ADMG.parse("X -> Y"), dict.fromkeys("XY", TWO))
    assert one.graph == two.graph


def test_from_graph_fills_in_categorical_mechanisms_and_priors():
    mine = CategoricalMechanism(width=3)
    pipe = CausalPipeline.from_graph(
        "X <-> Y", dict.fromkeys("XY", TWO), {"X": mine}, {"U_X_Y": Confounder(states=5)}
    )
    assert pipe.X is mine
    assert isinstance(pipe.Y, CategoricalMechanism)
    assert pipe.U_X_Y.config["states"] == 5
    assert set(pipe.components) == {"X", "Y", "U_X_Y"}
    assert set(pipe.mechanisms) == {"X", "Y"}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([("X", "Y")], {}), TypeError, "`ADMG.from_edges(...)` for a list of edges"),
        (("X", {"X": ["a", "b"]}), TypeError, "got ['a', 'b']. Write `Categorical([...])`"),
        (("X", {"X": Categorical}), TypeError, '"X" must be a `Variable`: got Categorical'),
        (
            ("X", {"X": TWO}, {"X": CategoricalMechanism}),
            TypeError,
            "got the class CategoricalMechanism. Write `CategoricalMechanism(...)`",
        ),
        (
            ("X; Y", dict.fromkeys("XY", TWO), dict.fromkeys("XY", CategoricalMechanism())),
            ValueError,
            '"X" and "Y" share one CategoricalMechanism',
        ),
        (
            ("X <-> Y", dict.fromkeys("XY", TWO), None, {"U_X_Y": 4}),
            TypeError,
            '"U_X_Y" must be a `Confounder`: got 4',
        ),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_from_graph_says_what_is_wrong_with_an_argument(arguments, error, message):
    with pytest.raises(error) as caught:
        CausalPipeline.from_graph(*arguments)
    assert message in str(caught.value)


def test_an_image_needs_a_mechanism():
    with pytest.raises(ValueError, match=r'"I" is an image, .*`mechanisms=\{"I": Diffusion'):
        CausalPipeline.from_graph("X -> I", {"X": TWO, "I": Image(1, 8, 8)})


def test_an_image_of_another_size_is_refused_by_name(base):
    with pytest.raises(ValueError, match=r'^"I": '):
        CausalPipeline.from_graph(
            "I", {"I": Image(1, 9, 9)}, {"I": DiffusionMechanism.from_pretrained(base)}
        )


@pytest.mark.parametrize(
    ("components", "message"),
    [
        ({}, "X is missing and nothing is unknown"),
        ({"X": None, "Q": None}, "nothing is missing and Q is unknown"),
        ({"X": torch.nn.Linear(1, 1)}, '"X" must be a Mechanism: got Linear'),
        ({"X": ConfounderPrior()}, '"X" must be a Mechanism: got ConfounderPrior'),
    ],
)
def test_components_are_checked(components, message):
    graph = CausalPipeline.from_graph("X", {"X": TWO}).config["graph"]
    with pytest.raises(ValueError, match=r"A pipeline has|must be a") as caught:
        CausalPipeline(graph, **components)
    assert message in str(caught.value)


def test_a_malformed_graph_is_a_graph_error():
    with pytest.raises(GraphError, match="`graph` does not describe a graph"):
        CausalPipeline({"nodes": []})


def test_it_is_a_diffusion_pipeline(pipe):
    assert isinstance(pipe, DiffusionPipeline)
    assert pipe.device.type == "cpu"
    assert pipe.dtype == torch.float32
    assert "I" in repr(pipe)


def test_to_moves_every_component(base):
    pipe = make_tiny_pipeline(base).to(torch.bfloat16)
    types = {p.dtype for c in pipe.components.values() for p in c.parameters()}
    assert types == {torch.bfloat16}
    out = pipe(2, num_inference_steps=2, output_type="pt")
    assert out.images["I"].dtype == torch.float32


def test_a_component_can_be_replaced(base):
    pipe = make_tiny_pipeline(base)
    other = make_tiny_pipeline(base, seed=1)
    before = ask(pipe, outcomes=["W"], num_samples=50).probabilities["W"]
    pipe.W = other.W
    assert pipe.mechanisms["W"] is other.W
    assert not torch.equal(before, ask(pipe, outcomes=["W"], num_samples=50).probabilities["W"])


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_copies_answer_the_same(pipe, duplicate):
    again = duplicate(pipe)
    assert type(again) is CausalPipeline
    assert again.W is not pipe.W
    one, two = (ask(p, output_type="pt") for p in (pipe, again))
    assert one.values == two.values
    assert torch.equal(one.images["I"], two.images["I"])


def test_to_pandas_has_a_row_for_each_draw(pipe):
    pytest.importorskip("pandas")
    frame = ask(pipe, do={"W": "a"}).to_pandas()
    assert frame.shape == (4, 4)
    assert set(frame.columns) == {"D", "W", "A", "I"}
    assert frame["W"].tolist() == ["a"] * 4
    assert frame["I"][0].size == (8, 8)
    arrays = ask(pipe, output_type="np").to_pandas()
    assert arrays["I"][0].shape == (8, 8, 1)


def test_the_output_survives_pickle(pipe):
    out = ask(pipe)
    again = pickle.loads(pickle.dumps(out))
    assert isinstance(again, CausalPipelineOutput)
    assert again.values == out.values
    assert again["values"] == out.values


def test_the_output_shows_itself(pipe):
    text = ask(pipe, do={"W": "a"})._repr_html_()
    assert "P(D, I, A | do(W=a))" in text
    assert "data:image/png;base64," in text
    assert "<svg" in text


def test_pandas_is_not_needed_before_it_is_used():
    source = inspect.getsource(inspect.getmodule(CausalPipelineOutput))
    assert "\nimport pandas" not in source
