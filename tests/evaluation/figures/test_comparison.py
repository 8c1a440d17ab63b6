"""Pictures of runs side by side."""

import numpy as np
from matplotlib import colors, image

from scmultimodal.evaluation import figures
from scmultimodal.evaluation.comparison import Part, Score
from scmultimodal.evaluation.figures import comparison

GREY = "#BBBBBB"


def score(run, accuracy, model="ours", **fields):
    return Score(run=run, model=model, values={"accuracy": accuracy}, **fields)


def part(*scores):
    return Part(name="rna", scores=scores, examples={"a": "x", "b": "x"})


def pixels(path, colour):
    """How many have a colour."""
    near = np.abs(image.imread(path)[..., :3] - colors.to_rgb(colour)).max(-1) < 0.02
    return int(near.sum())


def bars(path, *scores):
    return comparison.score_bars([part(*scores)], path, metrics=("accuracy",))


def test_runs_have_colours_and_baselines_are_grey(tmp_path):
    lr = [score(run, 0.5, model="lr", is_baseline=True) for run in "ab"]
    path = bars(tmp_path / "1.png", score("a", 0.5), score("b", 1.0), *lr)
    first, second = figures.palette(2)
    grey = pixels(path, GREY)
    assert 1.8 < pixels(path, second) / pixels(path, first) < 2.2
    # What both runs have is told once.
    assert 0.9 < grey / pixels(path, first) < 1.1
    other = score("b", 0.4, model="lr", is_baseline=True)
    path = bars(tmp_path / "2.png", score("a", 0.5), score("b", 1.0), lr[0], other)
    assert pixels(path, GREY) > 1.5 * grey


def test_curves_are_overlaid_and_only_what_was_measured_has_a_panel(tmp_path):
    def run(*values, **others):
        return [
            {"step": s, "split": "validation", "loss": v, **others}
            for s, v in enumerate(values)
        ]

    def draw(name, trainings):
        path = tmp_path / name
        metrics = ("loss", "mcc", "f1")
        return comparison.overlaid_curves(trainings, path, metrics=metrics)

    one = draw("1.png", {"t": {"a": run(2.0, 1.0), "b": run(3.0, 2.0)}})
    two = draw("2.png", {"t": {"a": run(2.0, 1.0, mcc=0.1), "b": run(3.0)}})
    for colour in figures.palette(2):
        assert pixels(one, colour) > 100
    assert image.imread(two).shape[1] > 1.6 * image.imread(one).shape[1]
    nothing = draw("3.png", {"t": {"a": []}})
    assert image.imread(nothing).shape == image.imread(one).shape


def test_classes_are_rows_and_baselines_open(tmp_path):
    def draw(name, classes):
        by_class = {f"T{number}": {"f1": number / classes} for number in range(classes)}
        lr = score("a", 0.5, model="lr", is_baseline=True, by_class=by_class)
        ours = score("a", 0.5, by_class=by_class)
        return comparison.class_dots(part(ours, lr), "f1", tmp_path / name)

    few, many = draw("1.png", 3), draw("2.png", 20)
    assert image.imread(many).shape[0] > 1.5 * image.imread(few).shape[0]
    assert pixels(many, figures.palette(1)[0]) > 4 * pixels(few, figures.palette(1)[0])
