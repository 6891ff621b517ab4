"""What does a word on the command line or in a training file stand for?

A graph is text, or a file of text, DOT or dagitty. Rows are a file, a folder of images, a
data set of the Hugging Face Hub, or a system of this package.

| Rows | Read as |
|---|---|
| `rows.csv` | labels, numbers, and image files relative to the csv |
| `rows.parquet` | labels, and image files relative to the file, or arrays |
| `rows.npz` | one array for each variable |
| a folder with `metadata.csv` | the layout called imagefolder; `file_name` is the image |
| `owner/name` | a data set, by the library `datasets` |
| `causal_diffusers:front_door_digits` | rows drawn from that system |

A word that stands for a vector is its numbers with spaces between them.
A column `intervened` names the variables that were set by hand in each row: nothing, `X` or
`"X,Y"`.
"""

from __future__ import annotations

import csv
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from causal_diffusers.graphs import ADMG

if TYPE_CHECKING:
    from causal_diffusers.variables import Variable

__all__ = ["label_of", "read_columns", "read_edge", "read_graph", "read_rows", "read_values"]

INTERVENED = "intervened"
SYSTEMS = "causal_diffusers:"
IMAGE_COLUMN, CHUNK = "file_name", 10_000

_WRITTEN_OUT = re.compile(r"[<>{};:,\n]")
_DAGITTY = re.compile(r"\s*(dag|mag|pdag|pag)\b[^{;]*\{")
_DOT = re.compile(r"\s*(strict\s+)?(di)?graph\b[^{;]*\{")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")

Column = Sequence[Any]
Columns = dict[str, Any]


def read_graph(source: str) -> ADMG:
    """Read a graph from a line of text, or from a file.

    Arguments:
        source: The graph as `ADMG.parse` reads it, as DOT or as dagitty; or the path of a
            file that holds one of these.

    Returns:
        The graph.

    Raises:
        FileNotFoundError: If `source` looks like a path and there is no such file.
        GraphError: If the text is no graph.

    Example:
        >>> read_graph("X -> Y; X <-> Y") == read_graph("dag { X -> Y X <-> Y }")
        True
    """
    text = source
    if not _WRITTEN_OUT.search(source) and (
        Path(source).is_file() or re.search(r"[./\\]", source)
    ):
        text = _existing(Path(source).expanduser()).read_text(encoding="utf-8")
    if _DAGITTY.match(text):
        return ADMG.from_dagitty(text)
    if _DOT.match(text):
        return ADMG.from_dot(text)
    return ADMG.parse(text)


def read_edge(text: str) -> tuple[str, str]:
    """Read one directed edge.

    Arguments:
        text: Such as `"X -> Y"`.

    Returns:
        Cause and effect.

    Raises:
        ValueError: If it is something else.

    Example:
        >>> read_edge("X->Y")
        ('X', 'Y')
    """
    cause, arrow, effect = (part.strip() for part in text.partition("->"))
    if not (cause and arrow and effect) or not re.fullmatch(r"[^<>-]+", cause + effect):
        raise ValueError(f"an edge is written 'X->Y': got {text!r}.")
    return cause, effect


def label_of(variable: Variable, text: str) -> str | float | tuple[float, ...]:
    """Find the value that a word stands for.

    Arguments:
        variable: The variable it is a value of.
        text: A word from a csv file or from the command line.

    Returns:
        The label that is written so, or the numbers of a continuous value; else the word as
        it is, as an integer if it is one.

    Example:
        >>> from causal_diffusers.variables import Categorical
        >>> label_of(Categorical([0, 1]), "1"), label_of(Categorical(["no", "yes"]), "yes")
        (1, 'yes')
    """
    if hasattr(variable, "scale"):  # continuous
        return _numbers(text)
    by_name = {str(label): label for label in getattr(variable, "labels", ())}
    if text in by_name:
        return by_name[text]
    return int(text) if re.fullmatch(r"-?\d+", text) and by_name else text


def read_values(
    words: Sequence[str], variables: Mapping[str, Variable], option: str
) -> dict[str, Any]:
    """Read `NAME=VALUE` for each variable.

    Arguments:
        words: From the command line.
        variables: The variables, by name.
        option: Which option they belong to, for errors.

    Returns:
        Values by name.

    Raises:
        ValueError: If a word is written otherwise, or a name comes twice.

    Example:
        >>> from causal_diffusers.variables import Categorical
        >>> read_values(["X=1"], {"X": Categorical([0, 1])}, "do")
        {'X': 1}
    """
    values: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not value:
            raise ValueError(f"`--{option}` takes NAME=VALUE: got `{word}`. Write `{name}=...`.")
        if name in values:
            raise ValueError(f"`--{option}` takes one value for each name: got `{name}` twice.")
        values[name] = label_of(variables[name], value) if name in variables else value
    return values


def _numbers(text: str) -> str | float | tuple[float, ...]:
    """Read a number, or several; leave other words to be refused with their row."""
    try:
        numbers = tuple(map(float, text.split()))
    except ValueError:
        return text
    return numbers[0] if len(numbers) == 1 else numbers or text


def read_rows(
    source: str,
    variables: Mapping[str, Variable],
    *,
    split: str = "train",
    num_rows: int = 100_000,
    seed: int = 0,
) -> Mapping[str, Any]:
    """Read the rows to train on, or draw them.

    Arguments:
        source: A file, a folder, a data set or a system: see the table above.
        variables: The variables to read, by name.
        split: The split of a data set of the Hub.
        num_rows: How many rows to draw from a system.
        seed: Where the rows of a system come from.

    Returns:
        Columns by name, as `training.Rows` takes them.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If the file is of another kind, or lacks a column.
        ImportError: If it takes a library that is not installed.

    Example:
        >>> from causal_diffusers.variables import Categorical
        >>> read_rows("no-such.csv", {"X": Categorical([0, 1])})
        Traceback (most recent call last):
        ...
        FileNotFoundError: There is no file or folder `no-such.csv`...
    """
    if source.startswith(SYSTEMS):
        return _draw(source.removeprefix(SYSTEMS), num_rows, seed)
    path = Path(source).expanduser()
    kind = "folder" if path.is_dir() else path.suffix.lower()
    if kind in _READERS:
        return _interpret(_READERS[kind](_existing(path)), variables, path)
    if not path.exists() and _HUB_ID.fullmatch(source):
        datasets = _need("datasets", f"The data set `{source}` is read", "datasets")
        return datasets.load_dataset(source, split=split)
    raise ValueError(
        f"Rows are read from .csv, .parquet and .npz files, from a folder with metadata.csv, "
        f"from a data set `owner/name`, or drawn from `{SYSTEMS}front_door_digits`: got "
        f"`{_existing(path)}`. Convert it to one of these."
    )


def read_columns(source: str, names: Sequence[str] | None = None) -> Columns:
    """Read a table whose variables are not described: numbers, and what else there is.

    Arguments:
        source: A .csv, .parquet or .npz file, or a folder with metadata.csv.
        names: Which columns to read; all but `intervened` if None.

    Returns:
        Columns by name: numbers where every word of a column is one, words otherwise.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it is of another kind, or lacks a column.

    Example:
        >>> read_columns("no-such.csv")
        Traceback (most recent call last):
        ...
        FileNotFoundError: There is no file or folder `no-such.csv`...
    """
    path = Path(source).expanduser()
    kind = "folder" if path.is_dir() else path.suffix.lower()
    if kind not in _READERS:
        raise ValueError(
            "A table is read from .csv, .parquet and .npz files, or from a folder with "
            f"metadata.csv: got `{_existing(path)}`."
        )
    columns = _READERS[kind](_existing(path))
    if lost := [name for name in names or () if name not in columns]:
        raise ValueError(f"`{path}` has no column {lost}: it has {list(columns)}.")
    chosen = names or [name for name in columns if name != INTERVENED]
    return {name: _as_numbers(columns[name]) for name in chosen}


def _as_numbers(column: Column) -> Column:
    if not len(column) or not isinstance(column[0], str):
        return column
    try:
        return [float(word) if word else float("nan") for word in column]
    except ValueError:
        return column


def _existing(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(
            f"There is no file or folder `{path}`. Check the spelling; a relative path starts "
            "at the working directory."
        )
    return path


def _read_csv(path: Path) -> Columns:
    with path.open(newline="", encoding="utf-8-sig") as file:
        header, *records = csv.reader(file)
    for line, record in enumerate(records, start=2):
        if len(record) != len(header):
            raise ValueError(
                f"`{path}` has {len(header)} columns: got {len(record)} values in line {line}. "
                "Put values that contain a comma in quotes."
            )
    return dict(zip(header, map(list, zip(*records, strict=True)), strict=False))


def _read_parquet(path: Path) -> Columns:
    frame = _need("pandas", f"`{path}` is read", "pandas pyarrow").read_parquet(path)
    return {name: frame[name].to_list() for name in frame.columns}


def _read_npz(path: Path) -> Columns:
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _read_folder(path: Path) -> Columns:
    return _read_csv(_existing(path / "metadata.csv"))


_READERS: Mapping[str, Callable[[Path], Columns]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
    "folder": _read_folder,
}


def _interpret(columns: Columns, variables: Mapping[str, Variable], path: Path) -> Columns:
    """Turn words into labels and the names of files into paths."""
    images = [name for name, variable in variables.items() if hasattr(variable, "channels")]
    missing = [name for name in images if name not in columns]
    if IMAGE_COLUMN in columns and len(missing) == 1:
        columns = {**columns, missing[0]: columns[IMAGE_COLUMN]}
    folder = path if path.is_dir() else path.parent
    return {
        name: _resolve(columns[name], folder, name)
        if name in images
        else _labels(columns[name], variable)
        for name, variable in variables.items()
        if name in columns
    } | {name: columns[name] for name in {INTERVENED} - {*variables} if name in columns}


def _labels(column: Column, variable: Variable) -> Column:
    if not len(column) or not isinstance(column[0], str):
        return column
    return [label_of(variable, word) for word in column]


def _resolve(column: Column, folder: Path, name: str) -> Column:
    """Complete the names of image files; leave arrays as they are."""
    if not len(column) or not isinstance(column[0], str):
        return column
    paths = [folder / file for file in column]
    for row, path in enumerate(paths):
        if not path.is_file():
            raise FileNotFoundError(
                f'"{name}" has no image `{path}` (row {row}). Paths of images are relative to '
                "the file that names them."
            )
    return paths


def _draw(system: str, num_rows: int, seed: int) -> Columns:
    """Draw in chunks: a system may need memory for each row it draws."""
    import torch

    from causal_diffusers.systems import FrontDoorDigits

    if system != "front_door_digits":
        raise ValueError(
            f"The system to draw rows from is `{SYSTEMS}front_door_digits`: got "
            f"`{SYSTEMS}{system}`."
        )
    digits, generator = FrontDoorDigits(), torch.Generator().manual_seed(seed)
    sizes = [min(CHUNK, num_rows - start) for start in range(0, num_rows, CHUNK)]
    drawn = [digits.sample(size, generator=generator) for size in sizes]
    return {name: torch.cat([chunk[name] for chunk in drawn]) for name in drawn[0]}


def _need(module: str, purpose: str, packages: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImportError(
            f"{purpose} by the library {module}, which is not installed. Run "
            f"`pip install {packages}`."
        ) from None
