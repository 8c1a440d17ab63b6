"""Which barcodes of a fragments file are cells: by a list, or by how many they have."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int

from scmultimodal.genome import text_files
from scmultimodal.schemas.errors import InputError

FEWEST_BARCODES = 100
"""Among fewer no knee is looked for."""

_LIST = "Give one barcode per line, or a table whose first column they are"
_LEAST_FALL = 0.1  # powers of ten below the chord
_REMEDY = "Name the cells with --barcodes, such as Cell Ranger's barcodes.tsv.gz"
_HEADS = ("", "barcode", "barcodes", "cell", "cells", "cell_id", "index")
_IS_CELL = ("is__cell_barcode", "is_cell_barcode", "is_cell")  # Cell Ranger ATAC, ARC
_NO_BARCODE = "NO_BARCODE"  # its row for reads without one


def read_barcodes(path: Path) -> pd.Index:
    """Reads a list of cells, gzipped or not, in its order.

    Args:
        path: one barcode per line; or a table with commas or tabs whose first column
            they are. A header is known by its first word. Where it has a column
            `is__cell_barcode` or `is_cell`, as Cell Ranger's singlecell.csv and
            per_barcode_metrics.csv have, rows with a 1 there are cells.

    Raises:
        InputError: the file cannot be read, names no cell, or names one twice.
    """
    with text_files.reading(path, remedy=_LIST), text_files.open_text(path) as file:
        try:
            names = pd.Index(_cells(file, path), dtype=object)
        except csv.Error as error:
            raise InputError(path, f"is no table ({error})", _LIST) from error
    if not len(names):
        raise InputError(path, "names no cell", _LIST)
    if names.has_duplicates:
        first = names[names.duplicated()][0]
        problem = f"barcode {first!r} occurs {int((names == first).sum())} times"
        raise InputError(path, problem, "Name each cell once")
    return names


class Knee(NamedTuple):
    """Where cells end; see `find_knee`. All are numbers of fragments per barcode."""

    upper: int
    """Where the curve begins to fall."""
    lower: int
    """Where the fall has ended."""
    least: int
    """The least that a cell has: half-way down, as the geometric mean."""


def find_knee(fragments: Int[np.ndarray, " barcodes"], source: object) -> Knee:
    """Finds the cliff between cells and background.

    The curve: log10 of the fragments of a barcode over log10 of its rank by them. Its
    upper bend is the point furthest above the chord between its ends; its lower bend
    the point furthest below the chord from the upper bend to the right end. Hardly any
    barcode lies in the fall between.

    Args:
        fragments: of each barcode, from 1.
        source: what to name in an error.

    Raises:
        InputError: there are fewer than `FEWEST_BARCODES`, or there is no lower bend:
            a file of cells alone or of background alone.
    """
    if len(fragments) < FEWEST_BARCODES:
        problem = (
            f"has {len(fragments)} barcodes, too few to tell cells by the knee of "
            f"their fragments, which takes {FEWEST_BARCODES}"
        )
        raise InputError(source, problem, _REMEDY)
    value = np.sort(fragments)[::-1]
    x, y = np.log10(np.arange(1, len(value) + 1)), np.log10(value)
    upper = int(_above_chord(x, y).argmax())
    height = _above_chord(x[upper:], y[upper:])
    lower = upper + int(height.argmin())
    if height.min() > -_LEAST_FALL:
        problem = (
            f"has no knee: the fragments of its {len(fragments)} barcodes, from "
            f"{value[0]} to {value[-1]}, nowhere fall from many to few"
        )
        raise InputError(source, problem, _REMEDY)
    high, low = int(value[upper]), int(value[lower])
    return Knee(upper=high, lower=low, least=int(np.ceil(np.sqrt(high * low))))


def _above_chord(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far above the line between the ends; as far as the distance but a factor."""
    if len(x) < 3:
        return np.zeros(len(x))
    return y - (y[0] + (x - x[0]) * (y[-1] - y[0]) / (x[-1] - x[0]))


def _cells(file: Iterable[str], path: Path) -> list[str]:
    lines = [line for line in file if line.strip() and not line.startswith("#")]
    if not lines:
        return []
    mark = "\t" if "\t" in lines[0] else ","
    rows = csv.reader(lines, delimiter=mark)
    head = [word.strip().lower() for word in next(rows)]
    if head[0] not in _HEADS:
        head, rows = [], csv.reader(lines, delimiter=mark)
    is_cell = next((head.index(name) for name in _IS_CELL if name in head), None)
    cells = []
    for row in rows:
        if is_cell is not None and len(row) <= is_cell:
            problem = f"row {row[0]!r} has {len(row)} columns, not {len(head)}"
            raise InputError(path, problem, "Is the file complete?")
        if row[0] != _NO_BARCODE and (
            is_cell is None or row[is_cell].lower() in ("1", "true")
        ):
            cells.append(row[0].strip())
    return cells
