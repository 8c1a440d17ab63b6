"""The files of `scmultimodal prepare`: opened, and put together as a store."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scmultimodal import genome
from scmultimodal.data import atomic, manifest, peak_vocabulary
from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.data.store import Store
from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.genome import text_files
from scmultimodal.genome.annotation import GENE_COLUMNS
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell import cell_annotations, peak_index
from scmultimodal.singlecell.genes import gene_mismatch, match_genes
from scmultimodal.singlecell.inputs import Dataset
from scmultimodal.workflows import prepare, prepare_plan, provenance, runners
from scmultimodal.workflows.input_files import InputFile, Kind, open_file
from scmultimodal.workflows.prepare_config import PrepareConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
    """What is to be prepared.

    Attributes:
        files: path and kind, in the order of the cells.
        annotation: GTF, BED or a table like them.
        layer: that holds the counts; None takes X.
        chain: UCSC chain by which peaks are lifted.
        lifted: the files that it is for; all with ATAC if none is named.
        peaks: BED of the peaks of fragments; None takes tiles.
        tile_bp: length of a tile.
        barcodes: list of the cells of fragments; None takes those above the knee.
        cells: tables about cells, whose columns join those of the files.
        vocabulary: a prepared dataset or model whose genes are taken with its
            medians, or a list of genes; None takes what the datasets share.
        peak_tokens: a prepared dataset or model whose peaks are kept, or a BED of
            them; None leaves it to the configuration, and to `vocabulary`, where that
            has peaks.
    """

    files: Sequence[tuple[Path, Kind]]
    annotation: Path
    layer: str | None = None
    chain: Path | None = None
    lifted: Sequence[Path] = ()
    peaks: Path | None = None
    tile_bp: int = 500
    barcodes: Path | None = None
    cells: Sequence[Path] = ()
    vocabulary: Path | None = None
    peak_tokens: Path | None = None


def run(
    sources: Sources,
    config: PrepareConfig,
    out: Path,
    *,
    runner: runners.Runner,
    command: str,
    overwrite: bool = False,
) -> Store:
    """Prepares files.

    Args:
        sources: the files.
        config: the numbers.
        out: folder of the prepared dataset.
        runner: who does the work; files are opened by it too, so that one that ends
            the process that reads it does not end this one.
        command: that repeats this run; for the manifest.
        overwrite: replaces a prepared dataset at `out`.

    Raises:
        InputError: a file that breaks a rule; nothing is left at `out` then.
    """
    _check(sources)
    manifest.check_target(out, overwrite)
    atomic.check_writable(out)
    genes = genome.read_genes(sources.annotation)
    vocabulary = None
    if sources.vocabulary is not None:
        vocabulary = _read_vocabulary(sources.vocabulary, genes, config.min_resolved)
    with _scratch(out) as folder:
        files = _input_files(sources, config, folder)
        datasets = list(runner.map(open_file, None, files))
        cells = cell_annotations.join([d.obs for d in datasets], sources.cells)
        datasets = [
            dataclasses.replace(dataset, obs=obs)
            for dataset, obs in zip(datasets, cells, strict=True)
        ]
        return prepare.run_datasets(
            datasets,
            genes,
            config,
            out,
            provenance={
                "name": ", ".join(dataset.name for dataset in datasets),
                "command": command,
                "files": _provenance(sources),
                **provenance.of_code(),
            },
            vocabulary=vocabulary,
            peaks=_read_peaks(sources, config),
            chains=_chains(sources, files, datasets),
            runner=runner,
        )


def _check(sources: Sources) -> None:
    if not sources.files:
        raise InputError(
            "prepare", "no counts are given",
            "Name files by --multiome, --rna, --atac or --fragments",
        )  # fmt: skip
    paths = [path.resolve() for path, _ in sources.files]
    for place, path in enumerate(paths):
        if path in paths[:place]:
            raise InputError(path, "is given twice", "Name each file once")
        if not path.exists():
            raise InputError(path, "does not exist", "Check the path")
    strangers = {path.resolve() for path in sources.lifted} - set(paths)
    if strangers:
        problem = "is to be lifted, and is not among the counts"
        raise InputError(min(strangers), problem, "Name it by --atac or --multiome")
    if sources.lifted and sources.chain is None:
        raise InputError("--lift", "there is no chain", "Give it by --chain")


def _input_files(
    sources: Sources, config: PrepareConfig, folder: Path
) -> list[InputFile]:
    paths = [path for path, _ in sources.files]
    counted = "insertions" if config.recipe.counts == "insertions" else "fragments"
    # Workers of a cluster may be in other folders.
    options = {
        "peaks": sources.peaks and sources.peaks.absolute(),
        "tile_bp": sources.tile_bp,
        "barcodes": sources.barcodes and sources.barcodes.absolute(),
        "counts": counted,
    }
    return [
        InputFile(
            path=path.absolute(),
            kind=kind,
            name=name,
            scratch=folder,
            layer=sources.layer,
            options=options if kind == "fragments" else {},
        )
        for (path, kind), name in zip(
            sources.files, prepare_plan.name_datasets(paths), strict=True
        )
    ]


def _chains(
    sources: Sources, files: Sequence[InputFile], datasets: Sequence[Dataset]
) -> dict[str, Path]:
    if sources.chain is None:
        return {}
    lifted = {path.resolve() for path in sources.lifted}
    return {
        file.name: sources.chain
        for file, dataset in zip(files, datasets, strict=True)
        if Modality.ATAC in dataset.counts
        and (not lifted or file.path.resolve() in lifted)
    }


def _read_vocabulary(
    path: Path, genes: pd.DataFrame, min_resolved: float
) -> GeneVocabulary | pd.DataFrame:
    if not path.is_dir():
        return _read_list(path, genes, min_resolved)
    # Both compare the sha256: a median that is a little off shows nowhere.
    if (path / manifest.FILE_NAME).is_file():
        return Store.open(path).vocabulary
    # With jax, which preparing does without.
    from scmultimodal.weights import export

    return export.load(path).vocabulary


def _read_peaks(sources: Sources, config: PrepareConfig) -> PeakVocabulary | None:
    """The set of peaks that is given, if any is."""
    path = sources.peak_tokens
    if path is None and config.peak_tokens is None and sources.vocabulary is not None:
        has = (sources.vocabulary / peak_vocabulary.FILE_NAME).is_file()
        path = sources.vocabulary if has else None
    if path is None:
        return None
    if path.is_dir():
        return PeakVocabulary.load(path)
    origin = {"how": "given", "file": provenance.of_file(path)}
    return PeakVocabulary.from_frame(peak_index.read_peaks(path), origin=origin)


def _read_list(path: Path, genes: pd.DataFrame, min_resolved: float) -> pd.DataFrame:
    """The genes of a list: IDs or symbols, one in a line."""
    remedy = "Give one ID or symbol in a line"
    with text_files.reading(path, remedy=remedy), text_files.open_text(path) as text:
        lines = text.read().splitlines()
    names = list(dict.fromkeys(line.split()[0] for line in lines if line.strip()))
    if not names:
        raise InputError(path, "names no gene", remedy)
    var = pd.DataFrame(index=pd.Index(names, dtype=object))
    match = match_genes(var, genes)
    found = match.row >= 0
    if found.mean() < min_resolved:
        raise gene_mismatch(var, genes, found, path)
    rows = match.row[found]
    table = genes.iloc[rows[np.sort(np.unique(rows, return_index=True)[1])]]
    return table[list(GENE_COLUMNS)].reset_index(drop=True)


def _provenance(sources: Sources) -> list[dict[str, Any]]:
    files = [path for path, _ in sources.files]
    others = (sources.annotation, sources.chain, sources.peaks, sources.barcodes)
    if sources.vocabulary is not None and sources.vocabulary.is_file():
        others += (sources.vocabulary,)
    others += tuple(sources.cells)
    every = [*files, *(path for path in others if path is not None)]
    return [
        provenance.of_file(inner)
        for path in every
        for inner in provenance.files_of(path)
    ]


@contextlib.contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """A folder beside the result, so that all workers see it and it is as large."""
    parent = out.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.sorting-", dir=parent))
    try:
        yield folder
    finally:
        atomic.remove(folder)
