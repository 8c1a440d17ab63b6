"""Perturbed genes and top genes as pictures: lengths and colours, read from them."""

import numpy as np
import pytest
from matplotlib import colors, image

from scmultimodal.evaluation.figures import importance, perturbation, style


def mask(path, colour, within=0.02):
    pixels = image.imread(path)[..., :3]
    return np.abs(pixels - colors.to_rgb(colour)).max(-1) < within


def bars(path):
    """Lengths of the bars in pixels, from top to bottom."""
    lengths = mask(path, style.COLOURS[0]).sum(1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lengths > 0, [0]])))
    return [lengths[a:b].max() for a, b in edges.reshape(-1, 2)]


def test_the_gene_that_moves_cells_most_is_on_top(tmp_path):
    path = perturbation.shift_bars(
        ["A", "B", "C"],
        np.array([0.1, np.nan, 0.4]),
        [5, 0, 7],
        tmp_path / "s.png",
        title="t",
    )
    top, second = bars(path)
    assert top == pytest.approx(4 * second, rel=0.05)


def test_only_the_largest_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(perturbation, "MOST_ROWS", 2)
    shifts = np.array([1.0, 4.0, 2.0, 0.5])
    names = ["A", "B", "C", "D"]
    path = perturbation.shift_bars(names, shifts, [1] * 4, tmp_path / "s.png", title="")
    top, second = bars(path)
    assert top == pytest.approx(2 * second, rel=0.05)


def test_up_is_red_down_is_blue_and_the_unknown_is_grey(tmp_path):
    effects = np.array([[1.0, -1.0, 0.0], [np.nan] * 3, [np.nan, -1.0, 0.5]])
    path = perturbation.effect_map(
        ["A", "nothing", "B"], ["x", "y", "z"], effects, tmp_path / "e.png", title="t"
    )
    # The ends of RdBu_r; the bar of colours shows a line of each, too.
    red, blue = mask(path, "#67001F").sum(), mask(path, "#053061").sum()
    grey = mask(path, "#DDDDDD").sum()
    assert blue == pytest.approx(2 * red, rel=0.1)
    assert grey == pytest.approx(red, rel=0.1)


def test_columns_are_what_changes_most_in_any_row(tmp_path, monkeypatch):
    monkeypatch.setattr(perturbation, "MOST_COLUMNS", 2)
    effects = np.full((2, 50), 0.01)
    effects[0, 7], effects[1, 9] = 1, -1
    names = [f"g{i}" for i in range(50)]
    path = perturbation.effect_map(
        ["A", "B"], names, effects, tmp_path / "e.png", title=""
    )
    red, blue = mask(path, "#67001F").sum(), mask(path, "#053061").sum()
    assert red == pytest.approx(blue, rel=0.1)
    assert red > 500


def test_each_type_has_its_genes(tmp_path):
    found = {"T": [("a", 2.0), ("b", 1.0)], "B": [("c", 3.0)]}
    path = importance.top_genes(found, tmp_path / "t.png", title="t")
    halves = np.array_split(mask(path, style.COLOURS[0]), 2, axis=1)
    heights = [half.any(1).sum() for half in halves]
    assert heights[0] == pytest.approx(2 * heights[1], rel=0.1)
    lengths = halves[0].sum(1)
    assert lengths[lengths > 0].min() == pytest.approx(lengths.max() / 2, rel=0.05)
