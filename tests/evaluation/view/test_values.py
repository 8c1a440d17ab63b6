"""Numbers that are missing or extreme."""

import numpy as np
import pytest

from scmultimodal.evaluation.view import page
from scmultimodal.evaluation.view.content import Number
from tests import view_pages
from tests.view_browser import built, opened, pixel, point_at

pytestmark = pytest.mark.docs


def written(folder, **parts):
    parts = {"cells": view_pages.cells(20), **parts}
    return page.write_page(folder / "view.html", title="", subtitle="", **parts)


def test_a_metric_without_a_finite_value_says_so(chromium, tmp_path):
    group = view_pages.curves()
    (training,) = group["trainings"]
    lost = {"metric": "nats", "split": "validation", "steps": [10, 20]}
    training["series"].append({**lost, "values": [None, None]})
    group["metrics"].append({**group["metrics"][0], "name": "nats", "title": "nats"})
    with opened(chromium, written(tmp_path, curves=[group])):
        chromium.click("[data-panel=curves]")
        built(chromium, "curves")
        assert chromium.text("#curves figure:last-child") == "natsno finite value"
        shown = chromium.value("document.querySelector('#curves').innerHTML")
        assert "NaN" not in shown


def test_numbers_beyond_the_ends_have_the_colours_of_the_ends(chromium, tmp_path):
    values = np.arange(20, dtype=np.float32)
    field = Number(name="depth", values=values, ends=(5.0, 10.0))
    cells = view_pages.cells(20, fields=[field])
    with opened(chromium, written(tmp_path, cells=cells)):
        colours = [pixel(chromium, *point_at(chromium, cell)) for cell in range(20)]
    assert colours[:6] == [colours[5]] * 6
    assert colours[10:] == [colours[10]] * 10
    assert colours[5] != colours[10]


def test_no_cell_that_was_judged_is_no_share(chromium, tmp_path):
    empty = view_pages.confusion()
    for model in empty["models"]:
        model["counts"] = [[0, 0], [0, 0]]
    with opened(chromium, written(tmp_path, confusions=[empty])):
        chromium.click("[data-panel=confusion]")
        built(chromium, "confusion")
        assert chromium.text("#confusion figcaption span") == "0 of 0 right"
