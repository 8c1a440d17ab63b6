"""Bars of rankers: that they are as high as they should be, and none is left out."""

import numpy as np
import pytest
from matplotlib import colors, image

from scmultimodal.evaluation.figures import ranking, style
from scmultimodal.evaluation.intervals import Interval
from scmultimodal.evaluation.ranking import RankingScores
from scmultimodal.evaluation.ranking_summary import RankerResult


def result(mean, name="ranker", spread=0.1):
    interval = Interval(
        mean=mean,
        low=mean - spread,
        high=mean + spread,
        level=0.95,
        num_values=30,
        num_groups=10,
    )
    scores = RankingScores(
        full_order=mean, pairwise=0.5, ndcg=0.5, mrr=0.5, num_spans=30, num_ties=0
    )
    return RankerResult(name=name, scores=scores, full_order=interval, gains={})


def seen(path, colour, rows=slice(None)):
    """Pixels of a colour."""
    pixels = image.imread(path)[rows, :, :3]
    return int((np.abs(pixels - colors.to_rgb(colour)).max(-1) < 0.02).sum())


def test_bars_are_as_high_as_the_rankers_are_good(tmp_path):
    groups = {
        "linear": {"trained": result(0.4), "frozen": result(0.2)},
        "unet": {"trained": result(0.4), "frozen": result(0.2)},
    }
    path = ranking.ranker_bars(groups, tmp_path / "grid.png")
    trained, frozen = (seen(path, colour) for colour in style.COLOURS[:2])
    # Numbers and error bars take a few pixels.
    assert trained == pytest.approx(2 * frozen, rel=0.15)
    assert frozen > 3_000


def test_a_treatment_that_a_head_lacks_has_no_bar(tmp_path):
    both = {"trained": result(0.4), "frozen": result(0.4)}
    full = ranking.ranker_bars({"a": both, "b": both}, tmp_path / "full.png")
    less = {"a": {"frozen": both["frozen"]}, "b": both}
    path = ranking.ranker_bars(less, tmp_path / "less.png")
    # Kinds take their colours in the order in which they come.
    first, second = (seen(path, colour) for colour in style.COLOURS[:2])
    assert first == pytest.approx(2 * second, rel=0.15)
    assert first == pytest.approx(seen(full, style.COLOURS[0]), rel=0.05)


def test_chance_and_rankers_without_a_network_are_lines(tmp_path):
    groups = {"linear": {"trained": result(0.4)}}
    bare = ranking.ranker_bars(groups, tmp_path / "bare.png")
    lines = [result(0.25, f"line {i}") for i in range(7)]  # more than there are dashes
    path = ranking.ranker_bars(groups, tmp_path / "lines.png", lines=lines)
    assert seen(bare, style.ALARM) > 300
    assert seen(path, style.ALARM) > 300
    assert seen(path, style.FAINT) > seen(bare, style.FAINT) + 1_000


def test_a_single_group_has_a_bar_without_bounds(tmp_path):
    groups = {"linear": {"trained": result(0.4, spread=np.nan)}}
    path = ranking.ranker_bars(groups, tmp_path / "one.png")
    assert seen(path, style.COLOURS[0]) > 3_000


def test_names_are_no_formulas_and_a_note_stands_above(tmp_path):
    groups = {"$\\bad{": {"$x_": result(0.4)}}
    plain = ranking.ranker_bars(groups, tmp_path / "a.png", lines=[result(0.3, "$^")])
    path = ranking.ranker_bars(groups, tmp_path / "b.png", note="simulated $")
    top = slice(0, 40)
    assert seen(path, style.ALARM, top) > seen(plain, style.ALARM, top)
