"""Numbers side by side: their lengths, read from the picture."""

import numpy as np
import pytest
from matplotlib import colormaps, colors, image

from scmultimodal.evaluation import figures, summary
from scmultimodal.evaluation.classification import ClassificationScores
from scmultimodal.evaluation.figures import style


def mask(path, colour):
    pixels = image.imread(path)[..., :3]
    return np.abs(pixels - colors.to_rgb(colour)).max(-1) < 0.02


def result(model, modality, accuracy):
    scores = ClassificationScores(
        accuracy=accuracy, mcc=0.0, macro_f1=0.0, weighted_f1=0.0
    )
    return summary.Result(model=model, modality=modality, scores=scores)


def test_bars_have_their_scores_heights(tmp_path):
    results = [
        result("scmultimodal", "rna", 0.9),
        result("logistic_regression", "rna", 0.95),
        result("naive_bayes", "rna", 0.45),
    ]
    path = figures.results_bars(results, tmp_path / "r.png", metrics=["accuracy"])
    tallest = [mask(path, c).sum(0).max() for c in figures.palette(3)]
    assert tallest[0] == pytest.approx(2 * tallest[1], rel=0.03)
    assert tallest[2] == 0, "logistic regression is a line, not a bar"
    line = mask(path, style.INK).sum(1).max()
    assert line > 200


def test_value_bins_are_shares(tmp_path):
    counts = {"rna": np.array([10, 10, 20]), "atac": np.array([100, 100, 200])}
    path = figures.bin_histogram(counts, tmp_path / "b.png")
    heights = [mask(path, c).sum(0).max() for c in figures.palette(2)]
    assert heights[0] == pytest.approx(heights[1], abs=2), "each sums to one"


def test_bands_have_their_shares_widths(tmp_path):
    report = {
        "bands_bp": [10_000, 20_000],
        "peaks_per_band": [50, 30],
        "peaks_outside": 20,
        "fragments_per_band": [0, 0],
        "fragments_outside": 0,
    }
    path = figures.band_coverage(report, tmp_path / "c.png")
    shades = [*colormaps["Blues"](np.linspace(0.85, 0.3, 2)), "#DDDDDD"]
    widths = np.array([mask(path, shade).sum(1).max() for shade in shades])
    np.testing.assert_allclose(widths / widths.sum(), [0.5, 0.3, 0.2], atol=0.02)
