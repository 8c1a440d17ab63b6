"""The open peaks of cells as tokens: those that are not zero, and no others."""

import dataclasses
import functools
import zlib

import numpy as np
from jaxtyping import Bool, Int, Int32, Int64, Integer
from scipy import sparse

from scmultimodal.data.buckets import default_buckets
from scmultimodal.data.gather import Entries
from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.data.permutations import Stream, permutation
from scmultimodal.data.shards import ShardedMatrix
from scmultimodal.ops import csr
from scmultimodal.schemas.batches import PeakTokens
from scmultimodal.schemas.errors import InputError

MOST = 8_192
"""Of a cell, as EpiFoundation has it: 8,000 to 12,000."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PeakRows:
    """The peaks of the cells of a source, by the peaks that a model knows.

    Attributes:
        matrix: what is stored of each cell.
        vocabulary: which peaks its columns are, and where they lie.
    """

    matrix: ShardedMatrix
    vocabulary: PeakVocabulary


@dataclasses.dataclass(frozen=True, kw_only=True)
class PeakTokenConfig:
    """How many peaks of a cell are shown.

    Attributes:
        most: of a cell that has more, so many are drawn.
        buckets: numbers of peaks that a batch may be padded to; above them, and with
            None, a ladder with two rungs an octave, up to `most`.
    """

    most: int = MOST
    buckets: tuple[int, ...] | None = None

    def __post_init__(self):
        """Raises InputError for values out of range."""
        if self.most < 1 or not all(size > 0 for size in self.buckets or ()):
            raise InputError(
                "peak tokens",
                f"are at most {self.most}, in buckets of {self.buckets}",
                "Give sizes above 0",
            )


class PeakTokenizer:
    """Shows the peaks of cells, in the order of the vocabulary.

    Of a cell with more than `most` a random subset, which depends on seed, step and
    the cell's peaks alone: not on where it stands in a source or a batch, nor on the
    host that builds it.
    """

    def __init__(self, rows: PeakRows, config: PeakTokenConfig, *, seed: int):
        """Takes the rows as they are."""
        self._matrix, self.config, self._seed = rows.matrix, config, seed
        peaks = rows.vocabulary
        self._chroms = peaks.chrom.astype(np.int32)
        self._middles = ((peaks.starts + peaks.ends) // 2).astype(np.int32)

    @functools.cached_property
    def lengths(self) -> Int64[np.ndarray, " cells"]:
        """Tokens of every cell of the source."""
        return np.minimum(self._matrix.lengths, self.config.most)

    def build(
        self,
        cells: Integer[np.ndarray, " rows"],
        shown: Bool[np.ndarray, " rows"],
        *,
        longest: int,
        step: int,
    ) -> PeakTokens:
        """Returns the tokens of cells.

        Args:
            cells: positions, −1 (`sampling.FILLER`) at rows that no cell fills.
            shown: rows whose peaks are shown; the others have no token.
            longest: tokens of the longest cell of the global batch.
            step: of the draw of a subset; 0 where it is to be the same each time.
        """
        cells = np.where(shown, cells, -1)
        ids, mask = self._padded(cells, self._width(longest), step)
        return PeakTokens(
            ids=ids,
            chroms=np.where(mask, self._chroms[ids], 0),
            positions=np.where(mask, self._middles[ids], 0),
            mask=mask,
        )

    def shown(self) -> sparse.csr_matrix:
        """The peaks that are shown of every cell at step 0: [cells, peaks], 1 or 0."""
        found = self._matrix.entries(np.arange(len(self._matrix.lengths)))
        rows = [
            self._subset(open_, 0) if len(open_) > self.config.most else open_
            for open_ in _of_rows(found)
        ]
        indices = np.concatenate([np.zeros(0, np.int64), *rows])
        indptr = np.concatenate(([0], np.cumsum(self.lengths)))
        shape = (len(self.lengths), self._matrix.num_genes)
        return csr.wrap(np.ones(len(indices), np.uint8), indices, indptr, shape)

    def _width(self, longest: int) -> int:
        most, own = self.config.most, self.config.buckets or ()
        further = [s for s in default_buckets(most) if s > max(own, default=0)]
        return min(s for s in (*own, *further, most) if s >= longest)

    def _padded(
        self, cells: Int[np.ndarray, " rows"], width: int, step: int
    ) -> tuple[Int32[np.ndarray, "rows peaks"], Bool[np.ndarray, "rows peaks"]]:
        found = self._matrix.entries(cells)
        ids = np.zeros((len(cells), width), np.int32)
        lengths = np.minimum(found.lengths, self.config.most)
        for row, open_ in enumerate(_of_rows(found)):
            if len(open_) > lengths[row]:
                open_ = self._subset(open_, step)
            ids[row, : lengths[row]] = open_
        return ids, np.arange(width) < lengths[:, None]

    def _subset(
        self, peaks: Integer[np.ndarray, " peaks"], step: int
    ) -> Integer[np.ndarray, " most"]:
        """Some of a cell's peaks, in their order."""
        cell = zlib.crc32(peaks.astype("<i8").tobytes())
        order = permutation(
            len(peaks), seed=self._seed, stream=Stream.PEAKS, position=(cell, step)
        )
        return peaks[np.sort(order[: self.config.most])]


def _of_rows(found: Entries) -> list[Integer[np.ndarray, " peaks"]]:
    return np.split(found.genes, np.cumsum(found.lengths)[:-1])
