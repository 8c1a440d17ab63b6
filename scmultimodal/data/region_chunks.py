"""Spans with their sequences read and tokenised: what a region store is made of."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt16

from scmultimodal.genome.composition import FEATURES, features
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.kmers import LETTERS, KmerTokenizer
from scmultimodal.genome.span_table import SpanTable
from scmultimodal.genome.spans import NUM_REGIONS, Version


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RegionChunk:
    """Some spans with their sequences read.

    Attributes:
        spans: where they are, and their values.
        tokens: of the sequence under each region, padded.
        features: length, GC, CpG and N share of each sequence.
        cut: which sequences had too many tokens and lost their end.
        unknown: letters other than A, C, G, T and N, read as N.
    """

    spans: SpanTable
    tokens: UInt16[np.ndarray, "spans 3 tokens"]
    features: Float32[np.ndarray, "spans 3 4"]
    cut: Bool[np.ndarray, "spans 3"]
    unknown: int


def read_chunk(
    spans: SpanTable,
    genome: Genome,
    chromosomes: Sequence[str],
    tokenizer: KmerTokenizer,
    *,
    num_tokens: int,
    version: Version,
    seed: Sequence[int],
) -> RegionChunk:
    """Reads and tokenises the sequences of some spans.

    Args:
        spans: where.
        genome: the sequence.
        chromosomes: names that `spans.chrom_index` numbers.
        tokenizer: letters to tokens.
        num_tokens: tokens of a region, CLS included.
        version: "v1" pads at the end, "v2" at random on both sides.
        seed: of the padding; its numbers tell this chunk from every other.

    Raises:
        InputError: the genome does not hold a region.
    """
    sequences = []
    for chrom, intervals in zip(spans.chrom_index, spans.intervals, strict=True):
        low, high = int(intervals.min()), int(intervals.max())
        text = genome.fetch(chromosomes[chrom], low, high)
        sequences += [text[start - low : end - low] for start, end in intervals]
    batch = tokenizer.encode_batch(
        sequences,
        num_tokens,
        padding="random" if version == "v2" else "end",
        seed=list(seed),
    )
    measured = features(sequences)
    shape = (len(spans), NUM_REGIONS)
    cut = _letters(batch.ids, tokenizer) < measured[:, FEATURES.index("length")]
    return RegionChunk(
        spans=spans,
        tokens=batch.ids.astype(np.uint16).reshape(*shape, num_tokens),
        features=measured.reshape(*shape, len(FEATURES)),
        cut=cut.reshape(shape),
        unknown=batch.unknown,
    )


def _letters(
    ids: Int32[np.ndarray, "sequences tokens"], tokenizer: KmerTokenizer
) -> Int32[np.ndarray, " sequences"]:
    """How many letters the tokens of each row stand for."""
    lengths = np.zeros(tokenizer.vocabulary_size, np.int32)
    lengths[-len(LETTERS) :] = 1
    kmers = 4**tokenizer.k
    lengths[-len(LETTERS) - kmers : -len(LETTERS)] = tokenizer.k
    return lengths[ids].sum(axis=1, dtype=np.int32)
