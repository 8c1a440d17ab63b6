"""What a cell model says of the cells of a file, as a file: .h5ad or .zarr.

Counts are read and answers written a block at a time: of each cell memory holds its
name and annotations alone, and its type where types are asked for.
"""

import contextlib
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scmultimodal.data import atomic
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell import inputs, row_files
from scmultimodal.singlecell.fragments import CountChoice
from scmultimodal.weights import export
from scmultimodal.workflows import cell_inference, memory, process
from scmultimodal.workflows.alignment import AlignedCells
from scmultimodal.workflows.cell_inference import Question

VECTORS = "X_scmm"
FACTS = "scmultimodal"
"""In `uns`: where the answers come from, as JSON."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """Cells of a file, and how they are read.

    Attributes:
        path: .h5mu, .h5ad, .csv, .tsv, or an .h5 or a folder by Cell Ranger.
        layer: that holds the counts; None takes X.
        modality: of an .h5ad that leaves it open; of other files, what is taken.
        counts: what the ATAC counts count.
        batch_size: cells computed at a time; None takes what memory has room for.
    """

    path: Path
    layer: str | None = None
    modality: Modality | None = None
    counts: CountChoice = "auto"
    batch_size: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """Where answers go.

    Attributes:
        out: .h5ad or .zarr to make.
        facts: says where they come from, for `uns`: anything that JSON holds.
        overwrite: replaces what stands there.
    """

    out: Path
    facts: Callable[[], Mapping[str, Any]]
    overwrite: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Written:
    """What was written.

    Attributes:
        out: the file.
        cells: how many.
        genes: of the model.
        found: how many of them the data have, by modality.
        seconds: that it took, compiling included.
        peak_mb: the most memory that the process has had.
        peaks: of those of the data, how many the model reads, and all; None where it
            reads genes.
        types: cells of each type, the most frequent first, where types were asked for.
    """

    out: str
    cells: int
    genes: int
    found: dict[str, int]
    seconds: float
    peak_mb: float
    peaks: tuple[int, int] | None = None
    types: dict[str, int] = dataclasses.field(default_factory=dict)

    def format_table(self) -> str:
        """To print."""
        lines = [f"cells        {self.cells:>9,}"]
        have = {"rna": "measured", "atac": "with a peak"}
        lines += [
            f"{m:<4} genes   {n:>9,} of the model's {self.genes:,} {have[m]}"
            for m, n in self.found.items()
        ]
        if self.peaks is not None:
            kept, every = self.peaks
            lines.append(f"peaks        {kept:>9,} of {every:,} are ones it reads")
        lines += [f"{name:<12} {count:>9,}" for name, count in self.types.items()]
        rate = self.cells / max(self.seconds, 1e-9)
        lines += [
            f"rate         {rate:>9,.0f} cells a second, {self.seconds:,.1f} s in all",
            f"peak memory  {self.peak_mb:>9,.0f} MB",
        ]
        return "\n".join(lines)


def embed(model: export.StoredModel, source: Source, target: Target) -> Written:
    """Writes `obsm["X_scmm"]`, a vector for each cell; all of it, or nothing.

    Raises:
        InputError: input that breaks a rule.
    """
    question = cell_inference.embedding(model)
    with _opened(model, source, target) as cells:
        _write_rows(cells, question, f"obsm/{VECTORS}", None)
        return cells.written()


def impute(
    model: export.StoredModel, source: Source, target: Target, modality: Modality
) -> Written:
    """Writes as X what each gene is expected to have, and in which terms, in `uns`.

    See `cell_inference.imputed`.

    Raises:
        InputError: the model was not trained to tell it, or input breaks a rule.
    """
    question = cell_inference.imputed(model, modality)
    genes = model.vocabulary.to_frame().set_index("gene_id")
    with _opened(model, source, target) as cells:
        _write_rows(cells, question, "X", genes)
        return cells.written()


def annotate(model: export.StoredModel, source: Source, target: Target) -> Written:
    """Writes `obs["scmm_cell_type"]` and `obs["scmm_confidence"]` beside other columns.

    Raises:
        InputError: the model knows no cell types, or input breaks a rule.
    """
    question = cell_inference.logits(model)
    with _opened(model, source, target) as cells:
        names = cells.aligned.names
        found = pd.concat([
            cell_inference.name_types(logits, model, names[some])
            for some, logits in cells.answers(question)
        ])  # fmt: skip
        skeleton = cells.skeleton()
        skeleton.obs = skeleton.obs.assign(**found)
        row_files.write(cells.path, skeleton, format=cells.format)
        return cells.written(found[cell_inference.CELL_TYPE].value_counts().to_dict())


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Cells:
    """Cells of a file, the model that is asked, and where the answers go for now."""

    aligned: AlignedCells
    obs: pd.DataFrame
    model: export.StoredModel
    source: Source
    target: Target
    path: Path
    start: float

    @property
    def format(self) -> row_files.Format:
        return row_files.format_of(self.target.out)

    def answers(self, question: Question) -> Iterator[tuple[slice, np.ndarray]]:
        return cell_inference.stream(
            self.model,
            self.aligned,
            question,
            batch_size=self.source.batch_size,
            progress=True,
        )

    def skeleton(self, var: pd.DataFrame | None = None, values: str = "") -> AnnData:
        uns = {FACTS: json.dumps(self.target.facts())}
        if values:
            uns[cell_inference.VALUES] = values
        return AnnData(obs=row_files.plain(self.obs), var=var, uns=uns)

    def written(self, types: Mapping[str, int] | None = None) -> Written:
        coverage = self.aligned.coverage
        return Written(
            out=str(self.target.out),
            cells=self.aligned.num_cells,
            genes=len(coverage),
            found={
                m.value: int((coverage[m] > 0).sum()) for m in self.aligned.modalities
            },
            seconds=round(time.monotonic() - self.start, 3),
            peak_mb=round(memory.peak() / 2**20, 1),
            peaks=self.aligned.peaks_kept,
            types={} if types is None else dict(types),
        )


def _write_rows(
    cells: _Cells, question: Question, name: str, var: pd.DataFrame | None
) -> None:
    with row_files.writing(
        cells.path,
        cells.skeleton(var, question.values),
        name,
        question.width,
        format=cells.format,
    ) as file:
        for some, values in cells.answers(question):
            file[some] = values


@contextlib.contextmanager
def _opened(
    model: export.StoredModel, source: Source, target: Target
) -> Iterator[_Cells]:
    """Opens the cells; what is written to the path within takes its name at the end."""
    start, out = time.monotonic(), target.out
    _check_target(target, source.path)
    new = atomic.file if row_files.format_of(out) == "h5ad" else atomic.folder
    with (
        process.terminable(),
        new(out) as path,
        tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=path.parent) as scratch,
    ):
        # Within it what cannot be read by row is sorted.
        dataset = inputs.open_dataset(
            source.path,
            Path(scratch) / "counts",
            name=source.path.name,
            layer=source.layer,
            modality=source.modality,
        )
        aligned = AlignedCells(
            dataset,
            model.vocabulary,
            model.config.modalities,
            peaks=model.peaks,
            counts=source.counts,
            progress=True,
        )
        yield _Cells(
            aligned=aligned,
            obs=dataset.obs,
            model=model,
            source=source,
            target=target,
            path=path,
            start=start,
        )


def _check_target(target: Target, data: Path) -> None:
    out = target.out
    atomic.check_writable(out.parent)
    atomic.check_apart(out, data)
    kept = "an .h5ad file" if row_files.format_of(out) == "h5ad" else "a zarr folder"
    if out.exists() and not row_files.is_one(out):
        raise InputError(out, f"exists and is not {kept}", "Choose another --out")
    if out.exists() and not target.overwrite:
        raise InputError(out, "exists", "Choose another --out, or give --overwrite")
