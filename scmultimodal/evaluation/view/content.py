"""What a page shows, as data."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Integer, UInt8

from scmultimodal.evaluation.view.packing import Arrays
from scmultimodal.schemas.errors import InputError

TOP = 250
"""Highest byte of a track; 255 is not known."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Category:
    """A word for each cell.

    Attributes:
        name: of the field.
        classes: the words.
        codes: position of each cell's word; −1 where there is none.
        named: whether the words are written on the map.
        sure: name of the field that tells how sure they are.
        told: whether a cell that is pointed at is described by it.
    """

    name: str
    classes: Sequence[str]
    codes: Integer[np.ndarray, " cells"]
    named: bool = False
    sure: str = ""
    told: bool = True

    def as_json(self, arrays: Arrays) -> dict[str, Any]:
        """With codes from 1; 0 where there is none."""
        return {
            "name": self.name,
            "kind": "category",
            "classes": list(self.classes),
            "named": self.named,
            "sure": self.sure,
            "told": self.told,
            "codes": arrays.add((self.codes + 1).astype(np.uint16)),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Number:
    """A number for each cell; NaN where there is none.

    Attributes:
        name: of the field.
        values: the numbers.
        ends: what the first and last colour stand for; None takes the ends of `values`.
        told: whether a cell that is pointed at is described by it.
    """

    name: str
    values: Float32[np.ndarray, " cells"]
    ends: tuple[float, float] | None = None
    told: bool = True

    def as_json(self, arrays: Arrays) -> dict[str, Any]:
        """With its ends."""
        known = self.values[np.isfinite(self.values)]
        values = np.where(np.isfinite(self.values), self.values, np.float32(np.nan))
        low, high = known.min(initial=np.inf), known.max(initial=-np.inf)
        low, high = self.ends or ((low, high) if len(known) else (0, 1))
        return {
            "name": self.name,
            "kind": "number",
            "told": self.told,
            "low": float(low),
            "high": float(high),
            "values": arrays.add(values),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gene:
    """A gene that cells can be coloured by.

    Attributes:
        symbol: its name.
        gene_id: its ID.
        speaks_for: the cell type that it is a marker of; empty where there is none.
        levels: modality -> a value for each cell, 0 or more.
    """

    symbol: str
    gene_id: str
    speaks_for: str
    levels: Mapping[str, Float32[np.ndarray, " cells"]]

    def as_json(self, arrays: Arrays) -> dict[str, Any]:
        """Values as bytes of the highest."""
        levels = {}
        for modality, values in self.levels.items():
            shades, top = to_bytes(values)
            levels[modality] = {"bytes": arrays.add(shades), "top": top}
        return {
            "symbol": self.symbol,
            "id": self.gene_id,
            "of": self.speaks_for,
            "levels": levels,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Where cells lie.

    Attributes:
        name: of the vectors that are laid out.
        how: the way it was done.
        places: of the cells.
    """

    name: str
    how: str
    places: Float32[np.ndarray, "cells 2"]

    def as_json(self, arrays: Arrays) -> dict[str, Any]:
        """Bit for bit."""
        x, y = np.ascontiguousarray(self.places.T, np.float32)
        return {
            "name": self.name,
            "how": self.how,
            "x": arrays.add(x),
            "y": arrays.add(y),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellMap:
    """Cells on a plane.

    Attributes:
        cell_ids: names of the cells.
        layouts: where they lie, the first at once; one at least.
        note: what a reader should know, in a few words.
        fields: what they can be coloured by, the first at once; one at least.
        genes: likewise.
        unit: what values of genes are.
        chosen: how the genes were chosen.
    """

    cell_ids: Sequence[str]
    layouts: Sequence[Layout]
    fields: Sequence[Category | Number]
    genes: Sequence[Gene] = ()
    unit: str = ""
    chosen: str = ""
    note: str = ""

    def __post_init__(self):
        """Raises InputError for cells that do not match."""
        sizes = {len(self.cell_ids), *(len(of.places) for of in self.layouts)}
        sizes |= {
            len(getattr(f, "codes", getattr(f, "values", ""))) for f in self.fields
        }
        sizes |= {len(v) for gene in self.genes for v in gene.levels.values()}
        if len(sizes) != 1:
            problem = f"have {' or '.join(map(str, sorted(sizes)))} values each"
            raise InputError("cells", problem, "Give each cell one of every field")
        if not self.fields or not self.layouts:
            raise InputError("cells", "lack a field or a layout", "Give one of each")

    def as_json(self, arrays: Arrays) -> dict[str, Any]:
        """All of it."""
        return {
            "count": len(self.cell_ids),
            "note": self.note,
            "ids": arrays.add_words(self.cell_ids),
            "layouts": [layout.as_json(arrays) for layout in self.layouts],
            "fields": [field.as_json(arrays) for field in self.fields],
            "genes": [gene.as_json(arrays) for gene in self.genes],
            "unit": self.unit,
            "chosen": self.chosen,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Track:
    """A value for each base of a stretch; NaN where it is not known.

    Attributes:
        name: of what is told.
        values: of the bases.
        ends: what the foot and the top of the track stand for.
        truth: 0 or 1 where it is known what is right, 2 where it is not.
    """

    name: str
    values: Float32[np.ndarray, " bases"]
    ends: tuple[float, float] = (0.0, 1.0)
    truth: UInt8[np.ndarray, " bases"] | None = None

    def as_json(self, arrays: Arrays) -> dict[str, Any]:
        """Values as bytes between the ends."""
        low, high = self.ends
        shares = (self.values - low) / ((high - low) or 1)
        known: Bool[np.ndarray, " bases"] = np.isfinite(shares)
        levels = np.rint(TOP * np.clip(np.where(known, shares, 0), 0, 1))
        return {
            "name": self.name,
            "low": low,
            "high": high,
            "values": arrays.add(np.where(known, levels, 255).astype(np.uint8)),
            "truth": None if self.truth is None else arrays.add(self.truth),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Locus:
    """Tracks along a stretch of a genome.

    Attributes:
        chrom: chromosome.
        start: first bp.
        end: bp behind the last.
        tracks: in their order.
        genes: symbol, strand, start, end and boxes of the genes under them.
        note: what a reader should know.
        title: of the stretch; its place if not given.
    """

    chrom: str
    start: int
    end: int
    tracks: Sequence[Track]
    genes: Sequence[Mapping[str, Any]] = ()
    note: str = ""
    title: str = ""

    def as_json(self, arrays: Arrays) -> dict[str, Any]:
        """All of it."""
        place = f"{self.chrom}:{self.start:,}-{self.end:,}"
        return {
            "name": f"{self.title}, {place}" if self.title else place,
            "chrom": self.chrom,
            "start": self.start,
            "end": self.end,
            "note": self.note,
            "tracks": [track.as_json(arrays) for track in self.tracks],
            "genes": [dict(gene) for gene in self.genes],
        }


def to_bytes(
    values: Float32[np.ndarray, " cells"],
) -> tuple[UInt8[np.ndarray, " cells"], float]:
    """A byte for each value, 255 being the highest; what is above 0 has 1 or more.

    What is not finite counts as 0.
    """
    values = np.where(np.isfinite(values), np.maximum(values, 0), 0)
    top = float(values.max(initial=0))
    if not top > 0 or not math.isfinite(top):
        return np.zeros(len(values), np.uint8), 0.0
    shades = np.rint(255.0 * (values / top))
    return np.where(values > 0, np.maximum(shades, 1), 0).astype(np.uint8), top
