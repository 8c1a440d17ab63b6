"""Windows of a genome as tokens, for training without labels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from scmultimodal.data.sampling import WHOLE, Share
from scmultimodal.genome.composition import reverse_complement
from scmultimodal.genome.fasta import Genome
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.schemas.batches import TokenBatch
from scmultimodal.schemas.errors import InputError


class Stretch(NamedTuple):
    """A part of a chromosome, 0-based and half-open, in bp."""

    chrom: str
    start: int
    end: int


class WindowSampler:
    """Windows at random places of some stretches, every place equally likely."""

    def __init__(
        self,
        genome: Genome,
        stretches: Sequence[Stretch],
        tokenizer: KmerTokenizer,
        *,
        window_bp: int,
        reverse_complement: bool = True,
        seed: int = 0,
    ):
        """Prepares the sampler; nothing is read yet.

        Args:
            genome: the sequence.
            stretches: where windows may lie; those shorter than a window hold none.
            tokenizer: of the windows.
            window_bp: length of a window; a multiple of k.
            reverse_complement: reads either strand at random.
            seed: of the drawing.

        Raises:
            InputError: no stretch holds a window, or its length is no multiple of k.
        """
        if window_bp < tokenizer.k or window_bp % tokenizer.k:
            raise InputError(
                "window_bp", f"is {window_bp}", f"Give a multiple of {tokenizer.k}"
            )
        self.stretches = [s for s in stretches if s.end - s.start >= window_bp]
        if not self.stretches:
            raise InputError(
                "stretches",
                f"none of {len(stretches)} holds a window of {window_bp} bp",
                "Give a longer sequence or shorter windows",
            )
        self.genome, self.tokenizer = genome, tokenizer
        self.window_bp, self.seed = window_bp, seed
        self.either_strand = reverse_complement
        room = [s.end - s.start - window_bp + 1 for s in self.stretches]
        self._ends = np.cumsum(room)

    @property
    def num_tokens(self) -> int:
        """Tokens of a window without N, CLS included."""
        return self.window_bp // self.tokenizer.k + 1

    def batch(self, step: int, size: int, share: Share = WHOLE) -> TokenBatch:
        """The windows of a step, or a part of them: a function of (seed, step)."""
        ids = self.tokens((self.seed, step), size, share)
        return TokenBatch(
            token_ids=ids,
            sequence_mask=np.ones(len(ids), bool),
            row=np.arange(size, dtype=np.int32)[share.rows(size)],
        )

    def tokens(
        self, seed: Sequence[int], size: int, share: Share = WHOLE
    ) -> Int32[np.ndarray, "windows tokens"]:
        """Tokens of windows drawn by `seed`; those of a part are read alone."""
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([*seed])))
        place = rng.integers(0, self._ends[-1], size)
        turned = rng.integers(0, 2, size) > 0
        rows = share.rows(size)
        place, turned = place[rows], turned[rows]
        where = np.searchsorted(self._ends, place, side="right")
        first = place - np.concatenate(([0], self._ends))[where]
        sequences = []
        for stretch, offset, turn in zip(where, first, turned, strict=True):
            chrom, start, _ = self.stretches[stretch]
            low = int(start + offset)
            text = self.genome.fetch(chrom, low, low + self.window_bp)
            turn &= self.either_strand
            sequences.append(reverse_complement(text) if turn else text)
        # N stands alone: a window with some has more tokens, and loses its end.
        return self.tokenizer.encode_batch(sequences, self.num_tokens).ids
