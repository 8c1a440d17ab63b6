"""Cells on a plane, in colour."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from matplotlib import colors, image

from scmultimodal.evaluation import figures
from scmultimodal.evaluation.figures.scatter import spread
from scmultimodal.schemas.errors import InputError


def seen(path, colour, tolerance=0.02):
    pixels = image.imread(path)[..., :3]
    return (np.abs(pixels - colors.to_rgb(colour)).max(-1) < tolerance).sum()


@pytest.fixture
def plane():
    return np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)


def test_colours_follow_the_sorted_words(tmp_path, plane):
    """Legend and cells: a colour is there for each word and for no other."""
    words = np.resize(["b", "a", "c"], 60)
    path = figures.umap_scatter(plane, words, tmp_path / "u.png", "Cells")
    palette = figures.palette(4)
    assert [seen(path, colour) > 20 for colour in palette] == [True, True, True, False]


def test_a_grid_draws_each_panel(tmp_path, plane):
    panels = {"type": np.resize(["a", "b"], 60), "batch": np.repeat("x", 60)}
    path = figures.umap_grid(plane, panels, tmp_path / "g.png", note="simulated")
    height, width, _ = image.imread(path).shape
    assert width > 2 * height
    assert seen(path, figures.palette(2)[1]) > 20


def test_categories_and_cells_must_match(tmp_path, plane):
    with pytest.raises(InputError, match="59 categories for 60 cells"):
        figures.umap_scatter(plane, ["a"] * 59, tmp_path / "u.png", "Cells")
    assert not list(tmp_path.iterdir())


def test_many_categories_are_drawn_without_a_list(tmp_path, plane):
    words = [f"type {index}" for index in range(60)]
    path = figures.umap_scatter(plane, words, tmp_path / "u.png", "Cells")
    # A lone cell lets a fifth of the white ground through.
    pale = 0.8 * np.array(colors.to_rgb(figures.palette(1)[0])) + 0.2
    assert seen(path, pale) > 20


@given(arrays.arrays(np.float64, (6, 2), elements=st.floats(0, 1)))
def test_names_do_not_lie_on_each_other(centres):
    lengths = [3, 9, 5, 4, 7, 3]
    places = spread(centres, lengths, span=1.0)
    for i in range(6):
        for j in range(i):
            reach = np.array([(lengths[i] + lengths[j]) / 120, 1 / 30])
            assert np.any(np.abs(places[i] - places[j]) >= reach - 1e-3)


def test_names_that_do_not_collide_stay():
    centres = np.array([[0.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    assert np.array_equal(spread(centres, [3, 3, 3], span=1.0), centres)
