r"""What do proteins in a cell tell each other? Real cells, in nine experimental conditions.

Flow cytometry of 7,466 cells, each killed by the measurement. Of the eleven proteins six
are kept here, the branch through PKA and the kinases below it; the phosphoinositides (PLC,
PIP2, PIP3) above are hidden, p38 and JNK, which cause nothing, are left out. From the
consensus graph of 20 edges the latent projection is

$$ \mathit{PKC} \to \mathit{PKA}, \mathit{Raf}, \mathit{Mek}; \quad
   \mathit{PKA} \to \mathit{Raf}, \mathit{Mek}, \mathit{Erk}, \mathit{Akt}; \quad
   \mathit{Raf} \to \mathit{Mek} \to \mathit{Erk} \to \mathit{Akt}; \quad
   \mathit{PKC} \leftrightarrow \mathit{Akt} , $$

the bidirected edge because PIP3 acts on both, on PKC by way of PLC and PIP2.

**Regimes.** Two conditions stimulate the cells and set nothing. As Sachs et al. did, a
reagent that acts on a protein may be taken to *set* it, at the lowest level if it inhibits and
at the highest if it activates, whatever was measured of it. That is a strong reading: a
reagent changes what a protein does, not how much of it is there (under the Mek inhibitor
phosphorylated Mek *rises*), and acts on others besides. `discretise` can also leave the
levels as measured; and it says of each cell in which condition it was, so that a reagent can be a
variable of its own, with an edge to what it acts on: a soft experiment. Two
reagents act on what is hidden here (psitectorigenin on PIP2, LY294002 on PI3K), which no row
of the others can express: their rows are left out.

**Graphs.** Three graphs go by the name of consensus: of 20 edges, the 17 that `bnlearn`
scores against, and one with a cycle among the phosphoinositides, which are hidden here.

**Levels.** Each protein is cut at the quantiles of the training rows. Three levels keep the
order of a concentration and little else: what varies within a level is lost, also as a
confounder, and a level far outside what was seen looks like the outermost one.

References:
    Causal protein-signaling networks derived from multiparameter single-cell data (Sachs,
    Perez, Pe'er, Lauffenburger & Nolan, 2005), Fig. 2-3 and Table 1.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from causal_diffusers.systems.files import find_file

__all__ = ["CONDITIONS", "SACHS_GRAPH", "SACHS_GRAPHS", "discretise", "quantiles", "read_sachs"]

Cells = dict[str, npt.NDArray[np.float64]]

SACHS_GRAPH = (
    "pkc -> pka; pkc -> raf; pkc -> mek; pka -> raf; pka -> mek; pka -> erk; pka -> akt; "
    "raf -> mek -> erk -> akt; pip3: pkc, akt"
)
_BELOW = "pka -> raf; pka -> mek; pka -> erk; pka -> akt; raf -> mek -> erk"
SACHS_GRAPHS: Mapping[str, str] = {
    "consensus_20": SACHS_GRAPH,
    "bnlearn_17": f"pkc -> pka; pkc -> raf; pkc -> mek; {_BELOW}; erk -> akt",
    "cyclic_18": f"pkc -> raf; pkc -> mek; {_BELOW}; pip3: pkc, akt",
}
PROTEINS = ("pkc", "pka", "raf", "mek", "erk", "akt")

# Reagents beside the usual stimulation: the protein that each sets, and whether to high.
CONDITIONS: Mapping[str, tuple[str, bool] | None] = {
    "cd3_cd28": None,
    "icam2": None,
    "aktinhib": ("akt", False),
    "g0076": ("pkc", False),
    "u0126": ("mek", False),
    "pma": ("pkc", True),
    "b2camp": ("pka", True),
}
_HIDDEN = ("psitect", "ly")
_WAY_OUT = (
    "It is the supplement of Sachs et al. (2005), with one column for each protein and one of 0 "
    "and 1 for each reagent; pass its path."
)


def read_sachs(source: str | os.PathLike[str] | None = None) -> dict[str, Cells]:
    """Read the cells of each condition.

    Arguments:
        source: The file `sachs_full.csv`, or a folder that holds it; None for the folder that
            `CAUSAL_DIFFUSERS_DATA` names.

    Returns:
        For each of `CONDITIONS`, the measured columns by protein.

    Raises:
        FileNotFoundError: If there is no such file.

    Example:
        >>> read_sachs("no/such/folder")
        Traceback (most recent call last):
        ...
        FileNotFoundError: There is no `sachs_full.csv` in `no/such/folder`. It is ...
    """
    with find_file("sachs_full.csv", source, _WAY_OUT).open(newline="") as file:
        rows = list(csv.DictReader(file))
    cells: dict[str, Cells] = {}
    for reagent in CONDITIONS:
        own = [row for row in rows if _condition(row) == reagent]
        cells[reagent] = {p: np.array([float(row[p]) for row in own]) for p in PROTEINS}
    return cells


def discretise(
    cells: Mapping[str, Cells],
    hold_out: str = "b2camp",
    levels: int = 3,
    *,
    cut_at: Mapping[str, npt.ArrayLike] | None = None,
    is_hard: bool = True,
) -> tuple[dict[str, list], dict[str, npt.NDArray[np.int64]]]:
    """Cut the cells into levels, and say what was set in them.

    Arguments:
        cells: The cells of each condition.
        hold_out: A condition that is not trained on.
        levels: How many levels.
        cut_at: Where each protein is cut; None cuts at the quantiles of the training rows.
        is_hard: Whether a reagent sets its protein to the outermost level; if not, levels
            are left as they were measured.

    Returns:
        The rows to train on: codes, and the columns `intervened` and `condition`; and the
        codes of the cells held out, as they were measured.

    Example:
        >>> cells = {name: {p: np.arange(6.0) for p in PROTEINS} for name in CONDITIONS}
        >>> rows, held_out = discretise(cells)
        >>> len(rows["mek"]), held_out["mek"].tolist()
        (36, [0, 0, 1, 1, 2, 2])
        >>> sorted(set(rows["intervened"]))
        ['', 'akt', 'mek', 'pkc']
    """
    trained = [name for name in cells if name != hold_out]
    edges = cut_at or quantiles({name: cells[name] for name in trained}, levels)
    codes = {
        name: {p: np.searchsorted(edges[p], own[p]) for p in PROTEINS}
        for name, own in cells.items()
    }
    rows: dict[str, list] = {p: [] for p in (*PROTEINS, "intervened", "condition")}
    for name in trained:
        target = CONDITIONS[name]
        size = len(codes[name][PROTEINS[0]])
        for p in PROTEINS:
            is_set = is_hard and target is not None and target[0] == p
            level = (levels - 1) * (target is not None and target[1])
            rows[p] += [level] * size if is_set else codes[name][p].tolist()
        rows["intervened"] += [target[0] if target else ""] * size
        rows["condition"] += [name] * size
    return rows, codes[hold_out]


def quantiles(cells: Mapping[str, Cells], levels: int = 3) -> dict[str, npt.NDArray[np.float64]]:
    """Cut each protein so that every level has as many cells.

    Arguments:
        cells: The cells of some conditions.
        levels: How many levels.

    Returns:
        The cuts, by protein, with shape (levels - 1,).

    Example:
        >>> quantiles({"icam2": {p: np.arange(7.0) for p in PROTEINS}})["mek"].tolist()
        [2.0, 4.0]
    """
    shares = np.arange(1, levels) / levels
    pooled = {p: np.concatenate([own[p] for own in cells.values()]) for p in PROTEINS}
    return {p: np.quantile(values, shares) for p, values in pooled.items()}


def _condition(row: Mapping[str, str]) -> str:
    """Name the reagent that tells a cell's condition from the usual stimulation."""
    given = [name for name in (*CONDITIONS, *_HIDDEN) if row[name] == "1"]
    return given[-1] if given else ""
