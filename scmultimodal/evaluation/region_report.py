"""What a set of spans is like, and what could rank it without reading any sequence.

Counts that are shared out by length grow with it, and padding shows the length: so
length, GC, CpG and N share are each judged as rankers of their own (SPEC 3.3).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int16, UInt8

from scmultimodal.evaluation import ranking
from scmultimodal.genome.composition import FEATURES
from scmultimodal.genome.region_splits import SPLITS

PERCENTILES = (5, 25, 50, 75, 95)


def describe(
    *,
    values: Float32[np.ndarray, "spans 3"],
    features: Float32[np.ndarray, "spans 3 4"],
    cut: Bool[np.ndarray, "spans 3"],
    split: UInt8[np.ndarray, " spans"],
    sample_index: Int16[np.ndarray, " spans"],
    samples: Sequence[str],
) -> dict[str, Any]:
    """Sizes, lengths, values, ties and one-feature rankers, for each split.

    The direction of a ranker is taken from the training spans (from all, where there
    are none); spans with a tie have no right order and are not judged.

    Args:
        values: of the regions; 0 is closed.
        features: of their sequences (`genome.composition.FEATURES`).
        cut: which sequences lost their end.
        split: positions in `SPLITS`.
        sample_index: number of each span's sample.
        samples: their names.

    Returns:
        {"splits": {name: numbers}, "samples": {name: {split: spans}}}; splits without
        a span are left out.
    """
    training = np.flatnonzero(split == SPLITS.index("train"))
    fit_on = training if len(training) else np.arange(len(split))
    rankers = ranking.one_feature_rankers(features, values, FEATURES, fit_on=fit_on)
    parts = {name: np.flatnonzero(split == code) for code, name in enumerate(SPLITS)}
    parts = {name: rows for name, rows in parts.items() if len(rows)}
    return {
        "splits": {
            name: _numbers(values[rows], features[rows], cut[rows])
            | {"one_feature": _judge(rankers, values, rows)}
            for name, rows in parts.items()
        },
        "samples": {
            sample: {
                name: int((sample_index[rows] == number).sum())
                for name, rows in parts.items()
            }
            for number, sample in enumerate(samples)
        },
    }


def format_table(report: Mapping[str, Any]) -> str:
    """The splits side by side, for a terminal."""
    splits = report["splits"]
    rows = [("", list(splits))]
    for title, show in _ROWS.items():
        rows.append((title, [show(numbers) for numbers in splits.values()]))
    for feature in FEATURES:
        shown = [_share(n["one_feature"][feature]) for n in splits.values()]
        rows.append((f"ranked by {feature}", shown))
    rows.append(("ranked by chance", [_share(ranking.CHANCE)] * len(splits)))
    width = max(len(cell) for _, cells in rows for cell in cells)
    return "\n".join(
        f"{title:<26}" + "".join(f"{cell:>{width + 2}}" for cell in cells)
        for title, cells in rows
    )


def _numbers(
    values: Float32[np.ndarray, "spans 3"],
    features: Float32[np.ndarray, "spans 3 4"],
    cut: Bool[np.ndarray, "spans 3"],
) -> dict[str, Any]:
    length = features[:, :, FEATURES.index("length")]
    is_open = values > 0
    return {
        "spans": len(values),
        "regions": values.size,
        "ties": int(ranking.ties(values).sum()),
        "regions_cut": int(cut.sum()),
        "regions_with_n": int((features[:, :, FEATURES.index("n_share")] > 0).sum()),
        "length_bp_open": _percentiles(length[is_open]),
        "length_bp_closed": _percentiles(length[~is_open]),
        "value_open": _percentiles(values[is_open]),
    }


def _percentiles(numbers: np.ndarray) -> dict[str, float]:
    found = np.percentile(numbers, PERCENTILES)
    return {
        f"p{p}": round(float(f), 4) for p, f in zip(PERCENTILES, found, strict=True)
    }


def _judge(
    rankers: Mapping[str, np.ndarray], values: np.ndarray, rows: np.ndarray
) -> dict[str, float | None]:
    """Full-order accuracy of each ranker; None where every span has a tie."""
    found = {
        name: ranking.full_order_accuracy(
            scores[rows], values[rows], equal_scores="chance"
        )
        for name, scores in rankers.items()
    }
    return {name: None if np.isnan(a) else round(a, 4) for name, a in found.items()}


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _range(numbers: Mapping[str, float]) -> str:
    return f"{numbers['p50']:,.4g} ({numbers['p5']:,.4g}-{numbers['p95']:,.4g})"


_ROWS = {
    "spans": lambda n: f"{n['spans']:,}",
    "with a tie": lambda n: f"{n['ties']:,}",
    "regions": lambda n: f"{n['regions']:,}",
    "cut to fit": lambda n: f"{n['regions_cut']:,}",
    "with N": lambda n: f"{n['regions_with_n']:,}",
    "bp, open (5-95 %)": lambda n: _range(n["length_bp_open"]),
    "bp, closed (5-95 %)": lambda n: _range(n["length_bp_closed"]),
    "value, open (5-95 %)": lambda n: _range(n["value_open"]),
}
