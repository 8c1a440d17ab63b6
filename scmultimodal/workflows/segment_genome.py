"""Elements along a genome, written as tracks and pictures."""

import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tqdm
from jaxtyping import Float, Float32, UInt8

from scmultimodal.data import atomic
from scmultimodal.genome import gene_models, intervals, region_splits
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.interval_tables import read_places
from scmultimodal.genome.letters import as_letters
from scmultimodal.genome.region_splits import ChromosomeSplit
from scmultimodal.genome.transcripts import read_transcripts
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights.genome_model import StoredGenomeModel
from scmultimodal.workflows import (
    genome_inference,
    provenance,
    segmentation_inference,
    tracks,
)
from scmultimodal.workflows.segmentation_inference import StitchingConfig
from scmultimodal.workflows.tracks import TrackFormat

REPORT = "segments.json"
_COLUMNS = 1_500
"""Of a picture: means of neighbouring bases."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segmented:
    """What was written.

    Attributes:
        elements: share of the known bases whose probability is above one half.
        regions: how many.
        bases: of them all.
        unknown: bases without a value: N.
        seconds: that it took.
        pictures: files.
    """

    elements: dict[str, float]
    regions: int
    bases: int
    unknown: int
    seconds: float
    pictures: list[str]

    def format_table(self) -> str:
        """To print."""
        width = max(map(len, self.elements))
        lines = [f"{'element':<{width}}  share of bp above one half"]
        lines += [f"{name:<{width}}  {s:>9.3%}" for name, s in self.elements.items()]
        rate = self.bases / max(self.seconds, 1e-9)
        lines.append(
            f"{self.bases:,} bp in {self.regions:,} regions, {self.unknown:,} of them "
            f"N; {self.seconds:,.0f} s, {rate:,.0f} bp/s"
        )
        return "\n".join(lines)


def run(
    model: StoredGenomeModel,
    fasta: Path,
    out: Path,
    *,
    regions: Path | None = None,
    elements: Sequence[str] = (),
    format: TrackFormat = "bedgraph",
    gtf: Path | None = None,
    figures: int = 10,
    stitching: StitchingConfig | None = None,
    overwrite: bool = False,
) -> Segmented:
    """Segments parts of a genome; writes all of it, or nothing.

    Args:
        model: with a segmenter.
        fasta: the genome.
        out: folder to make.
        regions: BED; overlapping ones are joined. None takes the whole genome.
        elements: names of those to write; none names all that were learned.
        format: of the tracks.
        gtf: genes to draw.
        figures: pictures at most, of the first regions.
        stitching: how long sequences are cut.
        overwrite: replaces what was written there before.

    Raises:
        InputError: input that breaks a rule; nothing is written then.
    """
    segmenter = genome_inference.require_segmenter(model)
    _check_target(out, overwrite)
    for path in filter(None, (fasta, regions, gtf)):
        atomic.check_apart(out, path)
    names = elements or segmenter.learned
    if unknown := sorted(set(names) - set(segmenter.learned)):
        raise InputError(
            "--elements",
            f"{unknown[0]!r} is none that the model has learned",
            f"Name some of {', '.join(segmenter.learned)}",
        )
    columns = [segmenter.elements.index(name) for name in names]
    genes = None if gtf is None else read_transcripts(gtf)
    stitching = stitching or StitchingConfig()
    if figures:
        check_figures()
    start = time.monotonic()
    with Genome.open(fasta) as genome, atomic.folder(out) as folder:
        places = _places(genome, regions, fasta)
        found = _Summary(len(names))
        pictures, drawn = [], []
        with (
            tracks.opened(folder, names, genome.chromosomes, format) as files,
            _bar(places) as bar,
        ):
            for number, place in enumerate(places):
                chrom, low, high = place
                picture = _Picture(high - low, len(names))
                for at, part in _parts(model, genome, place, stitching):
                    chosen = part[:, columns]
                    files.write(chrom, at, chosen)
                    found.add(chosen)
                    picture.add(chosen)
                    bar.update(len(part))
                if number < figures:
                    here = None if genes is None else gene_models.within(genes, place)
                    pictures.append(_draw(folder, place, picture.means(), names, here))
                    drawn.append(_drawn(place, here))
        result = Segmented(
            elements=dict(zip(names, found.shares(), strict=True)),
            regions=len(places),
            bases=found.bases,
            unknown=found.unknown,
            seconds=round(time.monotonic() - start, 3),
            pictures=[path.name for path in pictures],
        )
        content = {
            "kind": "scmultimodal.segments",
            **dataclasses.asdict(result),
            "drawn": drawn,
            "format": format,
            **provenance.of_code(),
            "command": provenance.of_run()["command"],
        }
        (folder / REPORT).write_text(json.dumps(content, indent=1) + "\n")
    return result


def read_report(folder: Path) -> dict[str, Any]:
    """What `run` told of itself.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / REPORT
    try:
        content = json.loads(path.read_text("utf-8"))
        if not {"elements", "regions", "bases", "unknown"} <= content.keys():
            raise ValueError("a field is missing")
    except (AttributeError, ValueError) as error:
        raise InputError(path, f"is damaged ({error})", "Run segment again") from error
    return content


def check_figures() -> None:
    """Raises InputError where nothing can be drawn, before work is done for it."""
    from scmultimodal.evaluation.figures import locus  # noqa: F401


def _parts(
    model: StoredGenomeModel,
    genome: Genome,
    place: tuple[str, int, int],
    stitching: StitchingConfig,
) -> Iterator[tuple[int, Float32[np.ndarray, "bases elements"]]]:
    """Values of a place, part after part, and where each begins.

    What lies around it is read too, as far as the record goes.
    """
    chrom, low, high = place
    window_bp, margin_bp, unit_bp = segmentation_inference.sizes(model, stitching)
    first, last = segmentation_inference.around(
        low,
        high,
        _record(genome, place),
        window_bp=window_bp,
        margin_bp=margin_bp,
        unit_bp=unit_bp,
    )

    def letters_of(start: int, end: int) -> UInt8[np.ndarray, " bases"]:
        return as_letters(genome.fetch(chrom, first + start, first + end))

    at = first
    for part in segmentation_inference.stream(
        model, last - first, letters_of, stitching
    ):
        kept = part[max(low - at, 0) : max(high - at, 0)]
        if len(kept):
            yield max(at, low), kept
        at += len(part)


def _record(genome: Genome, place: tuple[str, int, int]) -> tuple[int, int]:
    """Ends of the record that holds a place."""
    chrom, low, high = place
    return next(
        (piece.start, piece.end)
        for piece in genome.pieces
        if piece.chrom == chrom and piece.start <= low < high <= piece.end
    )


class _Summary:
    """Bases, and how many of them are above one half."""

    def __init__(self, columns: int):
        self._above = np.zeros(columns, np.int64)
        self.bases = self.unknown = 0

    def add(self, values: Float32[np.ndarray, "bases elements"]) -> None:
        self.bases += len(values)
        self.unknown += int(np.isnan(values[:, 0]).sum())
        self._above += (values > 0.5).sum(0)

    def shares(self) -> list[float]:
        return (self._above / max(self.bases - self.unknown, 1)).tolist()


class _Picture:
    """Means over neighbouring bases, as many as a picture has columns."""

    def __init__(self, length: int, columns: int):
        self._length, self._at = length, 0
        self._width = min(length, _COLUMNS)
        self._sums = np.zeros((self._width, columns))
        self._counts = np.zeros((self._width, 1))

    def add(self, values: Float32[np.ndarray, "bases elements"]) -> None:
        bases = np.arange(self._at, self._at + len(values))
        known = np.isfinite(values[:, 0])
        column = (bases * self._width // self._length)[known]
        np.add.at(self._sums, column, values[known])
        np.add.at(self._counts, column, 1)
        self._at += len(values)

    def means(self) -> Float[np.ndarray, "columns elements"]:
        with np.errstate(invalid="ignore"):
            return self._sums / self._counts


def _places(
    genome: Genome, regions: Path | None, fasta: Path
) -> list[tuple[str, int, int]]:
    """Disjoint stretches in the order of the genome, each within one record.

    Raises:
        InputError: the genome lacks one.
    """
    if regions is None:
        found = region_splits.by_chromosome(
            ChromosomeSplit(train=tuple(genome.chromosomes), validation=(), test=()),
            genome,
        )
        return [
            (chrom, int(start), int(end))
            for chrom, parts in found.items()
            for start, end in zip(parts.start, parts.end, strict=True)
        ]
    table = read_places(regions)
    style = intervals.chromosome_style(genome.chromosomes, fasta)
    table["chrom"] = intervals.rename_chromosomes(table["chrom"], style)
    order = {chrom: number for number, chrom in enumerate(genome.chromosomes)}
    joined: list[tuple[str, int, int]] = []
    unknown = table["chrom"].map(order).isna()
    if bool(unknown.any()):
        row = table[unknown].iloc[0]
        genome.fetch(row["chrom"], int(row["start"]), int(row["end"]))
    table["order"] = table["chrom"].map(order)
    for row in table.sort_values(["order", "start"]).itertuples():
        chrom, low, high = str(row.chrom), int(row.start), int(row.end)
        if joined and joined[-1][0] == chrom and low <= joined[-1][2]:
            first, reach = joined[-1][1:]
            if genome.covers(chrom, first, max(high, reach)):
                joined[-1] = (chrom, first, max(high, reach))
                continue
            low = reach
        if low < high:
            joined.append((chrom, low, high))
    for chrom, low, high in joined:
        if not genome.covers(chrom, low, high):
            genome.fetch(chrom, low, high)  # says what is wrong
    return joined


def _draw(
    folder: Path,
    place: tuple[str, int, int],
    means: Float[np.ndarray, "columns elements"],
    names: Sequence[str],
    genes: pd.DataFrame | None,
) -> Path:
    from scmultimodal.evaluation.figures import locus

    chrom, low, high = place
    path = folder / f"{chrom}_{low}_{high}.png"
    return locus.locus(place, means, names, path, genes=genes)


def _drawn(place: tuple[str, int, int], genes: pd.DataFrame | None) -> dict[str, Any]:
    """A place that is shown, and the genes there: for the page of `report --open`."""
    models = [] if genes is None else gene_models.build(genes)
    return {
        **dict(zip(("chrom", "start", "end"), place, strict=True)),
        "genes": [dataclasses.asdict(model) for model in models],
    }


def _bar(places: Sequence[tuple[str, int, int]]) -> tqdm.tqdm:
    total = sum(high - low for _, low, high in places)
    return tqdm.tqdm(
        total=total, desc="segment", unit="bp", unit_scale=True, disable=None
    )


def _check_target(out: Path, overwrite: bool) -> None:
    atomic.check_writable(out.parent)
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / REPORT).is_file():
        problem = "exists and holds no tracks"
        raise InputError(out, problem, "Choose another folder; nothing was written")
    if not overwrite:
        raise InputError(out, "already holds tracks", "Give --overwrite, or another")
    told = read_report(out)
    ends = tracks.ENDINGS.values()
    files = [f"{name}{end}" for name in told["elements"] for end in ends]
    atomic.check_own(out, {REPORT, *files, *told.get("pictures", ())})
