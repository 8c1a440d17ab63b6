"""How accessible regions of a genome are to a model: a table, written line by line."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import tqdm

from scmultimodal.data import atomic
from scmultimodal.genome import intervals, text_files
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.interval_tables import read_places
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights.genome_model import StoredGenomeModel
from scmultimodal.workflows import genome_inference, memory

_AT_ONCE = 1_024
"""Regions whose sequences are in memory together."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scored:
    """What was written.

    Attributes:
        out: the table.
        regions: lines of it.
        cut: regions that are longer than what the model reads; their ends were left
            out.
        columns: of the scores.
        seconds: that it took, compiling included.
        peak_mb: the most memory that the process has had.
    """

    out: str
    regions: int
    cut: int
    columns: tuple[str, ...]
    seconds: float
    peak_mb: float

    def format_table(self) -> str:
        """To print."""
        rate = self.regions / max(self.seconds, 1e-9)
        return (
            f"regions      {self.regions:>9,}\n"
            f"cut          {self.cut:>9,} longer than the model reads\n"
            f"rate         {rate:>9,.1f} regions a second, {self.seconds:,.1f} s "
            "in all\n"
            f"peak memory  {self.peak_mb:>9,.0f} MB"
        )


def run(
    model: StoredGenomeModel,
    fasta: Path,
    out: Path,
    *,
    regions: Path | None = None,
    batch_size: int = 16,
    overwrite: bool = False,
) -> Scored:
    """Writes a line for every region, in their order; the whole table, or nothing.

    Args:
        model: with a scorer.
        fasta: the genome.
        out: table to write; gzipped where its name ends in .gz.
        regions: BED; None takes every record of the FASTA as one region.
        batch_size: sequences computed at a time.
        overwrite: replaces what stands there.

    Raises:
        InputError: the model has no scorer, a record is too long to be one region, or
            input breaks a rule.
    """
    genome_inference.require_scorer(model)
    _check(out, batch_size, overwrite)
    for path in [fasta] if regions is None else [fasta, regions]:
        atomic.check_apart(out, path)
    model, start = genome_inference.on_device(model), time.monotonic()
    config = model.config
    columns = tuple(f"score_{name}" for name in config.cell_types) or ("score",)
    longest = config.k * (config.turner.prepared_tokens - 1)
    cut = 0
    with (
        Genome.open(fasta) as genome,
        atomic.file(out) as temporary,
        text_files.writing(temporary, packed=out.suffix == ".gz") as file,
    ):
        places = _places(genome, regions, fasta, longest)
        file.write("\t".join(["chrom", "start", "end", *columns]) + "\n")
        with tqdm.tqdm(
            total=len(places), desc="score", unit="region", delay=2, disable=None
        ) as bar:
            for first in range(0, len(places), _AT_ONCE):
                some = places[first : first + _AT_ONCE]
                # By a letter more than can be read the tokenizer knows what is cut.
                texts = [
                    genome.fetch(p.there, p.start, min(p.end, p.start + longest + 1))
                    for p in some
                ]
                tokens = config.tokenizer.encode_batch(
                    texts, config.turner.prepared_tokens
                )
                cut += tokens.cut
                scores = genome_inference.score_views(
                    model, tokens.ids, batch_size=batch_size
                )
                for place, row in zip(some, scores, strict=True):
                    values = [f"{value:.6g}" for value in row]
                    name = (place.chrom, str(place.start), str(place.end))
                    file.write("\t".join([*name, *values]) + "\n")
                bar.update(len(some))
    return Scored(
        out=str(out),
        regions=len(places),
        cut=cut,
        columns=columns,
        seconds=round(time.monotonic() - start, 3),
        peak_mb=round(memory.peak() / 2**20, 1),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Place:
    """A region, and what its chromosome is called in the genome."""

    chrom: str
    start: int
    end: int
    there: str


def _places(
    genome: Genome, regions: Path | None, fasta: Path, longest: int
) -> Sequence[_Place]:
    if regions is None:
        for piece in genome.pieces:
            if piece.end - piece.start > longest:
                raise InputError(
                    fasta,
                    f"{piece.chrom} has {piece.end - piece.start:,} bp, and the model "
                    f"reads {longest:,}",
                    "Name what is to be scored by --regions",
                )
        return [
            _Place(chrom=p.chrom, start=p.start, end=p.end, there=p.chrom)
            for p in genome.pieces
        ]
    table = read_places(regions)
    style = intervals.chromosome_style(genome.chromosomes, fasta)
    names = intervals.rename_chromosomes(table["chrom"], style)
    return [
        _Place(chrom=str(chrom), start=int(start), end=int(end), there=str(there))
        for (chrom, start, end), there in zip(
            table.itertuples(index=False), names, strict=True
        )
    ]


def _check(out: Path, batch_size: int, overwrite: bool) -> None:
    if batch_size < 1:
        raise InputError("batch_size", f"is {batch_size}", "Choose one from 1 on")
    atomic.check_new_file(out, like="scores.tsv.gz", overwrite=overwrite)
