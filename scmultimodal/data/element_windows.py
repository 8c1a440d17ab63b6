"""Batches of labelled windows: at random places to learn, tile by tile to judge."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int64, Integer

from scmultimodal.data.element_store import ElementStore
from scmultimodal.data.sampling import FILLER, WHOLE, Share, sequential_batches
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.genome.letters import NO_LETTER, N, reverse_complement
from scmultimodal.schemas.batches import UNJUDGED, SegmentationBatch
from scmultimodal.schemas.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Windows:
    """Windows of one length, row by row.

    Attributes:
        territory: of each window, −1 at rows that no window fills.
        start: first base of each, counted from that of its territory.
        fresh: first base of each that is to be judged: others were in the one before.
    """

    territory: Int64[np.ndarray, " windows"]
    start: Int64[np.ndarray, " windows"]
    fresh: Int64[np.ndarray, " windows"]

    def __len__(self) -> int:
        return len(self.territory)

    def take(self, rows: slice | Integer[np.ndarray, " rows"]) -> "Windows":
        """Some of them."""
        fields = dataclasses.fields(self)
        return Windows(**{f.name: getattr(self, f.name)[rows] for f in fields})


class ElementSampler:
    """Windows of training, and all windows of a judgement, as batches."""

    def __init__(
        self,
        store: ElementStore,
        territories: Integer[np.ndarray, " territories"],
        tokenizer: KmerTokenizer,
        *,
        window_bp: int,
        reverse_complement: bool = True,
        seed: int = 0,
    ):
        """Prepares the sampler; nothing is read yet.

        Args:
            store: labelled territories.
            territories: those to take windows of, by number.
            tokenizer: of the windows.
            window_bp: length of a window; a multiple of k.
            reverse_complement: training shows either strand.
            seed: of the drawing.

        Raises:
            InputError: windows of another length than k-mers fill.
        """
        if window_bp < tokenizer.k or window_bp % tokenizer.k:
            raise InputError(
                "window_bp", f"is {window_bp}", f"Give a multiple of {tokenizer.k}"
            )
        self.store, self.tokenizer = store, tokenizer
        self.window_bp, self.seed = window_bp, seed
        self.either_strand = reverse_complement
        self.territories = np.asarray(territories, np.int64)
        of_store = store.territories
        self._sizes = np.array([t.end - t.start for t in of_store], np.int64)
        self._known = np.array([t.known for t in of_store], np.uint16)
        # Every place equally likely: a territory has as many as windows fit into it.
        room = np.maximum(self._sizes[self.territories] - window_bp + 1, 0)
        self._ends = np.cumsum(room)

    @property
    def num_bases(self) -> int:
        """Bases of the territories."""
        return int(self._sizes[self.territories].sum())

    @property
    def num_too_short(self) -> int:
        """Territories shorter than a window: training takes none of them."""
        return int((self._sizes[self.territories] < self.window_bp).sum())

    def batch(self, step: int, size: int, share: Share = WHOLE) -> SegmentationBatch:
        """The windows of a step, or a part of them: a function of (seed, step).

        Raises:
            InputError: no territory holds a window.
        """
        if not len(self._ends) or not self._ends[-1]:
            raise InputError(
                self.store.path,
                f"none of {len(self._ends)} territories holds a window of "
                f"{self.window_bp} bp",
                "Label longer stretches, or take shorter windows",
            )
        seeds = np.random.SeedSequence([self.seed, step])
        rng = np.random.Generator(np.random.Philox(seeds))
        place = rng.integers(0, self._ends[-1], size)
        turned = (rng.integers(0, 2, size) > 0) & self.either_strand
        where = np.searchsorted(self._ends, place, side="right")
        windows = Windows(
            territory=self.territories[where],
            start=place - np.concatenate(([0], self._ends))[where],
            fresh=np.zeros(size, np.int64),
        )
        rows = share.rows(size)
        return self._build(windows.take(rows), turned[rows], rows, size)

    def tiles(self, at_most: int | None = None) -> Windows:
        """Windows that hold every base, and judge each of them once.

        The last window of a territory ends with it, and judges what is left. One of a
        territory that is shorter than a window reaches beyond its end.

        Args:
            at_most: so many of them, evenly spread; None takes all.
        """
        parts = []
        for number in self.territories:
            size = int(self._sizes[number])
            start = np.arange(0, size, self.window_bp)
            last = np.minimum(start, max(0, size - self.window_bp))
            parts.append(np.stack([np.full(len(start), number), last, start]))
        number, last, start = np.concatenate(parts, axis=1)
        windows = Windows(territory=number, start=last, fresh=start - last)
        if at_most is None or at_most >= len(windows):
            return windows
        spread = np.linspace(0, len(windows) - 1, at_most).round().astype(np.int64)
        return windows.take(spread)

    def in_order(
        self, windows: Windows, batch_size: int, share: Share = WHOLE
    ) -> Iterator[SegmentationBatch]:
        """All windows once, forward strand; the last batch is filled up."""
        for rows in sequential_batches(len(windows), batch_size):
            part = share.rows(batch_size)
            chosen = windows.take(rows[part])
            filling = rows[part] == FILLER
            chosen = dataclasses.replace(
                chosen, territory=np.where(filling, FILLER, chosen.territory)
            )
            turned = np.zeros(len(chosen), bool)
            yield self._build(chosen, turned, part, batch_size)

    def _build(
        self,
        windows: Windows,
        turned: Bool[np.ndarray, " rows"],
        rows: slice,
        size: int,
    ) -> SegmentationBatch:
        shape = (len(windows), self.window_bp)
        letters = np.full(shape, NO_LETTER, np.uint8)
        labels = np.full(shape, UNJUDGED, np.uint16)
        real = windows.territory != FILLER
        for row in np.flatnonzero(real):
            number, start = windows.territory[row], windows.start[row]
            length = min(self.window_bp, int(self._sizes[number] - start))
            first = int(self.store.offsets[number] + start)
            letters[row, :length] = self.store.letters[first : first + length]
            labels[row, :length] = self.store.labels[first : first + length]
            labels[row, : windows.fresh[row]] = UNJUDGED
        labels[letters == N] = UNJUDGED
        letters[turned] = reverse_complement(letters[turned])
        labels[turned] = labels[turned][:, ::-1]
        return SegmentationBatch(
            token_ids=self.tokenizer.encode_frame(letters),
            labels=labels,
            known=np.where(real, self._known[windows.territory], 0).astype(np.uint16),
            sequence_mask=real,
            row=np.arange(size, dtype=np.int32)[rows],
        )
