"""What stands beside every segmentation: logistic regression on k-mers around a base.

Each element has its own regression, on bases of the training part alone: as many that
are of it as that are not, weighted as they are in the genome, so that one half is one
half. The ridge penalty is chosen by average precision on the validation part.
"""

import dataclasses
import itertools
import warnings
from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, Integer, UInt8
from numpy.lib.stride_tricks import sliding_window_view

from scmultimodal.data.element_store import ElementStore
from scmultimodal.evaluation import extra
from scmultimodal.genome.elements import ELEMENTS
from scmultimodal.genome.letters import N
from scmultimodal.ops import segmentation as ops

with extra.required():
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score
    from threadpoolctl import threadpool_limits

K = 4
"""Letters of the k-mers; a k-mer and its reverse complement are the same."""
WIDTHS = (32, 128, 512)
"""bp around a base in which k-mers are counted."""
NEAR = 8
"""Letters on either side of a base that are told one by one."""
GRID = tuple(10.0**power for power in range(-5, 1))
"""Values of C that are tried."""
_CHUNK = 1 << 14
_NEVER = -100.0
"""Log-odds of an element that no base told of."""
_BASES = np.full(256, -1, np.int8)
_BASES[list(b"ACGT")] = range(4)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ElementBaseline:
    """Fitted regressions.

    Attributes:
        weights: by feature and element.
        biases: by element.
        penalties: the C that was chosen by element; NaN where nothing could be fitted.
    """

    weights: Float[np.ndarray, "features elements"]
    biases: Float[np.ndarray, " elements"]
    penalties: Float[np.ndarray, " elements"]

    def judge(
        self, store: ElementStore, territories: Integer[np.ndarray, " territories"]
    ) -> dict[int, dict[str, np.ndarray]]:
        """Counts of every base by group: what `evaluation.segmentation.judge` takes."""
        count = jax.jit(
            lambda **given: {
                "confusion": ops.confusion(**given),
                "score_counts": ops.score_counts(**given),
            }
        )
        found: dict[int, dict[str, np.ndarray]] = {}
        for number in territories.tolist():
            place = store.territories[number]
            known = _bits(np.array([place.known], np.uint16))
            sums = found.setdefault(place.group, {})
            for rows in _chunks(place.end - place.start):
                letters, labels = _letters(store, number), _labels(store, number)
                margins = features(letters, rows) @ self.weights + self.biases
                # One shape for all, so that it is compiled once.
                spare = ((0, _CHUNK - len(rows)), (0, 0))
                counted = count(
                    margins=np.pad(margins, spare)[None],
                    labels=np.pad(_bits(labels[rows]), spare)[None],
                    where=np.pad((letters[rows] != N)[:, None] & known, spare)[None],
                )
                for name, value in jax.device_get(counted).items():
                    sums[name] = sums.get(name, 0.0) + value.astype(np.float64)
        return found


def fit(
    store: ElementStore,
    train: Integer[np.ndarray, " train"],
    validation: Integer[np.ndarray, " validation"],
    *,
    most: int = 5_000,
) -> ElementBaseline:
    """Fits a regression for every element that is known in some of the territories.

    Args:
        store: labelled letters.
        train: territories to learn from.
        validation: territories that choose the penalty; with none it is `GRID[0]`.
        most: bases taken of an element, evenly spread, and as many that are not of it.
    """
    learned = _Sample.draw(store, train, most)
    chosen_by = _Sample.draw(store, validation, most)
    center, scale = learned.features.mean(0), learned.features.std(0) + 1e-6
    weights = np.zeros((learned.features.shape[1], len(ELEMENTS)))
    biases = np.full(len(ELEMENTS), _NEVER)
    penalties = np.full(len(ELEMENTS), np.nan)
    for element in range(len(ELEMENTS)):
        rows, labels, share = learned.of(element)
        if not labels.any() or labels.all():
            continue
        given = (learned.features[rows] - center) / scale
        held_out, truth, held_share = chosen_by.of(element)
        judged = (chosen_by.features[held_out] - center) / scale
        grid = GRID if truth.any() and not truth.all() else GRID[:1]
        best = -np.inf
        for penalty in grid:
            model = _regression(given, labels, share, penalty)
            score = 0.0
            if len(grid) > 1:
                margins = model.decision_function(judged)
                score = average_precision_score(
                    truth, margins, sample_weight=held_share
                )
            if score > best:
                best, penalties[element] = score, penalty
                weights[:, element] = model.coef_[0] / scale
                biases[element] = model.intercept_[0] - center @ weights[:, element]
    return ElementBaseline(weights=weights, biases=biases, penalties=penalties)


def features(
    letters: UInt8[np.ndarray, " bases"], rows: Integer[np.ndarray, " rows"]
) -> Float[np.ndarray, "rows features"]:
    """Share of each k-mer within each width around a base, and the letters beside it.

    Args:
        letters: of a territory; beyond its ends there is nothing to count.
        rows: bases of it, rising.
    """
    reach = max(WIDTHS) // 2 + K
    first, last = int(rows[0]) - reach, int(rows[-1]) + reach
    bases = np.full(last - first, -1, np.int8)
    inside = slice(max(first, 0), min(last, len(letters)))
    bases[inside.start - first : inside.stop - first] = _BASES[letters[inside]]
    at = rows - first
    # How often each k-mer began before a base: two rows of it tell what is between.
    kmers = _canonical()[_codes(bases)]
    before = np.zeros((len(kmers) + 1, _NUM_KMERS + 1), np.int32)
    before[np.arange(1, len(kmers) + 1), kmers] = 1
    before = np.cumsum(before[:, :_NUM_KMERS], 0, dtype=np.int32)
    parts = [
        (before[at + width // 2 - K + 1] - before[at - width // 2]) / np.float32(width)
        for width in WIDTHS
    ]
    beside = bases[at[:, None] + np.arange(-NEAR, NEAR + 1)]
    parts.append((beside[:, :, None] == np.arange(4)).reshape(len(rows), -1))
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _codes(bases: Int[np.ndarray, " bases"]) -> Int[np.ndarray, " kmers"]:
    """Number of the k-mer that begins at each base; 4^K where it has another letter."""
    seen = sliding_window_view(bases, K)
    codes = seen @ (4 ** np.arange(K)[::-1])
    return np.where((seen < 0).any(1), 4**K, codes)


def _canonical() -> Int[np.ndarray, " codes"]:
    """Feature of each k-mer: one for both strands; the last stands for none."""
    every = np.array(list(itertools.product(range(4), repeat=K)))
    powers = 4 ** np.arange(K)[::-1]
    either = np.minimum(every @ powers, (3 - every[:, ::-1]) @ powers)
    numbers = np.unique(either, return_inverse=True)[1]
    return np.append(numbers, numbers.max() + 1)


_NUM_KMERS = int(_canonical()[-1])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Sample:
    """Bases of a part of the genome, and which element each was taken for.

    Attributes:
        features: of each base.
        labels: of each base, by element.
        rows: for each element the bases that were taken for it.
        share: for each element how many bases stand behind one that is of it, and
            behind one that is not.
    """

    features: Float[np.ndarray, "bases features"]
    labels: Bool[np.ndarray, "bases elements"]
    rows: list[Int[np.ndarray, " _"]]
    share: list[tuple[float, float]]

    @classmethod
    def draw(
        cls,
        store: ElementStore,
        territories: Integer[np.ndarray, " territories"],
        most: int,
    ) -> "_Sample":
        taken, share = [], []
        for element in range(len(ELEMENTS)):
            kinds = _places(store, territories, element)
            kept = [_spread(places, most) for places in kinds]
            taken.append(np.concatenate(kept))
            share.append(
                tuple(len(a) / max(len(b), 1) for a, b in zip(kinds, kept, strict=True))
            )
        places, where = np.unique(np.concatenate(taken), return_inverse=True)
        described, labels = _describe(store, territories, places)
        return cls(
            features=described,
            labels=labels,
            rows=np.split(where, np.cumsum([len(part) for part in taken])[:-1]),
            share=share,
        )

    def of(
        self, element: int
    ) -> tuple[
        Int[np.ndarray, " rows"], Bool[np.ndarray, " rows"], Float[np.ndarray, " rows"]
    ]:
        """Rows taken for an element, whether they are of it, and what each weighs."""
        rows = self.rows[element]
        labels = self.labels[rows, element]
        weights = np.where(labels, *self.share[element])
        return rows, labels, weights / weights.mean() if len(rows) else weights


def _places(
    store: ElementStore, territories: Integer[np.ndarray, " territories"], element: int
) -> tuple[Int[np.ndarray, " of_it"], Int[np.ndarray, " others"]]:
    """Places in the store's arrays of bases that are of an element, and are not."""
    of_it, others = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number in territories.tolist():
        if not store.territories[number].known >> element & 1:
            continue
        labels = (_labels(store, number) >> element & 1).astype(bool)
        letter, offset = _letters(store, number) != N, store.offsets[number]
        of_it.append(np.flatnonzero(labels & letter) + offset)
        others.append(np.flatnonzero(~labels & letter) + offset)
    return np.concatenate(of_it), np.concatenate(others)


def _describe(
    store: ElementStore,
    territories: Integer[np.ndarray, " territories"],
    places: Int[np.ndarray, " places"],
) -> tuple[Float[np.ndarray, "places features"], Bool[np.ndarray, "places elements"]]:
    """Features and labels of places, which rise."""
    width = len(WIDTHS) * _NUM_KMERS + 4 * (2 * NEAR + 1)
    found = [np.zeros((0, width), np.float32)]
    for number in np.sort(territories).tolist():
        letters, offset = _letters(store, number), store.offsets[number]
        for chunk in _chunks(len(letters)):
            low, high = np.searchsorted(places, offset + chunk[[0, -1]] + [0, 1])
            if low < high:
                found.append(features(letters, places[low:high] - offset))
    return np.concatenate(found), _bits(store.labels[places])


def _regression(
    given: Float[np.ndarray, "bases features"],
    labels: Bool[np.ndarray, " bases"],
    share: Float[np.ndarray, " bases"],
    penalty: float,
) -> LogisticRegression:
    model = LogisticRegression(C=penalty, max_iter=200, tol=1e-3)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(given, labels, sample_weight=share)


def _spread(places: Int[np.ndarray, " places"], most: int) -> Int[np.ndarray, " kept"]:
    """So many of them, evenly."""
    if len(places) <= most:
        return places
    return places[np.linspace(0, len(places) - 1, most).round().astype(np.int64)]


def _chunks(size: int) -> Iterator[Int[np.ndarray, " rows"]]:
    for start in range(0, size, _CHUNK):
        yield np.arange(start, min(start + _CHUNK, size))


def _bits(labels: Integer[np.ndarray, "*bases"]) -> Bool[np.ndarray, "*bases elements"]:
    return (labels[..., None] >> np.arange(len(ELEMENTS)) & 1).astype(bool)


def _letters(store: ElementStore, number: int) -> UInt8[np.ndarray, " bases"]:
    return store.letters[_slice(store, number)]


def _labels(store: ElementStore, number: int) -> Integer[np.ndarray, " bases"]:
    return store.labels[_slice(store, number)]


def _slice(store: ElementStore, number: int) -> slice:
    place, first = store.territories[number], int(store.offsets[number])
    return slice(first, first + place.end - place.start)
