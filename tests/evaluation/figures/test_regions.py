"""Pictures of spans to be ranked: that they show what they are given."""

import numpy as np
import pytest
from matplotlib import colors, image

from scmultimodal.evaluation.figures import regions, style

FEATURES = ("length", "gc", "cpg", "n_share")


def seen(path, colour):
    """Pixels of a colour."""
    pixels = image.imread(path)[..., :3]
    return int((np.abs(pixels - colors.to_rgb(colour)).max(-1) < 0.02).sum())


def report(accuracies, samples=None):
    """What `region_report.describe` says, as far as it is drawn."""
    return {
        "splits": {
            split: {"one_feature": dict.fromkeys(FEATURES, accuracy)}
            for split, accuracy in accuracies.items()
        },
        "samples": samples or {"T": dict.fromkeys(accuracies, 3)},
    }


def lengths(*sizes):
    rng = np.random.default_rng(0)
    return {
        f"part{number}": tuple(
            rng.uniform(100, 900, count).astype(np.float32)
            for count in (2 * size, size)
        )
        for number, size in enumerate(sizes)
    }


def test_lengths_have_a_panel_for_each_split_and_a_colour_for_each_kind(tmp_path):
    one = regions.region_lengths(lengths(40), tmp_path / "one.png")
    three = regions.region_lengths(lengths(40, 7, 1), tmp_path / "three.png")
    assert image.imread(three).shape[1] > 2.5 * image.imread(one).shape[1]
    for colour in style.COLOURS[:2]:
        assert seen(three, colour) > seen(one, colour) > 100


def test_equal_lengths_and_empty_parts_are_drawn(tmp_path):
    same = {"train": (np.full(4, 510, np.float32), np.full(2, 510, np.float32))}
    path = regions.region_lengths(same, tmp_path / "same.png")
    assert seen(path, style.COLOURS[0]) + seen(path, style.COLOURS[1]) > 100
    regions.region_lengths(lengths(0, 3), tmp_path / "empty.png")


@pytest.mark.parametrize("values", [[0.5, 2.0, 7.0, 7.5], [1.0, 1.0]])
def test_values_have_a_line_for_each_split(tmp_path, values):
    values = np.float32(values)
    path = regions.region_values({"a": values, "b": values[:1]}, tmp_path / "v.png")
    assert [seen(path, c) > 50 for c in style.COLOURS[:3]] == [True, True, False]


def test_values_within_a_decade_have_a_scale(tmp_path):
    """Numbers stand below the axis from its left to its right."""
    values = {"a": np.float32([0.1, 0.2, 0.3, 0.39])}
    pixels = image.imread(regions.region_values(values, tmp_path / "v.png"))[..., :3]
    grey = pixels.mean(-1) < 0.7
    axis = np.flatnonzero(grey.sum(1) > 0.7 * grey.shape[1])[-1]
    columns = np.flatnonzero(grey[axis + 10 : axis + 30].any(0)) / grey.shape[1]
    assert np.ptp(columns) > 0.3


def test_bars_are_as_high_as_the_rankers_are_good(tmp_path):
    path = regions.feature_rankers(
        report({"train": 0.2, "test": 0.4}), tmp_path / "r.png"
    )
    low, high = (seen(path, colour) for colour in style.COLOURS[:2])
    # The squares of the legend and the numbers take a few pixels.
    assert high == pytest.approx(2 * low, rel=0.1)


def test_a_ranker_that_could_not_be_judged_has_no_bar(tmp_path):
    path = regions.feature_rankers(
        report({"train": 0.2, "test": None}), tmp_path / "r.png"
    )
    low, none = (seen(path, colour) for colour in style.COLOURS[:2])
    assert low > 10 * none


def test_samples_have_a_bar_each_as_long_as_they_have_spans(tmp_path):
    def draw(name, samples):
        both = report({"train": 0.2, "test": 0.2}, samples)
        return regions.spans_per_sample(both, tmp_path / name)

    two = draw("2.png", {"T": {"train": 9, "test": 3}, "B": {"train": 3, "test": 1}})
    train, test = (seen(two, colour) for colour in style.COLOURS[:2])
    assert train == pytest.approx(3 * test, rel=0.15)
    many = draw("9.png", {f"t{i}": {"train": 1, "test": 0} for i in range(9)})
    assert image.imread(many).shape[0] > 1.5 * image.imread(two).shape[0]


def test_names_are_no_formulas(tmp_path):
    samples = {"CD4$\\bad{$": {"train": 1}, "$x_": {"train": 2}}
    path = regions.spans_per_sample(
        report({"train": 0.2}, samples), tmp_path / "s.png", note="$^$"
    )
    assert seen(path, style.COLOURS[0]) > 100
