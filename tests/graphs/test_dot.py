"""DOT and dagitty as other programs write them."""

import pytest

from causal_diffusers import GraphError
from causal_diffusers.graphs import ADMG

FRONT_DOOR = "D -> I -> A; D <-> A"


@pytest.mark.parametrize(
    "text",
    [
        "digraph { D -> I -> A; D -> A [dir=both] }",
        'digraph "front door" { D; I; A; D -> I; I -> A; D -> A [dir="both", style=dashed]; }',
        "strict digraph G { D -> I -> A -> {} I -> A  D -> A [dir = both; color = red] }",
        'digraph { rankdir=LR; node [shape=box] edge [arrowsize="0.5"] "D" -> "I" -> "A"\n'
        "edge [dir=both] D -> A }",
        "digraph { // comment\n D -> I /* another\n */ -> A; # a third\n A -> D [dir=both] }",
        'digraph { D [label="a -> b; c", pos="1,2!"] D -> I -> A [weight=2.5] D -> A [dir=BOTH] }',
        "digraph { D -> I; A -> I [dir=back]; D -> A [dir=both] }",
    ],
)
def test_dot(text):
    G, truth = ADMG.from_dot(text), ADMG.parse(FRONT_DOOR)
    assert (G.directed, G.bidirected) == (truth.directed, truth.bidirected)
    assert set(G.variables) == set(truth.variables)


@pytest.mark.parametrize(
    "node", ["U [latent]", "U [latent=true]", 'U [observed="no"]', "U [unobserved, color=grey]"]
)
def test_dot_projects_latent_variables(node):
    G = ADMG.from_dot(f"digraph {{ {node}; U -> {{X Y Z}} }}")
    assert dict(G.confounders) == {"U": ("X", "Y", "Z")}


def test_dot_groups_are_products():
    assert ADMG.from_dot("digraph { {A, B} -> {C; D} }").directed == {
        ("A", "C"),
        ("A", "D"),
        ("B", "C"),
        ("B", "D"),
    }


@pytest.mark.parametrize(
    "text",
    [
        "dag { D -> I -> A  D <-> A }",
        'dag {\nA [outcome,pos="1.2,-0.3"]\nD [exposure,pos="-2.200,-1.520"]\nI\n'
        "D -> I\nI -> A\nA <-> D\n}",
        'dag "front door" { bb="-3,-2,2,1"; D -> { I } -> A; D <-> A [pos="0,1"] }',
        "dag{D->I->A;D<->A}",
        "dag { A <- I <- D <-> A }",
    ],
)
def test_dagitty(text):
    G, truth = ADMG.from_dagitty(text), ADMG.parse(FRONT_DOOR)
    assert (G.directed, G.bidirected) == (truth.directed, truth.bidirected)


def test_dagitty_projects_chains_of_latent_variables():
    G = ADMG.from_dagitty("dag { X -> Y ; X <-> Y ; U [latent] L [latent] U -> L -> X  U -> Z }")
    assert dict(G.confounders) == {"U": ("X", "Z"), "U_X_Y": ("X", "Y")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("graph { A -- B }", "`from_dot` expected `digraph`: got `graph` in line 1"),
        ("dag { A -> B }", "`from_dot` expected `digraph`: got `dag`"),
        ("digraph { A -- B }", "expected a name: got `--`"),
        ("digraph { A <-> B }", "expected a name: got `<->`"),
        ("digraph {\n A -> B\n subgraph S { C }\n}", "expected a name: got `subgraph` in line 3"),
        ("digraph { A:port -> B }", "expected a name: got `:`"),
        ("digraph { A -> B [dir=none] }", "expected `dir=forward`, .* got `dir=none`"),
        ("digraph { A -> B", "expected a name: got `the end of the text`"),
        ("digraph { A [color=] }", "expected a name: got `]`"),
        ("digraph { A } digraph { B }", "expected one graph and nothing after it"),
        ("digraph { A -> <b>html</b> }", "expected a name: got `<`"),
        ("digraph { A -> B; A -> B }", "must list each edge once"),
        ('digraph { "left eye" -> B }', 'for instance to "left_eye"'),
        ("", "expected `digraph`: got `the end of the text`"),
    ],
)
def test_other_dot_is_refused(text, message):
    with pytest.raises(GraphError, match=message):
        ADMG.from_dot(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digraph { A -> B }", "`from_dagitty` expected `dag`: got `digraph`"),
        ("pdag { A -- B }", "`from_dagitty` expected `dag`: got `pdag`"),
        ("dag { A -- B }", "expected a name: got `--`"),
        ("dag { A @-> B }", "expected a name: got `@`"),
        ("dag { S [selected] A -> S }", "expected a graph without selection: got .* of S"),
        ("dag { A -> B -> A }", "got the cycle A -> B -> A"),
        ("dag { U [latent] A -> A }", "self-loop A -> A"),
    ],
)
def test_other_dagitty_is_refused(text, message):
    with pytest.raises(GraphError, match=message):
        ADMG.from_dagitty(text)


def test_words_of_the_language_are_quoted():
    G = ADMG.parse("node -> edge; U: node, edge")
    assert '"node" -> "edge"' in G.to_dot()
    assert ADMG.from_dot(G.to_dot()) == G
    assert ADMG.from_dagitty(G.to_dagitty()) == G


def test_the_unobserved_is_dashed():
    text = ADMG.parse("A -> B; A <-> B; U: A, B, C").to_dot()
    assert "U [latent=true, style=dashed];" in text
    assert "A -> B;" in text
