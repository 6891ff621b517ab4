"""A word stands for one thing, and what cannot be read is refused with the way out."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from causal_diffusers import ADMG, Categorical, GraphError, Image
from causal_diffusers.sources import (
    label_of,
    read_columns,
    read_edge,
    read_graph,
    read_rows,
    read_values,
)
from causal_diffusers.training import Rows

FRONT_DOOR = ADMG.parse("D -> I -> A; D <-> A")
PICTURE = Image(1, 4, 4)


@pytest.mark.parametrize(
    "write", [str, ADMG.to_dot, ADMG.to_dagitty], ids=["text", "dot", "dagitty"]
)
@pytest.mark.parametrize("name", [None, "graph.txt", "graph"])
def test_a_graph_is_text_or_a_file_of_it(write, name, tmp_path):
    source = write(FRONT_DOOR)
    if name is not None:
        (tmp_path / name).write_text(source)
        source = str(tmp_path / name)
    assert read_graph(source) == FRONT_DOOR


def test_a_single_variable_is_a_graph():
    assert read_graph("X") == ADMG.parse("X")


@pytest.mark.parametrize("missing", ["graph.txt", "folder/graph", "./X"])
def test_a_missing_graph_file_is_no_graph(missing):
    with pytest.raises(FileNotFoundError, match=f"no file or folder `{missing.strip('./')}"):
        read_graph(missing)


def test_a_malformed_graph_is_a_graph_error():
    with pytest.raises(GraphError):
        read_graph("X -> -> Y")


@pytest.mark.parametrize(
    ("labels", "word", "value"),
    [
        ([0, 1], "1", 1),
        (["0", "1"], "1", "1"),
        ([True, False], "False", False),
        (["no", "yes"], "yes", "yes"),
        (["no", "yes"], "1", 1),  # no label: a code
        (["no", "yes"], "maybe", "maybe"),  # refused later, with its row
    ],
)
def test_a_word_is_the_label_written_so(labels, word, value):
    found = label_of(Categorical(labels), word)
    assert (found, type(found)) == (value, type(value))


def test_a_word_for_an_image_is_a_path():
    assert label_of(PICTURE, "7") == "7"


def save_images(folder, count=3):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        PILImage.new("L", (4, 4), 50 * i).save(folder / f"{i}.png")


def encode(columns, variables):
    return Rows(columns, variables).batch(torch.arange(3))


def test_a_csv_names_labels_and_images_beside_it(tmp_path):
    save_images(tmp_path / "deep" / "pictures")
    text = "A,I,ignored\n1,pictures/0.png,x\n0,pictures/1.png,y\n1,pictures/2.png,z\n"
    (tmp_path / "deep" / "rows.csv").write_text(text)
    variables = {"I": PICTURE, "A": Categorical([0, 1])}
    rows = encode(read_rows(str(tmp_path / "deep" / "rows.csv"), variables), variables)
    assert rows["A"].tolist() == [1, 0, 1]
    assert torch.allclose(rows["I"].mean((1, 2, 3)), 2 * torch.tensor([0, 50, 100]) / 255 - 1)


@pytest.mark.parametrize("header", ["file_name,A", "I,A"])
def test_a_folder_with_metadata_is_an_image_folder(header, tmp_path):
    save_images(tmp_path)
    (tmp_path / "metadata.csv").write_text(f"{header}\n0.png,no\n1.png,yes\n2.png,no\n")
    variables = {"I": PICTURE, "A": Categorical(["no", "yes"])}
    rows = encode(read_rows(str(tmp_path), variables), variables)
    assert rows["A"].tolist() == [0, 1, 0]
    assert rows["I"].shape == (3, 1, 4, 4)


def test_an_npz_holds_arrays(tmp_path):
    images = np.zeros((3, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "rows.npz", A=np.array([1, 0, 0]), I=images, other=np.arange(9))
    variables = {"I": PICTURE, "A": Categorical([0, 1])}
    columns = read_rows(str(tmp_path / "rows.npz"), variables)
    assert sorted(columns) == ["A", "I"]
    assert encode(columns, variables)["A"].tolist() == [1, 0, 0]


def test_a_pickle_inside_an_npz_is_refused(tmp_path):
    np.savez(tmp_path / "rows.npz", A=np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        read_rows(str(tmp_path / "rows.npz"), {"A": Categorical([0, 1])})


def test_a_parquet_file_holds_columns(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.DataFrame({"A": ["no", "yes", "no"]}).to_parquet(tmp_path / "rows.parquet")
    variables = {"A": Categorical(["no", "yes"])}
    rows = encode(read_rows(str(tmp_path / "rows.parquet"), variables), variables)
    assert rows["A"].tolist() == [0, 1, 0]


def test_a_system_is_drawn_from_with_a_seed():
    draws = [
        read_rows("causal_diffusers:front_door_digits", {}, num_rows=10_007, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert draws[0]["I"].shape == (10_007, 1, 8, 8)
    assert torch.equal(draws[0]["D"], draws[1]["D"])
    assert not torch.equal(draws[0]["D"], draws[2]["D"])


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("none.csv", FileNotFoundError, "no file or folder `none.csv`"),
        ("none/at/all", FileNotFoundError, "no file or folder `none/at/all`"),
        ("causal_diffusers:bars", ValueError, "got `causal_diffusers:bars`"),
    ],
)
def test_what_is_not_there_is_named(source, error, message):
    with pytest.raises(error, match=message):
        read_rows(source, {})


def test_what_was_set_is_read_with_the_labels(tmp_path):
    (tmp_path / "rows.csv").write_text('A,B,intervened,C\n0,1,"A,B",7\n0,1,,7\n')
    rows = read_rows(str(tmp_path / "rows.csv"), dict.fromkeys("AB", Categorical([0, 1])))
    assert rows == {"A": [0, 0], "B": [1, 1], "intervened": ["A,B", ""]}


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "rows.xlsx").touch()
    with pytest.raises(ValueError, match=r"Rows are read from \.csv, .*got `.*rows\.xlsx`"):
        read_rows(str(tmp_path / "rows.xlsx"), {})


def test_a_ragged_csv_is_refused_with_its_line(tmp_path):
    (tmp_path / "rows.csv").write_text("A,B\n0,1\n0,1,2\n")
    with pytest.raises(ValueError, match="has 2 columns: got 3 values in line 3"):
        read_rows(str(tmp_path / "rows.csv"), {})


def test_a_missing_image_is_named_with_its_row(tmp_path):
    save_images(tmp_path, count=1)
    (tmp_path / "rows.csv").write_text("I\n0.png\n1.png\n")
    with pytest.raises(FileNotFoundError, match=r'"I" has no image `.*1\.png` \(row 1\)'):
        read_rows(str(tmp_path / "rows.csv"), {"I": PICTURE})


def test_a_missing_library_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"the library datasets, .*Run `pip install datasets`"):
        read_rows("owner/name", {})


def test_columns_are_numbers_where_every_word_is_one(tmp_path):
    (tmp_path / "rows.csv").write_text("X,Y,intervened\n1,red,\n,blue,X\n")
    columns = read_columns(str(tmp_path / "rows.csv"))
    assert list(columns) == ["X", "Y"]
    assert columns["X"][0] == 1.0
    assert np.isnan(columns["X"][1])
    assert columns["Y"] == ["red", "blue"]
    assert list(read_columns(str(tmp_path / "rows.csv"), ["Y"])) == ["Y"]


def test_a_column_that_is_missing_and_a_file_of_another_kind_are_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("X\n1\n")
    with pytest.raises(ValueError, match=r"has no column \['Z'\]: it has \['X'\]"):
        read_columns(str(tmp_path / "rows.csv"), ["Z"])
    (tmp_path / "rows.xlsx").write_text("")
    with pytest.raises(ValueError, match="A table is read from"):
        read_columns(str(tmp_path / "rows.xlsx"))


@pytest.mark.parametrize("text", ["X->Y", " X ->Y "])
def test_an_edge_is_read(text):
    assert read_edge(text) == ("X", "Y")


@pytest.mark.parametrize("text", ["X", "X<->Y", "X->", "->Y", "X->Y->Z", "X - Y"])
def test_what_is_no_edge_is_refused(text):
    with pytest.raises(ValueError, match="an edge is written 'X->Y'"):
        read_edge(text)


def test_values_are_read_by_name():
    variables = {"X": Categorical(["no", "yes"])}
    assert read_values(["X=yes", "Z=3"], variables, "do") == {"X": "yes", "Z": "3"}
    for words, message in ((["X"], "takes NAME=VALUE"), (["X=no", "X=yes"], "got `X` twice")):
        with pytest.raises(ValueError, match=message):
            read_values(words, variables, "do")
