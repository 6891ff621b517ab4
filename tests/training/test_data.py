"""Columns of every kind come out encoded; what cannot be is named by variable and row."""

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from causal_diffusers import Categorical, Image
from causal_diffusers.training import Rows

LETTERS, SMALL = Categorical("abc"), Image(1, 2, 2)
LABELS = ["a", "c", "b", "a", "c"]
CODES = [0, 2, 1, 0, 2]


class Dataset:
    """The part of `datasets.Dataset` that is leaned on."""

    def __init__(self, columns):
        self._columns = columns

    @property
    def column_names(self):
        return list(self._columns)

    def __len__(self):
        return len(next(iter(self._columns.values())))

    def __getitem__(self, name):
        return Column(self._columns[name])


class Column:
    """What `datasets` gives for a column: neither a list nor an array."""

    def __init__(self, values):
        self._values = values

    def __len__(self):
        return len(self._values)

    def __getitem__(self, index):
        return self._values[index]

    def __iter__(self):
        return iter(self._values)


def frame(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


def images(count=5):
    """Give 8-bit images, all different."""
    return [np.arange(4 * i, 4 * i + 4, dtype=np.uint8).reshape(2, 2) for i in range(count)]


def encoded(count=5):
    return 2 * torch.arange(4.0 * count).reshape(count, 1, 2, 2) / 255 - 1


def files(folder, count=5):
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i}.png" for i in range(count)]
    for path, image in zip(paths, images(count), strict=True):
        PILImage.fromarray(image).save(path)
    return paths


@pytest.mark.parametrize("wrap", [dict, Dataset, frame])
@pytest.mark.parametrize("column", [LABELS, CODES])
def test_labels_come_from_mappings_frames_and_datasets(wrap, column):
    rows = Rows(wrap({"X": column, "unused": [None] * 5}), {"X": LETTERS})
    assert rows.batch(torch.arange(5))["X"].tolist() == CODES


@pytest.mark.parametrize(
    "column",
    [
        tuple(LABELS),
        np.array(LABELS),
        np.array(LABELS, dtype=object),
        np.array(CODES),
        np.array(CODES, dtype=np.float64),
        torch.tensor(CODES),
        torch.tensor(CODES, dtype=torch.uint8),
    ],
)
def test_labels_come_in_any_sequence(column):
    assert Rows({"X": column}, {"X": LETTERS}).batch(torch.tensor([1, 1]))["X"].tolist() == [2, 2]


def test_a_frame_with_categories_and_any_index():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"X": pandas.Categorical(LABELS)}, index=[9, 9, 3, 2, 1])
    assert Rows(table, {"X": LETTERS}).batch(torch.arange(5))["X"].tolist() == CODES


@pytest.mark.parametrize("wrap", [dict, Dataset, frame])
@pytest.mark.parametrize("kind", ["arrays", "pil", "paths", "words"])
def test_images_come_as_arrays_pil_and_files(wrap, kind, tmp_path):
    column = {
        "arrays": images,
        "pil": lambda: [PILImage.fromarray(image) for image in images()],
        "paths": lambda: files(tmp_path / "f"),
        "words": lambda: list(map(str, files(tmp_path / "f"))),
    }[kind]()
    rows = Rows(wrap({"I": column, "X": LABELS}), {"I": SMALL, "X": LETTERS})
    torch.testing.assert_close(rows.batch(torch.arange(5))["I"], encoded())
    torch.testing.assert_close(rows.batch(torch.tensor([4, 0]), ["I"])["I"], encoded()[[4, 0]])


def test_images_come_in_one_array():
    stacked = np.stack(images())
    for column in (stacked, stacked[..., None], torch.from_numpy(stacked)[:, None] / 255):
        rows = Rows({"I": column}, {"I": SMALL})
        torch.testing.assert_close(rows.batch(torch.arange(5))["I"], encoded())


def test_files_are_read_when_they_are_used(tmp_path):
    paths = files(tmp_path)
    rows = Rows({"I": paths}, {"I": SMALL})
    paths[3].unlink()
    rows.batch(torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r'"I" cannot be read in row 3: .*3\.png'):
        rows.batch(torch.tensor([4, 3]))


def test_a_file_of_another_size_is_refused_at_once(tmp_path):
    paths = files(tmp_path)
    PILImage.new("L", (3, 3)).save(paths[2])
    with pytest.raises(ValueError, match=r'"I" .*row 2'):
        Rows({"I": paths}, {"I": SMALL})


def test_a_file_that_is_no_image_is_refused_at_once(tmp_path):
    paths = files(tmp_path)
    paths[1].write_text("not an image")
    with pytest.raises(ValueError, match=r'"I" cannot be read in row 1'):
        Rows({"I": paths}, {"I": SMALL})


def test_a_sample_of_many_files_is_read_at_once_and_the_others_when_used(tmp_path):
    paths = files(tmp_path) * 100
    odd = tmp_path / "odd.png"
    odd.write_text("not an image")
    rows = Rows({"I": [*paths[:7], odd, *paths[8:]]}, {"I": SMALL})  # every second is read
    with pytest.raises(ValueError, match=r'"I" cannot be read in row 7'):
        rows.batch(torch.tensor([7]))
    with pytest.raises(ValueError, match=r'"I" cannot be read in row 8'):
        Rows({"I": [*paths[:8], odd, *paths[9:]]}, {"I": SMALL})


@pytest.mark.parametrize("kind", [str, lambda path: path])
@pytest.mark.parametrize("row", [0, 7, 499])
def test_every_file_is_looked_for_at_once(kind, row, tmp_path):
    paths = [kind(path) for path in files(tmp_path) * 100]
    paths[row] = kind(tmp_path / "nowhere.png")
    message = rf'"I" names a file that does not exist in row {row}: got .*nowhere\.png'
    with pytest.raises(ValueError, match=message):
        Rows({"I": paths}, {"I": SMALL})


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_row_without_a_file_is_refused_at_once(nothing, tmp_path):
    paths = files(tmp_path) * 100
    with pytest.raises(ValueError, match=r'"I" .*in row 7'):
        Rows({"I": [*paths[:7], nothing, *paths[8:]]}, {"I": SMALL})


@pytest.mark.parametrize(
    ("variable", "column", "row"),
    [
        (LETTERS, ["a", "b", float("nan")], 2),
        (LETTERS, [0.0, float("nan"), 1.0], 1),
        (LETTERS, [0, 1, None], 2),
        (LETTERS, ["a", "z", "b"], 1),
        (LETTERS, np.array([0, 1, 3]), 2),
        (LETTERS, torch.tensor([0, -1, 1]), 1),
        (SMALL, torch.tensor([0.0, 0.5, float("nan")]).view(3, 1, 1, 1).expand(3, 1, 2, 2), 2),
        (SMALL, [np.zeros((2, 2)), np.full((2, 2), np.nan), np.zeros((2, 2))], 1),
        (SMALL, [np.zeros((2, 2)), np.zeros((2, 2)), np.full((2, 2), 255.0)], 2),
        (SMALL, [np.zeros((2, 2)), np.zeros((3, 2)), np.zeros((2, 2))], 1),
        (SMALL, [np.zeros((2, 2)), None, np.zeros((2, 2))], 1),
    ],
)
def test_a_value_that_cannot_be_is_named_by_variable_and_row(variable, column, row):
    with pytest.raises(ValueError, match=rf'(?s)"V" .*row {row}\b'):
        Rows({"V": column}, {"V": variable}).batch(torch.arange(3))


def test_a_missing_column_is_named():
    with pytest.raises(KeyError, match=r'no column "Y": got .*X.*\. Rename'):
        Rows({"X": LABELS}, {"X": LETTERS, "Y": LETTERS})


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError, match=r"same number of rows.*'X': 5, 'Y': 3"):
        Rows({"X": LABELS, "Y": LABELS[:3]}, {"X": LETTERS, "Y": LETTERS})
    with pytest.raises(ValueError, match="at least one"):
        Rows({"X": []}, {"X": LETTERS})


def test_what_has_no_columns_is_refused():
    with pytest.raises(TypeError, match=r"mapping of columns.*got list"):
        Rows([1, 2], {"X": LETTERS})


def test_counts_are_those_of_a_counter(generator):
    columns = {name: torch.randint(3, (500,), generator=generator) for name in "XYZ"}
    rows = Rows(columns, dict.fromkeys("XYZ", LETTERS))
    distinct, counts = rows.counts(["Z", "X"])
    cells = zip(*(distinct[n].tolist() for n in "ZX"), strict=True)
    found = dict(zip(cells, counts.tolist(), strict=True))
    pairs = list(zip(columns["Z"].tolist(), columns["X"].tolist(), strict=True))
    assert found == {pair: pairs.count(pair) for pair in set(pairs)}


def test_counts_of_many_rows_are_exact():
    many = 300_001
    _, counts = Rows({"X": torch.arange(many) % 2}, {"X": LETTERS}).counts(["X"])
    assert counts.tolist() == [150_001, 150_000]


def test_a_fingerprint_sees_every_value_in_memory():
    def fingerprint(labels, codes, names="XY"):
        rows = Rows({"X": labels, "Y": codes}, {"X": LETTERS, "Y": LETTERS})
        return rows.fingerprint(names)

    same = fingerprint(LABELS, CODES)
    assert same == fingerprint(CODES, np.array(LABELS))
    assert same == fingerprint(LABELS, CODES, "YX")
    assert same != fingerprint(LABELS, [*CODES[:4], 1])
    assert same != fingerprint(LABELS[:4], CODES[:4])
    assert fingerprint(LABELS, CODES, "X") == fingerprint(LABELS, [0] * 5, "X")


@pytest.mark.parametrize("kind", ["pil", "paths"])
def test_a_fingerprint_survives_a_restart(kind, tmp_path):
    """Images decoded on demand are other objects, and files may lie elsewhere."""

    def column(folder):
        pil = [PILImage.fromarray(image) for image in images()]
        return pil if kind == "pil" else files(tmp_path / folder)

    first, second = (Rows({"I": column(folder)}, {"I": SMALL}) for folder in "ab")
    assert first.fingerprint("I") == second.fingerprint("I")
    fewer = Rows({"I": column("a")[:4]}, {"I": SMALL})
    assert first.fingerprint("I") != fewer.fingerprint("I")


def test_a_fingerprint_sees_changed_files(tmp_path):
    before = Rows({"I": files(tmp_path)}, {"I": SMALL}).fingerprint("I")
    PILImage.new("L", (2, 2), 200).save(tmp_path / "3.png")
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    assert Rows({"I": paths}, {"I": SMALL}).fingerprint("I") != before


def test_a_fingerprint_of_many_files_reads_few(tmp_path, monkeypatch):
    path, read = files(tmp_path, 1)[0], []
    encode = Image.encode
    monkeypatch.setattr(
        Image, "encode", lambda s, c, **k: read.append(len(c)) or encode(s, c, **k)
    )
    rows = Rows({"I": [path] * 1000}, {"I": SMALL})
    rows.fingerprint("I")
    rows.fingerprint("I")
    assert 0 < sum(read) <= 256


def test_observational_rows_are_those_in_which_nothing_was_set():
    columns = {"X": [0, 1, 1, 0], "Y": [1, 0, 1, 1], "intervened": ["", "X", "", "X,Y"]}
    rows = Rows(columns, dict.fromkeys("XY", Categorical([0, 1]))).observational()
    assert len(rows) == 2
    assert set(rows.variables) == {"X", "Y"}
    found = rows.batch(torch.arange(2))
    assert {name: codes.tolist() for name, codes in found.items()} == {"X": [0, 1], "Y": [1, 1]}


def test_without_observational_rows_there_are_none():
    columns = {"X": [0, 1], "Y": [1, 0], "intervened": ["X", "Y"]}
    with pytest.raises(ValueError, match="was set by hand are needed: got none"):
        Rows(columns, dict.fromkeys("XY", Categorical([0, 1]))).observational()


def test_taken_rows_are_told_apart_and_read_by_number(tmp_path):
    paths = []
    for i in range(4):
        paths.append(str(tmp_path / f"{i}.png"))
        PILImage.new("L", (2, 2), 60 * i).save(paths[-1])
    rows = Rows({"X": [0, 1, 0, 1], "I": paths}, {"X": Categorical([0, 1]), "I": Image(1, 2, 2)})
    taken = rows.take(torch.tensor([3, 1])).take(torch.tensor([1]))
    alone = taken.batch(torch.tensor([0]))
    assert torch.equal(alone["I"], rows.batch(torch.tensor([1]))["I"])
    assert taken.fingerprint(["I"]) != rows.fingerprint(["I"])
