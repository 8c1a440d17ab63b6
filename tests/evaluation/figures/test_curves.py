"""How a training run went."""

import numpy as np
from matplotlib import colors, image

from scmultimodal.evaluation import figures
from scmultimodal.evaluation.figures.curves import series

RECORDS = [
    {"step": 1, "split": "train", "loss": 2.0},
    {"step": 2, "split": "train", "loss": None},
    {"step": 2, "split": "validation", "loss": 1.5, "accuracy": 0.5},
    {"step": 3, "split": "train", "loss": float("nan")},
    {"step": 4, "split": "train", "loss": 1.0},
]


def test_series_keeps_the_finite_values_of_one_split():
    assert series(RECORDS, "train", "loss") == ([1, 4], [2.0, 1.0])
    assert series(RECORDS, "validation", "accuracy") == ([2], [0.5])
    assert series(RECORDS, "train", "accuracy") == ([], [])


def shape(path):
    return image.imread(path).shape


def test_a_column_per_run_and_a_row_per_measured_metric(tmp_path):
    one = figures.learning_curves({"a": RECORDS}, tmp_path / "1.png")
    runs = dict.fromkeys("abc", RECORDS)
    three = figures.learning_curves(runs, tmp_path / "3.png")
    loss_only = [{k: r[k] for k in ("step", "split", "loss")} for r in RECORDS]
    flat = figures.learning_curves({"a": loss_only}, tmp_path / "flat.png")
    assert shape(three)[1] > 2 * shape(one)[1]
    assert shape(flat)[0] < 0.6 * shape(one)[0]


def marked(path):
    """Height of the mark of the best validation value, from below, in pixels."""
    pixels = image.imread(path)[..., :3]
    near = np.abs(pixels - colors.to_rgb(figures.palette(6)[5])).max(-1) < 0.02
    counts = near.sum(1)
    return len(pixels) - np.flatnonzero(counts == counts.max()).mean()


def test_the_best_is_the_lowest_loss_or_nats_and_the_highest_accuracy(tmp_path):
    """The dotted line across the panel lies at the best value."""
    heights = {}
    for metric in ("loss", "rna_nats_per_count", "accuracy"):
        run = [
            {"step": step, "split": "validation", metric: value}
            for step, value in enumerate([0.5, 0.9, 0.1, 0.5])
        ]
        path = figures.learning_curves({"a": run}, tmp_path / f"{metric}.png")
        heights[metric] = marked(path)
    assert heights["loss"] + 100 < heights["accuracy"]
    assert heights["rna_nats_per_count"] + 100 < heights["accuracy"]


def test_an_empty_run_is_drawn_as_not_measured(tmp_path):
    path = figures.learning_curves({"a": RECORDS, "b": []}, tmp_path / "c.png")
    assert shape(path)[1] > 900
