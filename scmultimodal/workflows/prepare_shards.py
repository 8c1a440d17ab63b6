"""From counts of a file to a shard, a few cells at a time: what each worker does.

Both passes write what depends on their input alone, so that a shard that is written
again, by whichever worker, is the same to the byte. Files take their names when they
are whole: a worker that is lost leaves nothing there, and two may write the same shard.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from jaxtyping import Bool, Float64, Int, Int8, Int64

from scmultimodal.data import atomic, writing
from scmultimodal.data.growing import CountsWriter, GrowingArray
from scmultimodal.data.shards import array_path, read_array
from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.ops import csr
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell import (
    counts,
    fragments,
    kernels,
    medians,
    products,
    recipe,
)
from scmultimodal.singlecell.filtering import has_enough
from scmultimodal.singlecell.peaks import PeakAggregation, fragments_in_bands
from scmultimodal.singlecell.sources import CountRows

ROWS_AT_ONCE = 2_048
_UNFINISHED = "unfinished"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alignment:
    """How the counts of one modality of a dataset become those of genes.

    Attributes:
        rows: the counts.
        features: the names of the columns.
        source: what to name in an error.
        weights: what a count of each feature is worth to each gene: int32
            [features, genes], in whole units.
        halve: takes the counts for reads, of which two make a fragment.
        band: of peaks, the nearest distance band (`nearest_band`); None for genes.
        peaks: which peak of the vocabulary each feature is: int32 [features, peaks];
            None where none are kept.
    """

    rows: CountRows
    features: pd.Index
    source: str
    weights: sp.csr_matrix
    halve: bool = False
    band: Int8[np.ndarray, " features"] | None = None
    peaks: sp.csr_matrix | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """The cells of one dataset that make one shard.

    Attributes:
        number: of the shard.
        dataset: name of the dataset.
        cells: their names.
        row: by modality, where they are in the counts; −1 where they are not.
    """

    number: int
    dataset: str
    cells: pd.Index
    row: Mapping[Modality, Int[np.ndarray, " cells"]]

    def __str__(self) -> str:
        """Names the part in an error."""
        return f"{self.dataset}, cells {self.cells[0]} to {self.cells[-1]}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What is the same for all parts of a dataset.

    Attributes:
        folder: of the store that is written.
        alignments: by modality.
        modalities: of the store; the others of a part are empty.
        num_genes: of the vocabulary.
        num_peaks: of the peak vocabulary; 0 where the store keeps no peaks.
        aggregation: of peaks.
        min_feature_fraction: of the filter of cells.
    """

    folder: Path
    alignments: Mapping[Modality, Alignment]
    modalities: tuple[Modality, ...]
    num_genes: int
    num_peaks: int
    aggregation: PeakAggregation
    min_feature_fraction: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Written:
    """A shard of counts.

    Attributes:
        keep: which cells of the part passed the filter; the shard holds these.
        failed: cells that did not, by modality.
        depth: sum of the counts of each cell that is kept, by modality.
        fragments_in: of peaks, by their nearest band, from 0; the last are those of
            no gene; over all cells.
        fragments_in_peaks: those in peaks of the peak vocabulary; over all cells.
    """

    keep: Bool[np.ndarray, " cells"]
    failed: dict[Modality, int]
    depth: dict[Modality, Int64[np.ndarray, " kept"]]
    fragments_in: Int64[np.ndarray, " bands"]
    fragments_in_peaks: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class BinPlan:
    """What is the same for the bins of all shards."""

    folder: Path
    vocabulary: GeneVocabulary
    modalities: tuple[Modality, ...]
    has_peaks: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Span:
    """Some rows of a file."""

    source: str
    start: int
    stop: int

    def __str__(self) -> str:
        """Names the rows in an error."""
        return f"{self.source}, rows {self.start} to {self.stop}"


@contextlib.contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Lets workers write shards into a new store, and nobody after that."""
    unfinished = folder / _UNFINISHED
    unfinished.mkdir()
    writing.shard_path(folder, 0, "").parent.mkdir()
    yield
    atomic.remove(unfinished)


def count_histogram(alignment: Alignment, span: Span) -> fragments.CountHistogram:
    """How often which counts occur in some rows of ATAC."""
    found = fragments.CountHistogram()
    for some in _slices(span.stop, span.start):
        found += fragments.count_histogram(alignment.rows.rows(some.start, some.stop))
    return found


def write_part(plan: Plan, part: Part) -> Written:
    """Aligns the counts of a part and writes those of the cells that are kept.

    Raises:
        InputError: the file is damaged, a value is no count, or the folder of the
            store is not there.
    """
    with _new_files(plan.folder, part.number) as folder:
        return _write_counts(plan, part, folder)


def _write_counts(plan: Plan, part: Part, folder: Path) -> Written:
    columns: dict[str, int] = dict.fromkeys(plan.modalities, plan.num_genes)
    if plan.num_peaks:
        columns[writing.PEAKS] = plan.num_peaks
    writers = {
        name: CountsWriter(folder / name, size) for name, size in columns.items()
    }
    keeps, failed = [], dict.fromkeys(plan.modalities, 0)
    depths = {m: [] for m in plan.modalities}
    in_peaks, fragments_in = 0, np.zeros(len(plan.aggregation.bands_bp) + 1, np.int64)
    for some in _slices(len(part.cells)):
        aligned, keep = {}, np.ones(some.stop - some.start, bool)
        for modality, alignment in plan.alignments.items():
            row = part.row[modality][some]
            raw = read_rows(alignment, row, part.cells[some])
            if alignment.band is not None:
                fragments_in += fragments_in_bands(
                    raw, alignment.band, plan.aggregation
                )
            if alignment.peaks is not None:
                aligned[writing.PEAKS] = products.multiply(raw, alignment.peaks)
                in_peaks += int(aligned[writing.PEAKS].sum())
            aligned[modality] = products.multiply(raw, alignment.weights)
            enough = has_enough(aligned[modality], plan.min_feature_fraction)
            failed[modality] += int(((row >= 0) & ~enough).sum())
            keep &= (row < 0) | enough
        for name, writer in writers.items():
            nothing = sp.csr_matrix((len(keep), columns[name]), dtype=np.int32)
            kept = aligned.get(name, nothing)[keep]
            writer.append(kept)
            if name in depths:
                depths[name].append(kernels.row_sums(kept))
        keeps.append(keep)
    for writer in writers.values():
        writer.close()
    return Written(
        keep=np.concatenate(keeps),
        failed=failed,
        depth={m: np.concatenate(parts) for m, parts in depths.items()},
        fragments_in=fragments_in,
        fragments_in_peaks=in_peaks,
    )


def read_rows(
    alignment: Alignment, row: Int[np.ndarray, " cells"], cells: pd.Index
) -> sp.csr_matrix:
    """Checked counts of some cells, fragments if it is ATAC; −1 gives an empty row."""
    there = np.flatnonzero(row >= 0)
    order = there[np.argsort(row[there], kind="stable")]
    # One read for each run of neighbours; in most files that is one.
    runs = np.split(order, np.flatnonzero(np.diff(row[order]) != 1) + 1)
    blocks = [
        alignment.rows.rows(int(row[run[0]]), int(row[run[-1]]) + 1)
        for run in runs
        if len(run)
    ]
    if not blocks:
        return sp.csr_matrix((len(row), len(alignment.features)), dtype=np.int32)
    found = sp.vstack(blocks, format="csr") if len(blocks) > 1 else blocks[0]
    found = counts.clean_rows(found, cells[order], alignment.features, alignment.source)
    if alignment.halve:
        found.data = fragments.halve(found.data)
    place = np.full(len(row), -1)
    place[order] = np.arange(len(order))
    return csr.take_rows(found, place)


def write_bins(plan: BinPlan, number: int) -> None:
    """Writes the bins of a shard whose counts are there."""
    with _new_files(plan.folder, number) as folder:
        for modality in plan.modalities:
            path = writing.shard_path(plan.folder, number, modality)
            bins = GrowingArray(array_path(folder / modality, "bins"), np.uint8)
            for some in read_counts(path, plan.vocabulary.num_genes):
                bins.append(bin_counts(plan.vocabulary, modality, some).data)
            bins.close()
        if plan.has_peaks:
            path = writing.shard_path(plan.folder, number, writing.PEAKS)
            bins = GrowingArray(array_path(folder / writing.PEAKS, "bins"), np.uint8)
            for _, _, _, values in _blocks(path):
                bins.append(np.ones(len(values), np.uint8))
            bins.close()


def read_counts(path: Path, num_genes: int) -> Iterator[sp.csr_matrix]:
    """The counts of a shard, a few cells after the other."""
    for _, indptr, indices, values in _blocks(path):
        yield csr.wrap(values, indices, indptr, (len(indptr) - 1, num_genes))


def read_blocks(
    path: Path, factors: Float64[np.ndarray, " cells"]
) -> Iterator[medians.Block]:
    """The same for medians; cells that are no training cells have the factor 0."""
    for some, indptr, indices, values in _blocks(path):
        yield medians.Block(indptr, indices, values, factors[some])


def bin_counts(
    vocabulary: GeneVocabulary, modality: Modality, some: sp.csr_matrix
) -> sp.csr_matrix:
    """Counts of one modality to bins, as the vocabulary was fitted."""
    return recipe.bin_counts(
        some,
        unit=vocabulary.atac_unit if modality == Modality.ATAC else 1.0,
        target_sum=vocabulary.recipe["totals"].get(modality),
        medians=getattr(vocabulary, f"{modality}_medians"),
        strategy=vocabulary.recipe["strategy"],
        num_bins=vocabulary.recipe["num_bins"],
    )


@contextlib.contextmanager
def _new_files(folder: Path, number: int) -> Iterator[Path]:
    """A folder whose files move into that of a shard when all are whole."""
    unfinished = folder / _UNFINISHED
    if not unfinished.is_dir():
        raise InputError(
            folder,
            "is not there for a worker",
            "Choose a folder for --out that all workers see by the same name",
        )
    target = writing.shard_path(folder, number, "")
    with atomic.files(target, unfinished) as new:
        yield new


def _blocks(path: Path) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """Cells of a shard, and where their counts begin, their genes and their counts."""
    names = ("indptr", "indices", "counts")
    indptr, indices, values = (read_array(array_path(path, name)) for name in names)
    for some in _slices(len(indptr) - 1):
        ends = indptr[some.start : some.stop + 1].astype(np.int64)
        span = slice(int(ends[0]), int(ends[-1]))
        yield some, ends - ends[0], indices[span], values[span]


def _slices(stop: int, start: int = 0) -> Iterator[slice]:
    for first in range(start, stop, ROWS_AT_ONCE):
        yield slice(first, min(first + ROWS_AT_ONCE, stop))
