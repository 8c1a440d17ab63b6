"""What variants change in the eyes of a genome model: a table, written line by line."""

import collections
import dataclasses
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tqdm
from jaxtyping import Float

from scmultimodal.data import atomic
from scmultimodal.genome import text_files
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.letters import as_letters
from scmultimodal.genome.variants import Alleles, Variant, read_variants, sequences
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights.genome_model import StoredGenomeModel
from scmultimodal.workflows import genome_inference, segmentation_inference
from scmultimodal.workflows.segmentation_inference import StitchingConfig

_OF = ("ref", "alt", "change")
_AT_ONCE = 64
"""Alleles whose sequences are in memory together."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VariantEffects:
    """What was written.

    Attributes:
        scored: alternative alleles with a line in the table.
        no_letters: those that are no sequence, such as <DEL> or *.
        too_long: those that are, or whose reference is, longer than half a window.
        shortened: those around which N, each a token, left too many tokens for the
            scorer: both sequences lack as many letters at their end.
        seconds: that it took.
    """

    scored: int
    no_letters: int
    too_long: int
    shortened: int
    seconds: float

    def format_table(self) -> str:
        """To print."""
        rate = self.scored / max(self.seconds, 1e-9)
        return (
            f"scored            {self.scored:>9,} alleles, {rate:,.1f} a second\n"
            f"no letters        {self.no_letters:>9,} left out (<DEL>, *, breakends)\n"
            f"too long          {self.too_long:>9,} left out\n"
            f"shortened         {self.shortened:>9,} beside N, to score them"
        )


def run(
    model: StoredGenomeModel,
    vcf: Path,
    fasta: Path,
    out: Path,
    *,
    radius_bp: int = 50,
    both_strands: bool = False,
    batch_size: int = 8,
    overwrite: bool = False,
) -> VariantEffects:
    """Writes a line for every alternative allele; the whole table, or nothing.

    Args:
        model: with a scorer, a segmenter, or both.
        vcf: variants; read line by line.
        fasta: the genome that they are from.
        out: table to write; gzipped where its name ends in .gz.
        radius_bp: bases on both sides of an allele whose probabilities are averaged.
        both_strands: averages what the two strands say of elements.
        batch_size: sequences computed at a time.
        overwrite: replaces what stands there.

    Raises:
        InputError: the model has no head, or input breaks a rule; names the line.
    """
    model = genome_inference.on_device(model)
    heads = _heads(model, radius_bp, both_strands, batch_size)
    atomic.check_new_file(out, like="effects.tsv.gz", overwrite=overwrite)
    for path in (vcf, fasta):
        atomic.check_apart(out, path)
    start, counts = time.monotonic(), collections.Counter()
    shortest = min(head.window_bp for head in heads)
    with (
        Genome.open(fasta) as genome,
        atomic.file(out) as temporary,
        text_files.writing(temporary, packed=out.suffix == ".gz") as file,
        tqdm.tqdm(desc="score variants", unit="allele", disable=None) as bar,
    ):
        names = [name for head in heads for name in head.columns]
        file.write("\t".join(["chrom", "pos", "id", "ref", "alt", *names]) + "\n")
        kept = _kept(read_variants(vcf, genome), shortest // 2, counts)
        while chunk := list(itertools.islice(kept, _AT_ONCE)):
            effects = [head.effects(chunk, genome) for head in heads]
            for variant, row in zip(chunk, np.hstack(effects), strict=True):
                file.write(_line(variant, row))
            bar.update(len(chunk))
    return VariantEffects(
        scored=counts["scored"],
        no_letters=counts["no_letters"],
        too_long=counts["too_long"],
        shortened=sum(head.shortened for head in heads),
        seconds=round(time.monotonic() - start, 3),
    )


class _Scores:
    """Accessibility with either allele."""

    def __init__(self, model: StoredGenomeModel, batch_size: int):
        config = model.config
        self._model, self._batch_size = model, batch_size
        self._tokens = config.turner.prepared_tokens
        names = [f"score_{name}" for name in config.cell_types] or ["score"]
        self.columns = tuple(f"{n}_{of}" for n in names for of in _OF)
        self.window_bp = config.k * (self._tokens - 1)
        self.shortened = 0

    def effects(
        self, variants: Sequence[Variant], genome: Genome
    ) -> Float[np.ndarray, "variants columns"]:
        around = _around(variants, genome, self.window_bp, fill=False)
        around = [self._fitting(alleles) for alleles in around]
        scores = [
            genome_inference.score_views(
                self._model,
                self._model.config.tokenizer.encode_batch(texts, self._tokens).ids,
                batch_size=self._batch_size,
            )
            for texts in ([a.ref for a in around], [a.alt for a in around])
        ]
        return _side_by_side(*scores)

    def _fitting(self, alleles: Alleles) -> Alleles:
        """Both sequences as far as both have no more tokens than the scorer reads."""
        encode, texts = self._model.config.tokenizer.encode, (alleles.ref, alleles.alt)
        length = max(map(len, texts))
        while max(len(encode(text[:length])) for text in texts) > self._tokens:
            length -= 1
        self.shortened += length < min(map(len, texts))
        return alleles._replace(ref=texts[0][:length], alt=texts[1][:length])


class _Elements:
    """Mean probability of each element around either allele."""

    def __init__(
        self,
        model: StoredGenomeModel,
        radius_bp: int,
        both_strands: bool,
        batch_size: int,
    ):
        segmenter = genome_inference.require_segmenter(model)
        self.window_bp, self.shortened = segmenter.window_bp, 0
        self._model, self._radius = model, radius_bp
        self._config = StitchingConfig(both_strands=both_strands, batch_size=batch_size)
        if not 0 <= 2 * radius_bp < self.window_bp:
            problem = f"is {radius_bp} of windows of {self.window_bp:,} bp"
            raise InputError("radius_bp", problem, "Give 0 or more, below half of it")
        names = segmenter.elements
        self._chosen = [names.index(name) for name in segmenter.learned]
        self.columns = tuple(f"{n}_{of}" for n in segmenter.learned for of in _OF)

    def effects(
        self, variants: Sequence[Variant], genome: Genome
    ) -> Float[np.ndarray, "variants columns"]:
        around = _around(variants, genome, self.window_bp, fill=True)
        ref = self._means([a.ref for a in around], variants, around, "ref")
        alt = self._means([a.alt for a in around], variants, around, "alt")
        return _side_by_side(ref, alt)

    def _means(
        self,
        texts: Sequence[str],
        variants: Sequence[Variant],
        around: Sequence[Alleles],
        which: str,
    ) -> Float[np.ndarray, "variants elements"]:
        letters = np.stack([as_letters(text) for text in texts])
        found = segmentation_inference.windows(self._model, letters, self._config)
        rows = []
        for values, variant, place in zip(found, variants, around, strict=True):
            low = max(0, place.offset - self._radius)
            high = place.offset + len(getattr(variant, which)) + self._radius
            part = values[low:high, self._chosen]
            known = part[np.isfinite(part[:, 0])]
            rows.append(known.mean(0) if len(known) else np.full(part.shape[1], np.nan))
        return np.stack(rows)


def _side_by_side(
    ref: Float[np.ndarray, "variants values"], alt: Float[np.ndarray, "variants values"]
) -> Float[np.ndarray, "variants columns"]:
    """Of each value three columns: with either allele, and the change."""
    return np.stack([ref, alt, alt - ref], axis=-1).reshape(len(ref), -1)


def _heads(
    model: StoredGenomeModel, radius_bp: int, both_strands: bool, batch_size: int
) -> list[_Scores | _Elements]:
    heads: list[_Scores | _Elements] = []
    if model.config.num_tokens is not None:
        heads.append(_Scores(model, batch_size))
    if model.config.segmenter is not None:
        heads.append(_Elements(model, radius_bp, both_strands, batch_size))
    if not heads:
        raise InputError(
            "model",
            "it has neither a head that scores accessibility nor one for elements",
            "train one: genome_model.region_ranking or genome_model.segmentation",
        )
    return heads


def _kept(
    variants: Iterator[Variant], longest: int, counts: collections.Counter
) -> Iterator[Variant]:
    """Those that can be scored; counts all."""
    for variant in variants:
        if variant.alt is None:
            counts["no_letters"] += 1
        elif max(len(variant.ref), len(variant.alt)) > longest:
            counts["too_long"] += 1
        else:
            counts["scored"] += 1
            yield variant


def _around(
    variants: Sequence[Variant], genome: Genome, window_bp: int, *, fill: bool
) -> list[Alleles]:
    return [
        sequences(v, v.alt, genome, window_bp, fill=fill) for v in variants if v.alt
    ]


def _line(variant: Variant, row: Float[np.ndarray, " columns"]) -> str:
    place = (variant.chrom, variant.start + 1, variant.name, variant.ref)
    values = ("." if np.isnan(value) else f"{value:.6g}" for value in row)
    return "\t".join([*map(str, place), variant.written, *values]) + "\n"
