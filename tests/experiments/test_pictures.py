"""Pictures of the evaluation's tables: where every mark is, and what names it."""

import dataclasses
import itertools
import json
from pathlib import Path

import pytest
from matplotlib import colors, image

from experiments.evaluation import command, pictures, studies
from scmultimodal.evaluation.figures import style

PLAIN = dataclasses.replace(studies.BINNING, references=("reference_one",))
CURVES = dataclasses.replace(PLAIN, pivot="step", head=lambda step: f"step {step}")
RESULTS = Path(__file__).parents[2] / "experiments" / "results"


def row(model, values, *, f1=(None, None), **keys):
    """A row of two splits."""
    found = {"set": "two_words", "modality": "rna", "model": model} | keys
    for metric, own in (("accuracy", values), ("macro_f1", f1)):
        mean = None if None in own else sum(own) / len(own)
        found |= {metric: mean, f"{metric}_by_seed": list(own)}
    return found


def words(texts):
    return [text.get_text() for text in texts]


def marks(axes, shape):
    """(x, y, colour) of all points with a marker."""
    return [
        (float(x), float(y), line.get_color())
        for line in axes.lines
        if line.get_marker() == shape
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def legend(figure):
    (found,) = figure.legends
    return dict(zip(words(found.get_texts()), found.legend_handles, strict=True))


def test_a_dot_for_each_split_and_a_line_at_the_mean():
    rows = [row("one", [0.4, 0.6]), row("reference_one", [0.1, 0.3])]
    first, second = pictures.picture(PLAIN, rows).axes
    blue, orange = pictures.OURS, pictures.REFERENCE
    assert marks(first, "o") == [
        *((0.4, 0, blue), (0.6, 0, blue)),
        *((0.1, 1, orange), (0.3, 1, orange)),
    ]
    assert marks(first, "|") == [(0.5, 0, blue), (0.2, 1, orange)]
    assert words(first.get_yticklabels()) == ["one", "reference one"]
    assert first.get_ylim() == (1.5, -0.5), "the first row is on top"
    # Its F1 is not known: the rows stay where they are, beside the same names.
    assert not second.lines
    assert second.get_ylim() == first.get_ylim()
    assert words(second.get_yticklabels()) == ["", ""]


def test_metrics_and_groups_are_named():
    rows = [
        row("one", [0.4, 0.6], modality=modality, told=told)
        for modality in ("rna", "atac")
        for told in ("x", "y")
    ]
    section = dataclasses.replace(PLAIN, keys=("set", "told", "model"))
    axes = pictures.picture(section, rows).axes
    assert [axes[i].get_title("left") for i in (0, 2)] == [
        "two words, told: x",
        "two words, told: y",
    ]
    assert [a.get_xlabel() for a in axes] == ["accuracy", "macro-F1"] * 2
    # A panel has both rows of its group.
    assert [len(marks(a, "|")) for a in axes] == [2, 0, 2, 0]


def test_the_legend_of_dots_says_what_colours_are():
    rows = [row("one", [0.4, 0.6]), row("reference_one", [0.1, 0.3])]
    found = legend(pictures.picture(PLAIN, rows))
    assert list(found) == ["a split", "mean of splits", "what gains are taken over"]
    shapes = [handle.get_marker() for handle in found.values()]
    fills = [handle.get_color() for handle in found.values()]
    assert shapes == ["o", "|", "s"]
    assert fills == [pictures.OURS, pictures.OURS, pictures.REFERENCE]
    alone = legend(pictures.picture(PLAIN, rows[:1]))
    assert list(alone) == ["a split", "mean of splits"], "no orange is drawn"


def test_a_curve_for_each_model():
    """A colour is one model's in all panels, whatever models a panel has."""
    rows = [
        row("one", [0.25, 0.5], step=20),
        row("one", [0.5, 0.75], step=40),
        row("two", [0.25, 0.25], step=40),
        row("two", [0.75, 0.75], step=20, modality="atac"),
    ]
    figure = pictures.picture(CURVES, rows)
    above, _, below, _ = figure.axes
    blue, orange = style.palette(2)
    assert marks(above, "o") == [(0, 0.375, blue), (1, 0.625, blue), (1, 0.25, orange)]
    assert marks(below, "o") == [(0, 0.75, orange)]
    assert words(above.get_xticklabels()) == ["step 20", "step 40"]
    assert above.get_ylabel() == "accuracy"
    found = {name: handle.get_color() for name, handle in legend(figure).items()}
    assert found == {"one": blue, "two": orange}


@pytest.mark.parametrize("section", [PLAIN, CURVES])
def test_where_less_is_better_it_is_said(section):
    metrics = {"loss": "nats", "foscttm": "FOSCTTM", "accuracy": "accuracy"}
    own = {f"{m}{end}": v for m in metrics for end, v in (("", 1.0), ("_by_seed", [1]))}
    rows = [row("one", [1.0]) | own | {"step": 1}]
    section = dataclasses.replace(section, metrics=metrics)
    axes = pictures.picture(section, rows).axes
    name = "get_ylabel" if section.pivot else "get_xlabel"
    assert [getattr(a, name)() for a in axes] == [
        "nats (lower is better)",
        "FOSCTTM (lower is better)",
        "accuracy",
    ]


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda p: p.stem)
def test_what_was_measured_is_drawn_and_nothing_overlaps(path):
    section = command.SECTIONS[path.stem]
    rows = json.loads(path.read_text())["rows"]
    figure = pictures.picture(section, rows)
    drawn = sum(len(marks(a, "o" if section.pivot else "|")) for a in figure.axes)
    assert drawn == sum(r[m] is not None for r in rows for m in section.metrics)
    figure.draw_without_rendering()
    for axes in figure.axes:
        for side in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [t.get_window_extent() for t in side if t.get_text()]
            for one, other in itertools.pairwise(boxes):
                assert not one.overlaps(other)
    boxes = [a.get_tightbbox(for_layout_only=True) for a in figure.axes]
    boxes.append(figure.legends[0].get_window_extent())
    assert not any(
        a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[place + 1 :]
    )
    assert all(figure.bbox.padded(1).contains(*b.min) for b in boxes)
    assert all(figure.bbox.padded(1).contains(*b.max) for b in boxes)


def test_the_file_has_what_was_drawn(tmp_path):
    rows = [row("reference_one", [0.1, 0.3])]
    path = pictures.draw(PLAIN, rows, tmp_path / "picture.png")
    pixels = image.imread(path)[..., :3]
    near = abs(pixels - colors.to_rgb(pictures.REFERENCE)).max(-1) < 0.02
    assert near.sum() > 50
