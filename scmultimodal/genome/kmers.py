"""DNA as k-mer tokens, as the Nucleotide Transformer reads it (SPEC 3.5)."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int32, Integer, UInt8

from scmultimodal.schemas.errors import InputError

LETTERS = "ATCGN"
"""The letters in the order of their ids; the k-mers hold the first four."""

_SPECIAL = {
    "v1": ("<unk>", "<pad>", "<mask>", "<cls>"),
    "v2": ("<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>"),
}
_SILENT = ("<pad>", "<cls>", "<eos>", "<bos>")
_N, _UNKNOWN, _NO_LETTER = 4, 5, 6


def _letter_codes() -> UInt8[np.ndarray, " bytes"]:
    """What each byte stands for: a place in LETTERS, another letter, or no letter."""
    codes = np.full(256, _NO_LETTER, np.uint8)
    for case in (str.upper, str.lower):
        codes[list(case("ABCDEFGHIJKLMNOPQRSTUVWXYZ").encode())] = _UNKNOWN
        codes[list(case(LETTERS).encode())] = range(len(LETTERS))
    return codes


_CODES = _letter_codes()


Padding = Literal["end", "random"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizedBatch:
    """Sequences as rows of token ids.

    Attributes:
        ids: token ids, padded to one length.
        cut: sequences that were too long and lost their end.
        unknown: letters other than A, C, G, T and N, read as N; those of an end that
            was cut off are among them.
    """

    ids: Int32[np.ndarray, "sequences tokens"]
    cut: int
    unknown: int


@dataclasses.dataclass(frozen=True)
class KmerTokenizer:
    """The tokenizer of Nucleotide Transformer: k-mers that do not overlap.

    A sequence is CLS and then k-mers from its first letter on. N stands alone and
    restarts the frame; the letters left over before an N and at the end stand alone.
    Lower case is read as upper case, and any letter but A, C, G, T as N.

    Attributes:
        version: "v2" has `<eos>` and `<bos>` before the k-mers, 4,107 tokens for
            k = 6. "v1" has neither, 4,105 tokens: the published v1 models have no
            embedding for them.
        k: letters of a k-mer, 2 to 10.
    """

    version: Literal["v1", "v2"] = "v2"
    k: int = 6

    def __post_init__(self):
        if self.version not in _SPECIAL:
            raise ValueError(f"version must be 'v1' or 'v2', not {self.version!r}")
        if not 2 <= self.k <= 10:
            raise ValueError(f"k must be from 2 to 10, not {self.k}")

    @functools.cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Every token; its place is its id."""
        kmers = map("".join, itertools.product(LETTERS[:4], repeat=self.k))
        return (*_SPECIAL[self.version], *kmers, *LETTERS)

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens."""
        return self._first_kmer + 4**self.k + len(LETTERS)

    @property
    def unk_id(self) -> int:
        """`<unk>`: in the vocabulary, never produced."""
        return 0

    @property
    def pad_id(self) -> int:
        """`<pad>`: fills a row up."""
        return 1

    @property
    def mask_id(self) -> int:
        """`<mask>`: hides a token in pre-training."""
        return 2

    @property
    def cls_id(self) -> int:
        """`<cls>`: comes before every sequence."""
        return 3

    @property
    def _first_kmer(self) -> int:
        return len(_SPECIAL[self.version])

    @property
    def _first_letter(self) -> int:
        return self._first_kmer + 4**self.k

    def encode(self, sequence: str) -> list[int]:
        """Token ids of one sequence, CLS first, nothing cut.

        Args:
            sequence: letters, upper or lower case; may be empty.

        Raises:
            InputError: for a character that is no letter.
        """
        codes, _ = _read(sequence, "sequence")
        return [self.cls_id, *self._tokens(codes).tolist()]

    def encode_batch(
        self,
        sequences: Sequence[str],
        length: int,
        *,
        padding: Padding = "end",
        seed: int | Sequence[int] = 0,
        first_row: int = 0,
        overflow: Literal["cut", "raise"] = "cut",
    ) -> TokenizedBatch:
        """Token ids of many sequences, each row padded to `length` tokens.

        Args:
            sequences: one string per row.
            length: tokens of a row, CLS included.
            padding: "end" pads behind the tokens. "random" splits the padding between
                front and back, every split equally likely: `[PAD… CLS tokens PAD…]`.
            seed: of the random splits. A row's split depends on the seed, on the
                number of the row and on its own number of tokens alone.
            first_row: number of the first row, where these are part of more.
            overflow: what happens to a sequence of more tokens: "cut" keeps the
                longest prefix that fits and counts the sequence, "raise" raises.

        Raises:
            InputError: for a character that is no letter, or for a sequence that does
                not fit where `overflow` is "raise".
        """
        if isinstance(sequences, str):
            raise TypeError("sequences must be a list of strings, not one string")
        if length < 1:
            raise ValueError(f"length must be at least 1 (CLS), not {length}")
        share = np.zeros(len(sequences))
        if padding == "random":
            drawn = np.random.default_rng(seed).random(first_row + len(sequences))
            share = drawn[first_row:]
        ids = np.full((len(sequences), length), self.pad_id, np.int32)
        cut = unknown = 0
        for row, sequence in enumerate(sequences):
            codes, unknown_here = _read(sequence, f"sequence {row}")
            tokens = self._tokens(codes)
            if len(tokens) >= length:
                if overflow == "raise":
                    raise _too_long(row, len(tokens) + 1, length)
                # A prefix of the tokens is what a prefix of the sequence encodes to,
                # and no longer prefix of the sequence has as few tokens.
                tokens = tokens[: length - 1]
                cut += 1
            front = int(share[row] * (length - len(tokens)))
            ids[row, front] = self.cls_id
            ids[row, front + 1 : front + 1 + len(tokens)] = tokens
            unknown += unknown_here
        return TokenizedBatch(ids=ids, cut=cut, unknown=unknown)

    def encode_frame(
        self, letters: UInt8[np.ndarray, "sequences letters"]
    ) -> Int32[np.ndarray, "sequences tokens"]:
        """Token ids of one frame of k-mers, CLS first: one for each k letters.

        Here N shifts nothing: a k-mer that holds one is `<mask>`. Zero bytes stand for
        no letter: a k-mer of them alone is `<pad>`, and part of one is `<mask>` too.

        Args:
            letters: ASCII, upper or lower case; letters but A, C, G, T are read as N.

        Raises:
            ValueError: the number of letters is no multiple of k.
        """
        count, length = letters.shape
        if length % self.k:
            raise ValueError(f"{length} letters are no multiple of {self.k}")
        kmers = letters.reshape(count, -1, self.k)
        codes = _CODES[kmers].astype(np.int32)
        ids = self._first_kmer + codes @ 4 ** np.arange(self.k, dtype=np.int32)[::-1]
        ids[(codes >= _N).any(-1)] = self.mask_id
        ids[(kmers == 0).all(-1)] = self.pad_id
        return np.pad(ids, ((0, 0), (1, 0)), constant_values=self.cls_id)

    def is_kmer(self, ids: Integer[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
        """Which tokens are k letters: none that is special, N or a single letter."""
        return (ids >= self._first_kmer) & (ids < self._first_kmer + 4**self.k)

    def decode(self, ids: Sequence[int] | Integer[np.ndarray, " tokens"]) -> str:
        """The sequence that the tokens stand for, in upper case.

        PAD, CLS, EOS and BOS leave nothing; `<mask>` and `<unk>` appear as such.

        Raises:
            InputError: for an id outside the vocabulary.
        """
        ids = np.asarray(ids, np.int64)
        outside = ids[(ids < 0) | (ids >= self.vocabulary_size)]
        if outside.size:
            raise InputError(
                "token ids",
                f"{outside[0]} is none of 0 to {self.vocabulary_size - 1}",
                f"Is {self.version} with k = {self.k} the right tokenizer?",
            )
        tokens = (self.vocabulary[i] for i in ids)
        return "".join(token for token in tokens if token not in _SILENT)

    def _tokens(
        self, codes: UInt8[np.ndarray, " letters"]
    ) -> Int32[np.ndarray, " tokens"]:
        """Ids of the tokens; every N ends a run, and k-mers lie within runs."""
        breaks = np.flatnonzero(codes == _N)
        starts = np.concatenate([[0], breaks + 1])
        kmers = (np.concatenate([breaks, [len(codes)]]) - starts) // self.k
        ordinal = np.arange(kmers.sum()) - np.repeat(np.cumsum(kmers) - kmers, kmers)
        heads = np.repeat(starts, kmers) + self.k * ordinal
        # A token stands where its first letter is: all other letters drop out.
        ids = codes.astype(np.int32) + self._first_letter
        ids[heads] = self._first_kmer
        keep = np.ones(len(codes), bool)
        for place in range(self.k):
            ids[heads] += codes[heads + place] * np.int32(4 ** (self.k - 1 - place))
            keep[heads + place] = place == 0
        return ids[keep]


def _read(sequence: str, source: str) -> tuple[UInt8[np.ndarray, " letters"], int]:
    """Letters as places in LETTERS, and how many of them were read as N."""
    letters = np.frombuffer(sequence.encode("ascii", "replace"), np.uint8)
    codes = _CODES[letters]
    odd = np.flatnonzero(codes > _N)
    if not odd.size:
        return codes, 0
    strangers = odd[codes[odd] == _NO_LETTER]
    if strangers.size:
        raise InputError(
            source,
            f"{sequence[strangers[0]]!r} at position {strangers[0]} is no letter",
            "Give the letters alone: no header, blank, gap or line end",
        )
    codes[odd] = _N
    return codes, len(odd)


def _too_long(row: int, tokens: int, length: int) -> InputError:
    return InputError(
        f"sequence {row}",
        f"has {tokens:,} tokens, CLS included, and {length:,} fit",
        "Raise `length`, give shorter sequences, or let overflow='cut' shorten them",
    )
