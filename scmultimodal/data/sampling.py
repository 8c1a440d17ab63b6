"""Which cells are in a batch: a pure function of (seed, step).

A row that no cell fills holds −1.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int64

from scmultimodal.data.permutations import Stream, permutation
from scmultimodal.schemas.errors import InputError

FILLER = -1


def spread(cells: Int[np.ndarray, " cells"], most: int) -> Int[np.ndarray, " some"]:
    """So many cells at most, evenly from all: datasets stand one after the other."""
    if len(cells) <= most:
        return cells
    return cells[np.linspace(0, len(cells) - 1, most).astype(np.int64)]


@dataclasses.dataclass(frozen=True)
class Share:
    """Which of equal parts of each global batch is wanted: that of one host.

    Attributes:
        index: of the part, from 0.
        count: parts in all.
    """

    index: int = 0
    count: int = 1

    def rows(self, size: int) -> slice:
        """The rows of this part in a batch of so many.

        Raises:
            InputError: the rows cannot be shared equally.
        """
        if size % self.count:
            raise InputError(
                "batch",
                f"has {size} rows for {self.count} hosts",
                f"Take a batch size that is a multiple of {self.count}",
            )
        part = size // self.count
        return slice(self.index * part, (self.index + 1) * part)


WHOLE = Share()


class EpochSampler:
    """Endless batches; every epoch is a new order of the same cells.

    The cells that do not fill a last batch are left out of that epoch. They differ
    from epoch to epoch, so no cell is left out for ever. Fewer cells than a batch
    holds are filled up.

    With `lengths`, cells of similar length share a batch, so that little padding is
    needed: every `window` batches of the random order are sorted by length and cut
    into batches anew, and the batches of the epoch are then shuffled.
    """

    def __init__(
        self,
        cells: int | Int[np.ndarray, " chosen"],
        batch_size: int,
        *,
        seed: int,
        lengths: Int[np.ndarray, " cells"] | None = None,
        window: int = 8,
    ):
        """Prepares the sampler; nothing is drawn yet.

        Args:
            cells: the cells to draw from, or how many there are.
            batch_size: rows of a batch, over all devices and hosts.
            seed: seed of the run.
            lengths: tokens of every cell of the dataset (not of the chosen alone).
            window: batches that are sorted together.

        Raises:
            InputError: there is no cell, or the batch size or window is below 1.
        """
        self.cells = np.arange(cells) if np.ndim(cells) == 0 else cells
        if not len(self.cells) or batch_size < 1 or window < 1:
            problem = f"{len(self.cells)} cells, batches of {batch_size}"
            raise InputError("sampler", problem, "Each must be at least 1")
        self.batch_size, self.seed, self.window = batch_size, seed, window
        self._lengths = None if lengths is None else lengths[self.cells]
        self._latest: tuple[int, np.ndarray] | None = None

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches that one order of the cells gives."""
        return max(1, len(self.cells) // self.batch_size)

    def batch(self, step: int) -> Int64[np.ndarray, " batch"]:
        """Returns the cells of a step, by their position in the dataset."""
        epoch, number = divmod(step, self.batches_per_epoch)
        latest = self._latest
        if latest is None or latest[0] != epoch:
            latest = self._latest = (epoch, self._epoch(epoch))
        return latest[1][number].copy()

    def _epoch(self, epoch: int) -> Int64[np.ndarray, "batches batch"]:
        """Lays out all batches of an epoch."""
        position = (epoch, 0)
        order = permutation(
            len(self.cells), seed=self.seed, stream=Stream.EPOCH, position=position
        )
        order = order[: self.batches_per_epoch * self.batch_size]
        if self._lengths is None:
            return _cut(self.cells[order], self.batch_size)
        size = self.window * self.batch_size
        windows = [order[i : i + size] for i in range(0, len(order), size)]
        by_length = [w[np.argsort(self._lengths[w], kind="stable")] for w in windows]
        batches = _cut(self.cells[np.concatenate(by_length)], self.batch_size)
        shuffled = permutation(
            len(batches), seed=self.seed, stream=Stream.BATCH_ORDER, position=position
        )
        return batches[shuffled]


class WeightedSampler:
    """Endless batches with a fixed share of rows for each group of cells.

    Each group goes through random orders of its own cells, one after the other; a
    small one comes round more often. No cell is left out of an order.
    """

    def __init__(
        self,
        groups: Sequence[Int[np.ndarray, " _"]],
        weights: Sequence[float | int],
        batch_size: int,
        *,
        seed: int,
    ):
        """Shares the rows out, by largest remainder.

        Args:
            groups: the cells of each group.
            weights: of each group, in any unit.
            batch_size: rows of a batch, over all devices and hosts.
            seed: seed of the run.

        Raises:
            InputError: a group has no cell, or gets no row.
        """
        exact = batch_size * np.asarray(weights, float) / sum(weights)
        rows = np.floor(exact).astype(np.int64)
        rows[np.argsort(rows - exact, kind="stable")[: batch_size - rows.sum()]] += 1
        if not (rows.all() and all(map(len, groups))):
            problem = f"weights {list(weights)} of {batch_size} rows leave a group none"
            raise InputError("sampler", problem, "Raise the least, or take more rows")
        self._groups, self._rows, self._seed = groups, rows.tolist(), seed
        self._latest: dict[int, tuple[int, np.ndarray]] = {}

    def batch(self, step: int) -> Int64[np.ndarray, " batch"]:
        """Returns the cells of a step, group after group."""
        return np.concatenate(
            [self._draw(number, step) for number in range(len(self._groups))]
        )

    def _draw(self, number: int, step: int) -> Int64[np.ndarray, " rows"]:
        cells, rows = self._groups[number], self._rows[number]
        epoch, place = np.divmod(step * rows + np.arange(rows), len(cells))
        drawn = np.empty(rows, np.int64)
        for one in np.unique(epoch).tolist():
            drawn[epoch == one] = cells[self._order(number, one)[place[epoch == one]]]
        return drawn

    def _order(self, number: int, epoch: int) -> Int64[np.ndarray, " chosen"]:
        latest = self._latest.get(number)
        if latest is None or latest[0] != epoch:
            order = permutation(
                len(self._groups[number]),
                seed=self._seed,
                stream=Stream.EPOCH,
                position=(epoch, number),
            )
            latest = self._latest[number] = (epoch, order)
        return latest[1]


def sequential_batches(
    cells: int | Int[np.ndarray, " chosen"],
    batch_size: int,
    *,
    lengths: Int[np.ndarray, " cells"] | None = None,
) -> Int64[np.ndarray, "batches batch"]:
    """Returns batches that hold every cell exactly once, for evaluation.

    Args:
        cells: the cells, or how many there are.
        batch_size: rows of a batch; the last one is filled up.
        lengths: tokens of every cell of the dataset; batches are sorted by them.
    """
    cells = np.arange(cells) if np.ndim(cells) == 0 else cells
    if lengths is not None:
        cells = cells[np.argsort(lengths[cells], kind="stable")]
    return _cut(cells, batch_size)


def _cut(
    cells: Int[np.ndarray, " chosen"], batch_size: int
) -> Int64[np.ndarray, "batches batch"]:
    filler = np.full(-len(cells) % batch_size, FILLER)
    return np.concatenate([cells, filler]).astype(np.int64).reshape(-1, batch_size)
