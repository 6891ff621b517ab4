"""What a notebook shows is complete, inline and harmless."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from causal_diffusers import ADMG
from causal_diffusers.notebook import grid, to_html

GRAPH = ADMG.parse("X -> I; X <-> Y")


class Tags(HTMLParser):
    """Every tag and attribute of a page, and what stays open."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def pictures(text):
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    return [PILImage.open(io.BytesIO(base64.b64decode(data))) for data in found]


def test_query_graph_images_and_table_are_shown():
    text = to_html(
        {"I": np.zeros((3, 8, 8, 1))},
        {"X": ["a", "b", "a"], "Y": [0, 1, 1]},
        query="P(I | do(X=a))",
        graph=GRAPH,
    )
    tags = Tags(text)
    assert tags.open == []
    assert {"code", "svg", "img", "table"} <= set(tags.tags)
    assert "<th>X</th><th>Y</th>" in text
    assert "<td>b</td><td>1</td>" in text
    assert "P(I | do(X=a))" in text


def test_nothing_is_fetched_or_run():
    text = to_html({"I": np.zeros((1, 8, 8, 3))}, {"X": [1]}, query="P(X)", graph=GRAPH)
    tags = Tags(text)
    assert not {"script", "link", "iframe", "object"} & set(tags.tags)
    sources = [value for name, value in tags.attributes if name in {"src", "href"}]
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert not [name for name, _ in tags.attributes if name.startswith("on")]


@pytest.mark.parametrize("evil", ["<script>1</script>", '"><img src=x>', "a & b"])
def test_labels_are_escaped(evil):
    text = to_html({}, {"X": [evil]}, query=evil)
    assert evil not in text
    assert set(Tags(text).tags) <= {"div", "code", "table", "tr", "th", "td"}


def test_only_the_first_rows_and_images_are_shown():
    text = to_html({"I": np.zeros((100, 8, 8, 1))}, {"X": list(range(100))})
    assert "8 of 100 rows" in text
    assert "I, 16 of 100" in text
    assert text.count("<tr>") == 1 + 8
    assert pictures(text)[0].size == (8 * 64, 2 * 64)


def test_an_answer_without_values_has_no_table():
    assert Tags(to_html({"I": np.zeros((1, 8, 8, 1))}, {})).tags.count("table") == 0
    assert Tags(to_html({}, {})).tags == ["div"]


def images(mode):
    generator = torch.Generator().manual_seed(0)
    tensor = torch.rand(5, 3, 8, 8, generator=generator)
    array = tensor.permute(0, 2, 3, 1).numpy()
    rounded = [PILImage.fromarray((a * 255).round().astype(np.uint8)) for a in array]
    return {"pt": tensor, "np": array, "pil": rounded}[mode]


@pytest.mark.parametrize("mode", ["pt", "np", "pil"])
def test_every_kind_of_output_gives_the_same_grid(mode):
    expected = np.asarray(images("pil")[4].resize((64, 64), PILImage.Resampling.NEAREST))
    sheet = grid(images(mode), columns=3)
    assert sheet.size == (3 * 64, 2 * 64)
    assert np.array_equal(np.asarray(sheet)[64:, 64:128], expected)
    assert np.asarray(sheet)[64:, 128:].max() == 0


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 64, 64, 1), (64, 64)), ((1, 100, 50, 3), (50, 100)), ((1, 9, 9, 1), (63, 63))],
)
def test_small_images_are_enlarged_by_whole_pixels(shape, size):
    assert grid(np.zeros(shape)).size == size


def test_no_images_are_a_dot():
    assert grid(np.zeros((0, 8, 8, 1))).size == (1, 1)
