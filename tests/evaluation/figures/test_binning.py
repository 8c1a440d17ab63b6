"""The picture of ways to bin."""

import numpy as np
import pytest
from matplotlib import colormaps, image

from scmultimodal.evaluation.figures import binning

EDGES = np.linspace(0, 6, 13)


def seen(path, number, bins=5, row=None):
    """Pixels of the colour of a bin, in the upper or lower row or in all."""
    pixels = image.imread(path)[..., :3]
    if row is not None:
        pixels = np.array_split(pixels, 2)[row]
    shade = np.linspace(0.05, 0.95, bins)[number - 1]
    colour = np.array(colormaps["viridis_r"](shade)[:3])
    return int((np.abs(pixels - colour).max(-1) < 0.02).sum())


def counts(*shares, bins=5):
    """Values in the third class alone, shared out over bins."""
    found = np.zeros((12, bins), np.int64)
    found[2, : len(shares)] = shares
    return found


def test_bars_and_areas_are_as_large_as_the_bins_are_full(tmp_path):
    path = binning.strategies(EDGES, {"quantile": counts(20, 40)}, tmp_path / "a.png")
    for row, least in ((0, 500), (1, 3_000)):
        one, two = (seen(path, number, row=row) for number in (1, 2))
        assert one > least
        assert two == pytest.approx(2 * one, rel=0.1)
        assert seen(path, 3, row=row) == 0


def test_strategies_stand_side_by_side_on_one_scale(tmp_path):
    even, all_in_one = counts(*[20] * 5), counts(100)
    path = tmp_path / "a.png"
    both = {"absolute": all_in_one, "gene_normalized": even}
    binning.strategies(EDGES, both, path, name="mine")
    left, right = np.array_split(image.imread(path), 2, axis=1)
    for part, name in ((left, "left.png"), (right, "right.png")):
        image.imsave(tmp_path / name, part)
    first = seen(tmp_path / "left.png", 1, row=1)
    assert first == pytest.approx(5 * seen(tmp_path / "right.png", 1, row=1), rel=0.1)
    assert seen(tmp_path / "left.png", 5) == 0 < seen(tmp_path / "right.png", 5)


@pytest.mark.parametrize(
    "found", [counts(), counts(3, bins=1), counts(*range(40), bins=40)]
)
def test_no_value_one_bin_and_many_bins_are_drawn(tmp_path, found):
    path = binning.strategies(EDGES, {"own": found}, tmp_path / "a.png", note="$^$")
    drawn = seen(path, found.shape[1], bins=found.shape[1], row=1)
    assert (drawn > 50) == bool(found[:, -1].any())
