"""Numbers that are missing, extreme or hard to read."""

import numpy as np
import pytest

from scmultimodal.evaluation.view import page
from scmultimodal.evaluation.view.content import Number
from tests import view_pages
from tests.view_browser import built, opened, pixel, point_at

pytestmark = pytest.mark.docs

READABLE = 4.5
"""Least ratio of text to its ground: WCAG 2.2, success criterion 1.4.3."""


def written(folder, **parts):
    parts = {"cells": view_pages.cells(20), **parts}
    return page.write_page(folder / "view.html", title="", subtitle="", **parts)


def luminance(colour):
    """Relative luminance of rgb(…) or #rrggbb, as WCAG 2.2 defines it."""
    if colour.startswith("#"):
        parts = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    else:
        parts = [float(part) for part in colour[4:-1].split(",")]
    shares = np.array(parts) / 255
    linear = np.where(
        shares > 0.04045, ((shares + 0.055) / 1.055) ** 2.4, shares / 12.92
    )
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


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


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_shares_can_be_read_on_their_fields(chromium, tmp_path, theme):
    shares = np.arange(52, 91, 2)
    counts = np.zeros((len(shares), len(shares)), int)
    counts[:, 0], counts[:, 1] = shares, 100 - shares
    names = [f"type {share}" for share in shares]
    models = [{"name": "m", "is_baseline": False, "counts": counts.tolist()}]
    part = {"name": "rna", "classes": names, "models": models}
    chromium.dark(theme == "dark")
    with opened(chromium, written(tmp_path, confusions=[part])):
        chromium.click("[data-panel=confusion]")
        built(chromium, "confusion")
        found = chromium.value(
            "[...document.querySelectorAll('.matrix:first-child .share')].map((t) => "
            "[t.previousSibling.getAttribute('fill'), getComputedStyle(t).fill])"
        )
    chromium.dark(False)
    assert len(found) >= 2 * len(shares)
    assert min(contrast(*pair) for pair in found) >= READABLE


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_switched_off_can_be_read(chromium, path, theme):
    chromium.dark(theme == "dark")
    with opened(chromium, path):
        chromium.click(".class[data-category='2']")
        chromium.mouse("Moved", 300, 600)
        found = chromium.value(
            "[document.querySelector('.off .class'), document.body].map((one, place) =>"
            "getComputedStyle(one)[place ? 'backgroundColor' : 'color'])"
        )
        chromium.click(".class[data-category='2']")
    chromium.dark(False)
    assert contrast(*found) >= READABLE
