"""The confusion matrix as a picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from matplotlib import colormaps, image

from scmultimodal.evaluation import figures
from scmultimodal.evaluation.classification import confusion_order
from scmultimodal.schemas.errors import InputError


def test_classes_confused_with_each_other_stand_together():
    """0 with 3 and 1 with 4, each by half; 2 alone."""
    shares = np.eye(5) / 2
    for a, b in ((0, 3), (3, 0), (1, 4), (4, 1), (2, 2)):
        shares[a, b] += 0.5
    order = confusion_order(shares).tolist()
    assert abs(order.index(0) - order.index(3)) == 1
    assert abs(order.index(1) - order.index(4)) == 1


@given(
    st.integers(1, 9).flatmap(
        lambda n: arrays.arrays(np.int64, (n, n), elements=st.integers(0, 5))
    )
)
def test_any_order_holds_every_class_once(matrix):
    shares = matrix / np.maximum(matrix.sum(1), 1)[:, None]
    assert sorted(confusion_order(shares)) == list(range(len(matrix)))


def test_rows_are_shares_in_the_order_asked_for(tmp_path):
    """Colours of the cells, read from the picture."""
    matrix = np.array([[30, 10, 0], [0, 5, 0], [7, 0, 0]])
    path = figures.confusion(
        matrix, ["a", "b", "c"], tmp_path / "c.png", "Title", order=[2, 0, 1]
    )
    pixels = image.imread(path)[..., :3]
    for share in (1.0, 0.75, 0.25):
        colour = colormaps["Blues"](share)[:3]
        near = np.abs(pixels - colour).max(-1) < 0.004
        assert near.sum() > 500, f"share {share} is seen"
    # Class 2 stands on top and is called class 0, left of class 1, at the bottom.
    full = np.abs(pixels - colormaps["Blues"](1.0)[:3]).max(-1) < 0.004
    ys, xs = np.nonzero(full[:, : int(0.75 * full.shape[1])])
    middle = ys.mean()
    assert xs[ys < middle].mean() < xs[ys > middle].mean()
    half = np.array(colormaps["Blues"](0.5)[:3])
    # 0.5 is seen in the colour bar alone.
    assert (np.abs(pixels - half).max(-1) < 0.004).sum() < 500


def test_every_class_has_a_name(tmp_path):
    with pytest.raises(InputError, match="2 names for 3 classes"):
        figures.confusion(np.eye(3, dtype=int), ["a", "b"], tmp_path / "c.png", "Title")


def test_a_class_without_cells_is_drawn(tmp_path):
    path = figures.confusion(
        np.zeros((2, 2), int), ["a", "b"], tmp_path / "c.png", "Title"
    )
    assert image.imread(path).shape[2] == 4


def test_names_are_no_formulas(tmp_path):
    names = ["CD4$\\bad{$", "$x_"]
    path = figures.confusion(
        np.eye(2, dtype=int), names, tmp_path / "c.png", "$\\frac{$", note="$^$"
    )
    assert path.is_file()
