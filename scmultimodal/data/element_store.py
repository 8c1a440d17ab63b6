"""Labelled stretches of a genome on disk: letters, and the elements of every base.

    manifest.json   versions, territories, provenance, report, sha256 of every file
    letters.npy     uint8 [bases]: A, C, G, T and N
    labels.npy      uint16 [bases]: bit i for `genome.elements.ELEMENTS[i]`

The stretches ("territories") stand one behind the other. Both arrays are appended to
chunk by chunk, and mapped into memory when they are read.
"""

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8, UInt16

from scmultimodal.data import atomic, manifest, mapped
from scmultimodal.data.growing import GrowingArray
from scmultimodal.genome import region_splits
from scmultimodal.genome.elements import ELEMENTS, Painter
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.letters import N, as_letters
from scmultimodal.genome.region_splits import SPLITS
from scmultimodal.schemas.errors import InputError

CHUNK = 1 << 22
"""Bases that are in memory together while a store is written."""

_DTYPES = {"letters": np.uint8, "labels": np.uint16}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Territory:
    """A stretch of a chromosome whose bases are labelled.

    Attributes:
        chrom: as the genome names it.
        start: first bp, from 0.
        end: bp behind the last.
        group: what a fold or interval keeps together: chromosome or region.
        split: of `SPLITS`.
        known: bits of the elements that are known here.
    """

    chrom: str
    start: int
    end: int
    group: int
    split: str
    known: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ElementStore:
    """A prepared, labelled genome, opened. Letters and labels stay on disk.

    Attributes:
        path: the folder.
        manifest: content of `manifest.json`.
        letters: of all territories, one behind the other.
        labels: likewise.
    """

    path: Path
    manifest: dict[str, Any]
    letters: UInt8[np.ndarray, " bases"]
    labels: UInt16[np.ndarray, " bases"]

    @classmethod
    def open(cls, path: str | os.PathLike, *, verify: bool = False) -> "ElementStore":
        """Opens a labelled genome and checks it.

        Args:
            path: the folder.
            verify: also checks the sha256 of letters and labels.

        Raises:
            InputError: a file is missing, truncated, swapped or damaged; names it.
        """
        path = Path(path)
        content = manifest.read(path, manifest.ELEMENTS)
        manifest.check_files(path, content["files"], verify, manifest.ELEMENTS)
        if tuple(content["elements"]) != ELEMENTS:
            raise InputError(path, "has other elements than these", "Prepare it anew")
        size = sum(t["end"] - t["start"] for t in content["territories"])
        arrays = {
            name: mapped.read(path / f"{name}.npy", (size,), dtype)
            for name, dtype in _DTYPES.items()
        }
        return cls(path=path, manifest=content, **arrays)

    def __repr__(self) -> str:
        bases, count = len(self.letters), len(self.territories)
        return f"ElementStore({self.path}: {bases:,} bp in {count} territories)"

    @functools.cached_property
    def territories(self) -> tuple[Territory, ...]:
        """The stretches, in the order of the arrays."""
        return tuple(Territory(**t) for t in self.manifest["territories"])

    @functools.cached_property
    def offsets(self) -> Int64[np.ndarray, " territories"]:
        """Where each territory begins in the arrays."""
        sizes = [t.end - t.start for t in self.territories]
        return np.cumsum([0, *sizes])[:-1]

    def split(self, name: str) -> Int64[np.ndarray, " chosen"]:
        """The territories of "train", "validation", "test" or "none".

        Raises:
            InputError: there is no split of that name.
        """
        region_splits.position(name, self.path)
        return np.flatnonzero([t.split == name for t in self.territories])

    def interval(
        self, chrom: str, start: int, end: int
    ) -> tuple[UInt8[np.ndarray, " bases"], UInt16[np.ndarray, " bases"]]:
        """Letters and labels of an interval (0-based, half-open, bp).

        Raises:
            InputError: no territory holds all of it.
        """
        for territory, offset in zip(self.territories, self.offsets, strict=True):
            if (
                territory.chrom == chrom
                and territory.start <= start < end <= territory.end
            ):
                first = int(offset) + start - territory.start
                part = slice(first, first + end - start)
                return self.letters[part], self.labels[part]
        problem = f"holds not all of {chrom}:{start}-{end}"
        raise InputError(self.path, problem, "Keep to its territories")


def write_element_store(
    path: str | os.PathLike,
    territories: Sequence[Territory],
    genome: Genome,
    painter: Painter,
    *,
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    overwrite: bool = False,
) -> ElementStore:
    """Writes letters and labels of territories, whole or not at all, and opens them.

    Args:
        path: the folder to make.
        territories: disjoint stretches that the genome holds.
        genome: whose letters they are.
        painter: of the labels; bits that are not known in a territory are left out.
        config: what the labels were made with; anything that JSON holds.
        provenance: where the data come from; anything that JSON holds.
        overwrite: replaces what was prepared there before.

    Raises:
        InputError: the folder holds something, there is no territory, or the genome
            lacks one.
    """
    path = Path(path)
    manifest.check_target(path, overwrite, manifest.ELEMENTS)
    if not territories:
        raise InputError(path, "would hold no territory", "Nothing was written")
    counts = _Counts()
    with atomic.folder(path) as folder:
        arrays = {n: GrowingArray(folder / f"{n}.npy", d) for n, d in _DTYPES.items()}
        for territory in territories:
            for letters, labels in _chunks(territory, genome, painter):
                counts.add(territory, letters, labels)
                arrays["letters"].append(letters)
                arrays["labels"].append(labels)
        for array in arrays.values():
            array.close()
        content = {
            "elements": ELEMENTS,
            "territories": [dataclasses.asdict(t) for t in territories],
            "config": dict(config),
            "provenance": dict(provenance),
            "report": counts.report(),
        }
        manifest.write(folder, content, manifest.ELEMENTS)
    return ElementStore.open(path)


def _chunks(
    territory: Territory, genome: Genome, painter: Painter
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(territory.start, territory.end, CHUNK):
        end = min(start + CHUNK, territory.end)
        letters = as_letters(genome.fetch(territory.chrom, start, end))
        labels = painter.paint(territory.chrom, start, end)
        yield letters, labels & np.uint16(territory.known)


class _Counts:
    """Bases of each split: all, those of letter N, and by element those that are
    known to be, or not to be, of it."""

    def __init__(self):
        self._of: dict[str, dict[str, Any]] = {}

    def add(self, territory: Territory, letters: np.ndarray, labels: np.ndarray):
        zeros = np.zeros(len(ELEMENTS), np.int64)
        empty = {"bp": 0, "n": 0, "known": zeros, "of": zeros}
        old = self._of.setdefault(territory.split, empty)
        real = letters != N
        known = np.array([territory.known >> i & 1 for i in range(len(ELEMENTS))])
        of = [int((labels[real] >> i & 1).sum()) for i in range(len(ELEMENTS))]
        self._of[territory.split] = {
            "bp": old["bp"] + len(letters),
            "n": old["n"] + len(letters) - int(real.sum()),
            "known": old["known"] + known * int(real.sum()),
            "of": old["of"] + of,
        }

    def report(self) -> dict[str, Any]:
        return {
            split: {
                "bp": counts["bp"],
                "n": counts["n"],
                "elements": {
                    name: {"known_bp": int(known), "bp": int(of)}
                    for name, known, of in zip(
                        ELEMENTS, counts["known"], counts["of"], strict=True
                    )
                },
            }
            for split, counts in self._of.items()
        }


def format_report(report: Mapping[str, Any]) -> str:
    """Bases of every element by split: a table to print."""
    splits = [name for name in SPLITS if name in report]
    width = max(map(len, ELEMENTS))
    head = "".join(f"{name:>20}" for name in splits)
    lines = [f"{'bases of':<{width}}{head}"]
    for element in ELEMENTS:
        cells = [_share(report[split]["elements"][element]) for split in splits]
        lines.append(f"{element:<{width}}" + "".join(f"{cell:>20}" for cell in cells))
    for name, field in (("all", "bp"), ("N", "n")):
        cells = [f"{report[split][field]:,}" for split in splits]
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)


def _share(counts: Mapping[str, int]) -> str:
    if not counts["known_bp"]:
        return "not known"
    return f"{counts['bp']:,} ({counts['bp'] / counts['known_bp']:.2%})"
