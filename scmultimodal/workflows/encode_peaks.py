"""A vector for the DNA of each peak, by a genome model: what tokens of peaks may know.

A peak that no training cell had open then still has a token that says something.
"""

import dataclasses
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import tqdm
from jaxtyping import Bool, Float32

from scmultimodal.data import atomic, peak_dna
from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.genome import intervals
from scmultimodal.genome.fasta import Genome
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights.genome_model import StoredGenomeModel
from scmultimodal.workflows import genome_inference, provenance

WINDOW_BP = 510
"""As the ranking of regions reads them: 85 tokens of six letters."""
_AT_ONCE = 1_024
"""Peaks whose sequences are in memory together."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoded:
    """What was written.

    Attributes:
        out: the file.
        peaks: of the vocabulary.
        without: of them, those that the genome does not hold, or holds as N alone:
            their vectors are 0, the mean of the others.
        width: of a vector.
        seconds: that it took, compiling included.
    """

    out: str
    peaks: int
    without: int
    width: int
    seconds: float

    def format_table(self) -> str:
        """To print."""
        rate = self.peaks / max(self.seconds, 1e-9)
        return (
            f"peaks        {self.peaks:>9,}, of {self.width:,} numbers each\n"
            f"not in FASTA {self.without:>9,}\n"
            f"rate         {rate:>9,.1f} peaks a second, {self.seconds:,.1f} s in all"
        )


def run(
    peaks: PeakVocabulary,
    model: StoredGenomeModel,
    fasta: Path,
    out: Path,
    *,
    window_bp: int = WINDOW_BP,
    batch_size: int = 16,
    overwrite: bool = False,
) -> Encoded:
    """Writes a vector for each peak: the mean of the tokens of a window at its middle.

    Over peaks each number has mean 0 and SD 1: what all sequences have in common says
    nothing of a peak.

    Args:
        peaks: of a prepared dataset.
        model: whose encoder is taken.
        fasta: the genome that the peaks are of.
        out: file to write, safetensors.
        window_bp: length of a window; at the end of a chromosome it stands inside.
        batch_size: sequences computed at a time.
        overwrite: replaces what stands there.

    Raises:
        InputError: the model cannot read such windows, the genome holds no peak, or
            input breaks a rule.
    """
    _check(out, batch_size, overwrite)
    _check_window(model, window_bp)
    atomic.check_apart(out, fasta)
    model, start = genome_inference.on_device(model), time.monotonic()
    vectors = np.zeros((peaks.num_peaks, model.config.encoder.dim), np.float32)
    found = np.zeros(peaks.num_peaks, bool)
    with Genome.open(fasta) as genome:
        texts = _Windows(genome, fasta, peaks, window_bp)
        for first in tqdm.trange(
            0, peaks.num_peaks, _AT_ONCE, desc="encode", delay=2, disable=None
        ):
            some = slice(first, first + _AT_ONCE)
            sequences, held = texts.of(some)
            rows = _mean(model, sequences, window_bp, batch_size)
            held[held] = known = np.isfinite(rows).all(1)
            vectors[some][held] = rows[known]
            found[some] = held
    if not found.any():
        raise InputError(fasta, "holds no peak", "Is it of the assembly of the peaks?")
    if texts.beyond:
        warnings.warn(
            f"{fasta}: {texts.beyond:,} peaks lie beyond the end of their chromosome. "
            "Is it of the assembly of the peaks?",
            stacklevel=2,
        )
    part = vectors[found]
    spread = part.std(0)
    vectors[found] = (part - part.mean(0)) / np.where(spread > 0, spread, 1)
    leaves = jax.tree.leaves(model.params)
    origin = {
        "model_sha256": provenance.digest(*map(np.asarray, leaves)),
        "window_bp": str(window_bp),
        "fasta": fasta.name,
    }
    peak_dna.write(out, vectors, peaks, origin)
    return Encoded(
        out=str(out),
        peaks=peaks.num_peaks,
        without=int((~found).sum()),
        width=vectors.shape[1],
        seconds=round(time.monotonic() - start, 3),
    )


class _Windows:
    """Letters around the middles of peaks."""

    def __init__(
        self, genome: Genome, fasta: Path, peaks: PeakVocabulary, window_bp: int
    ):
        style = intervals.chromosome_style(genome.chromosomes, fasta)
        names = intervals.rename_chromosomes(peaks.to_frame()["chrom"], style)
        self._genome, self._chroms, self._window = genome, list(names), window_bp
        self._middles = (peaks.starts + peaks.ends) // 2
        self.beyond = 0

    def of(self, some: slice) -> tuple[list[str], Bool[np.ndarray, " peaks"]]:
        """Sequences of those that the genome holds, and which these are."""
        sequences, held = [], []
        places = zip(self._chroms[some], self._middles[some].tolist(), strict=True)
        for chrom, middle in places:
            length = self._genome.chromosomes.get(chrom, 0)
            self.beyond += 0 < length <= middle
            start = max(0, min(middle - self._window // 2, length - self._window))
            end = min(start + self._window, length)
            held.append(middle < length and self._genome.covers(chrom, start, end))
            if held[-1]:
                sequences.append(self._genome.fetch(chrom, start, end))
        return sequences, np.array(held, bool)


def _mean(
    model: StoredGenomeModel, sequences: list[str], window_bp: int, batch_size: int
) -> Float32[np.ndarray, "sequences dim"]:
    """Over the k-mers of each; NaN where it has none."""
    tokenizer, encoder = model.config.tokenizer, model.config.encoder
    found = np.full((len(sequences), encoder.dim), np.nan, np.float32)
    # An N is a token by itself, in place of up to k letters: few rows are as long.
    usual = 1 + -(-window_bp // model.config.k) + model.config.k
    numbers = np.array([len(tokenizer.encode(s)) for s in sequences], np.int64)
    for width, rows in (
        (usual, np.flatnonzero(numbers <= usual)),
        (1 + window_bp, np.flatnonzero(numbers > usual)),
    ):
        for first in range(0, len(rows), batch_size):
            some = rows[first : first + batch_size]
            texts = [sequences[row] for row in some]
            ids = tokenizer.encode_batch(texts, min(width, _longest(model))).ids
            vectors = genome_inference.encode(model, ids, batch_size=batch_size)
            counted = tokenizer.is_kmer(ids)[..., None]
            number = counted.sum(1)
            mean = (vectors * counted).sum(1) / np.maximum(number, 1)
            found[some] = np.where(number > 0, mean, np.nan)
    return found


def _longest(model: StoredGenomeModel) -> int:
    """Tokens that a row may have."""
    encoder = model.config.encoder
    return encoder.max_tokens if encoder.learned_positions else encoder.reach


def _check_window(model: StoredGenomeModel, window_bp: int) -> None:
    k, most = model.config.k, model.config.k * (_longest(model) - 1)
    if not k <= window_bp <= most:
        problem = f"is {window_bp}, and the model reads {k} to {most:,} bp"
        raise InputError("window_bp", problem, "Give one between")


def _check(out: Path, batch_size: int, overwrite: bool) -> None:
    if batch_size < 1:
        raise InputError("batch_size", f"is {batch_size}", "Choose one from 1 on")
    atomic.check_new_file(out, like="dna.safetensors", overwrite=overwrite)
