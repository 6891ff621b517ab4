"""Pictures show every variable, edge and confounder."""

import re
from xml.etree import ElementTree

from causal_diffusers.graphs import ADMG, NAMED
from causal_diffusers.graphs.draw import to_svg
from helpers import random_admgs

SVG = "{http://www.w3.org/2000/svg}"


def drawn(G):
    """Read the picture back: nodes with their boxes, and curves with their titles."""
    root = ElementTree.fromstring(to_svg(G))
    names = [text.text for text in root.findall(f"{SVG}text")]
    curves = [(path[0].text, path.attrib) for path in root.findall(f"{SVG}path")]
    return root, names, curves


def test_a_picture_shows_everything():
    for G in random_admgs(60, sizes=(0, 8), shared=0.5):
        _, names, curves = drawn(G)
        large = {name: ch for name, ch in G.confounders.items() if len(ch) > 2}
        assert sorted(names) == sorted([*G.variables, *large])
        titles = [title for title, _ in curves]
        assert {title for title in titles if "->" in title} == {
            f"{a} -> {b}" for a, b in G.directed
        }
        expected = {name: 1 if name not in large else len(large[name]) for name in G.confounders}
        assert {name: titles.count(name) for name in G.confounders} == expected
        assert len(titles) == len(G.directed) + sum(expected.values())


def test_what_is_unobserved_is_dashed_and_arcs_have_two_heads():
    _, _, curves = drawn(ADMG.parse("A -> B; A <-> B; U: A, B, C"))
    assert {title: "stroke-dasharray" in style for title, style in curves} == {
        "A -> B": False,
        "U": True,
    } | ({"U_A_B": True} if any(title == "U_A_B" for title, _ in curves) else {})
    _, _, curves = drawn(ADMG.parse("A -> B; A <-> B"))
    assert {title: "marker-start" in style for title, style in curves} == {
        "A -> B": False,
        "U_A_B": True,
    }


def test_causes_are_left_of_effects_and_boxes_do_not_overlap():
    for G in random_admgs(60, sizes=(1, 8), shared=0.5):
        root, names, _ = drawn(G)
        boxes = dict(zip(names, root.findall(f"{SVG}rect"), strict=True))
        at = {
            name: tuple(float(boxes[name].get(k)) for k in ("x", "y", "width")) for name in names
        }
        for a, b in G.directed:
            assert at[a][0] + at[a][2] < at[b][0]
        for a in names:
            for b in names:
                apart = abs(at[a][1] - at[b][1]) >= 30 or at[a][0] + at[a][2] <= at[b][0]
                assert a == b or apart or at[b][0] + at[b][2] <= at[a][0]


def test_everything_is_inside_the_frame():
    for named in NAMED.values():
        root, _, curves = drawn(named.graph)
        left, top, width, height = map(float, root.get("viewBox").split())
        points = [re.findall(r"(-?[\d.]+),(-?[\d.]+)", style["d"]) for _, style in curves]
        for (x0, y0), (x1, y1), (x2, y2) in [[tuple(map(float, p)) for p in ps] for ps in points]:
            x, y = (x0 + 2 * x1 + x2) / 4, (y0 + 2 * y1 + y2) / 4
            assert left <= x <= left + width
            assert top <= y <= top + height


def test_an_arc_goes_round_the_variables_in_between():
    """A <-> D over the diamond's B: the top of the arc is above B's box."""
    root, names, curves = drawn(NAMED["bow_free_diamond"].graph)
    box = root.findall(f"{SVG}rect")[names.index("B")]
    arc = re.findall(r",(-?[\d.]+)", dict(curves)["U_A_D"]["d"])
    y0, y1, y2 = map(float, arc)
    assert (y0 + 2 * y1 + y2) / 4 < float(box.get("y"))


def test_a_notebook_shows_small_graphs_only():
    assert ADMG.parse("X -> Y")._repr_html_().startswith("<svg")
    assert ADMG([f"X{i}" for i in range(101)])._repr_html_() is None


def test_mermaid_shows_everything():
    text = ADMG.parse("A -> B; A <-> B; U: B, C, D; Z").to_mermaid()
    assert text.splitlines() == [
        "flowchart LR",
        '  Z["Z"]',
        '  U(("U"))',
        "  A --> B",
        "  A <-.-> B",
        "  U -.-> B",
        "  U -.-> C",
        "  U -.-> D",
    ]


def test_mermaid_words_are_not_used_as_identifiers():
    text = ADMG.parse("end -> style").to_mermaid()
    assert text.splitlines()[1:] == ['  _end["end"]', '  _style["style"]', "  _end --> _style"]
