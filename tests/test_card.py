"""The card says what a reader must know, and nothing in it can break out of its place."""

import pytest

from causal_diffusers import (
    ADMG,
    Categorical,
    CausalPipeline,
    Confounder,
    DiffusionMechanism,
    Image,
)
from causal_diffusers.card import write
from tiny import make_tiny_base, make_tiny_pipeline

COMMIT = "a" * 40


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    return make_tiny_pipeline(make_tiny_base(tmp_path_factory.mktemp("base")))


@pytest.fixture
def card(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "front-door", backbone_ids={"I": f"me/base@{COMMIT}"})
    return (tmp_path / "front-door" / "README.md").read_text()


def plain(graph, labels=("a", "b")):
    graph = ADMG.parse(graph)
    pipe = CausalPipeline.from_graph(graph, dict.fromkeys(graph.variables, Categorical(labels)))
    return write("me/x", pipe.graph, pipe.variables, pipe.mechanisms, pipe.confounders)


def test_the_hub_can_read_its_metadata(card):
    from huggingface_hub import ModelCard

    data = ModelCard(card).data.to_dict()
    assert data["library_name"] == "diffusers"
    assert data["base_model"] == ["me/base"]
    assert data["base_model_relation"] == "adapter"
    assert "causal-inference" in data["tags"]


def test_it_shows_graph_and_plan(card, pipe):
    assert f"```mermaid\n{pipe.graph.to_mermaid()}" in card
    assert str(pipe.plan()) in card


def test_it_lists_variables_and_what_made_them(card, pipe):
    trained = sum(tensor.numel() for tensor in pipe.I.trainable_state().values())
    assert f"| I | image, 1 x 8 x 8 | DiffusionMechanism | {trained:,} |" in card
    assert "| D | a, b, c | CategoricalMechanism |" in card
    assert "| U_D_A | D, A | 3 states |" in card


def test_it_cites_the_base(card, pipe):
    sha256 = pipe.I.base_reference.sha256
    assert f"| I | me/base | {COMMIT} | not stated | `{sha256[:16]}...` |" in card


def test_a_gaussian_confounder_is_described():
    assert "| U_X_Y | X, Y | Gaussian, 2 dimensions |" in plain("X <-> Y")
    graph = ADMG.parse("X <-> Y")
    pipe = CausalPipeline.from_graph(
        graph,
        dict.fromkeys("XY", Categorical([0, 1])),
        confounders={"U_X_Y": Confounder(states=2)},
    )
    assert "2 states" in write("x", graph, pipe.variables, pipe.mechanisms, pipe.confounders)


def test_it_says_which_queries_have_an_answer(card):
    assert "- `P(A | do(I))`: `sum_{D} P(A | D, I) P(D)`" in card
    text = plain("X -> Y; X <-> Y; X -> Z")
    assert "- `P(Y | do(X))`: not identifiable, refused" in text
    assert "- `P(Z | do(X))`: `P(Z | X)`" in text


def test_it_says_what_it_rests_on(card):
    assert "Every answer rests on the graph" in card
    assert "overlap" in card


def test_a_card_of_your_own_is_kept(pipe, tmp_path):
    pipe.save_pretrained(tmp_path, include_backbones=True)
    card = tmp_path / "README.md"
    written = card.read_text()
    card.write_text(written + "scribble")
    pipe.save_pretrained(tmp_path, include_backbones=True)
    assert card.read_text() == written
    card.write_text("My own words.")
    pipe.save_pretrained(tmp_path, include_backbones=True)
    assert card.read_text() == "My own words."


def test_it_says_where_the_bases_are(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "a", include_backbones=True)
    text = (tmp_path / "a" / "README.md").read_text()
    assert "Frozen, and copied into this folder." in text
    assert "referred to" not in text
    text = write("x", pipe.graph, pipe.variables, pipe.mechanisms, pipe.confounders)
    assert "Frozen, and referred to rather than copied." in text


def test_its_example_runs(pipe, tmp_path, monkeypatch):
    folder = tmp_path / "front-door"
    pipe.save_pretrained(folder, include_backbones=True)
    text = (folder / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    code = code.replace('"front-door"', repr(str(folder))).replace(
        "out = pipe(", "out = pipe(num_inference_steps=1, num_samples="
    )
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert len(names["out"].values["D"]) == 16


def test_an_example_of_a_graph_without_effects_asks_for_everything():
    assert "out = pipe(num_samples=16)" in plain("X; Y")
    assert "## Queries" not in plain("X; Y")


def test_a_query_that_is_refused_is_no_example():
    text = plain("X -> Y; X <-> Y; Y -> Z")
    assert """out = pipe(16, do={"Y": 'b'}, outcomes=["Z"])""" in text


@pytest.mark.parametrize(
    "label", ["| evil |", "`evil`", "<script>evil</script>", "evil\n# evil", "```\nevil"]
)
def test_a_label_cannot_break_out(label):
    text = plain("X -> Y", labels=("a", label))
    table = [line for line in text.splitlines() if line.startswith("| X |")]
    assert len(table) == 1
    assert table[0].replace("\\|", "").count("|") == 5
    assert "<script" not in text.split("## Graph")[1]
    assert "\n# evil" not in text


def test_a_large_graph_has_a_short_card():
    text = plain("; ".join(f"X{i} -> X{i + 1}" for i in range(40)))
    assert len(text.splitlines()) < 200
    assert text.count("- `P(") == 12


def test_many_labels_are_cut_short():
    assert ", ..." in plain("X", labels=tuple(range(1000)))


def test_what_is_assumed_of_a_confounded_image_is_said(tmp_path):
    two, base = Categorical([0, 1]), make_tiny_base(tmp_path)
    pipe = CausalPipeline.from_graph(
        "U: I, L",
        {"I": Image(1, 8, 8), "L": two},
        {"I": DiffusionMechanism.from_pretrained(base, rank=2, codes=5)},
    )
    text = write("me/x", pipe.graph, pipe.variables, pipe.mechanisms)
    assert "a code that is read from the image: I (5 codes). Assumed is that," in text
    assert "Assumed" not in plain("L")
