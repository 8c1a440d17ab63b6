"""The page, clicked through in a headless Chromium."""

import dataclasses

import numpy as np
import pytest

from scmultimodal.evaluation.view import page
from tests import view_pages
from tests.view_browser import NAMES, opened, pixel, point_at, turn_to

pytestmark = pytest.mark.docs


def test_the_page_has_what_was_given(seen):
    sums = seen.value(
        "(() => { const sum = (a) => a.reduce((x, y) => x + y, 0);"
        "return [sum(view.cells.x), sum(view.cells.y), view.cells.ids[19]]; })()"
    )
    assert sums == [190, 0, "cell-19"]


def test_a_cell_that_is_pointed_at_is_described(seen):
    for cell in (0, 7, 19):
        point_at(seen, cell)
        assert seen.text(".tip b") == f"cell-{cell}"
    assert seen.text(".tip dd") == "–"  # The last has no class.
    point_at(seen, 4)
    assert seen.text(".tip dd") == NAMES[4 % 3]
    seen.mouse("Moved", 400, 120)
    seen.frame()
    assert seen.value("document.querySelector('.tip').hidden")


def test_cells_have_the_colours_of_their_classes(seen):
    palette = seen.value("JSON.parse(document.getElementById('facts').textContent)")
    for cell in (3, 4, 5):
        colour = palette["palettes"]["light"][cell % 3]
        expected = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        assert pixel(seen, *point_at(seen, cell)) == expected


def test_a_hidden_class_is_neither_seen_nor_found(seen):
    seen.click(".class[data-category='2']")
    assert seen.text(".status").startswith("14 of 20 cells")
    place = point_at(seen, 4)
    assert seen.value("document.querySelector('.tip').hidden")
    assert pixel(seen, *place) == [255, 255, 255]
    seen.click(".class[data-category='2']")
    assert seen.text(".status").startswith("20 cells")
    seen.click(".only[data-category='1']")
    assert seen.text(".status").startswith("7 of 20 cells")
    seen.click(".all")
    assert seen.text(".status").startswith("20 cells")


def test_cells_are_coloured_by_a_gene(seen):
    seen.click(".genes button")
    seen.wait("view.cells.coloured.gene === 0")
    low, high = (pixel(seen, *point_at(seen, cell)) for cell in (1, 19))
    assert sum(low) > sum(high)  # Dark is much, on a light ground.
    assert seen.text(".tip dd") == "19"
    seen.click(".switch button:last-child")
    seen.wait("view.cells.coloured.modality === 'atac'")
    point_at(seen, 19)
    assert seen.text(".tip dd") == "0"


def test_genes_classes_and_cells_are_found(seen):
    def find(text, *keys):
        seen.click(".search input")
        seen.value("document.querySelector('.search input').value = ''")
        seen.keys(*text, *keys)

    find("slc", "Enter")
    seen.wait("view.cells.coloured.gene === 0")
    find("mic", "Enter")
    seen.wait("view.cells.highlighted === 2")
    find("cell-17", "Enter")
    assert seen.text(".tip b") == "cell-17"
    find("zzz")
    assert seen.text("#found") == "nothing of that name"


def test_one_zooms_and_moves_with_wheel_buttons_and_keys(seen):
    def scale():
        return seen.value("view.cells.scale / view.cells.whole")

    x, y = point_at(seen, 10)
    seen.mouse("Wheel", x, y, deltaX=0, deltaY=-400)
    seen.frame()
    assert scale() == pytest.approx(np.exp(0.8))
    # What is pointed at stays, to the whole pixels that a wheel is told in.
    assert point_at(seen, 10) == pytest.approx((x, y), abs=1.5)
    seen.click(".zoom button:nth-child(2)")
    assert scale() == pytest.approx(np.exp(0.8) / 1.6)
    seen.click(".zoom button:nth-child(3)")
    assert scale() == 1
    seen.value("view.cells.overlay.focus()")
    seen.keys("+", "ArrowRight")
    assert scale() == pytest.approx(1.4)
    assert seen.text(".tip b").startswith("cell-")
    held = {"button": "left", "clickCount": 1}
    seen.mouse("Pressed", 300, 300, **held)
    before = seen.value("view.cells.left")
    seen.mouse("Moved", 350, 300, button="left", buttons=1)
    seen.mouse("Released", 350, 300, **held)
    assert seen.value("view.cells.left") == pytest.approx(before + 50)


def test_a_track_is_read_under_the_cursor(seen):
    turn_to(seen, "genome")
    x, _ = seen.middle(".tracks")
    box = seen.value("view.genome.canvas.getBoundingClientRect().top")
    seen.mouse("Moved", x - 200, box + 30)
    seen.frame()
    assert "exon 1.00" in seen.text("#genome .readout")
    assert "intron 0.00" in seen.text("#genome .readout")
    seen.mouse("Wheel", x - 200, box + 30, deltaX=0, deltaY=-1000)
    seen.frame()
    size = seen.value("view.genome.to - view.genome.from")
    assert size == pytest.approx(2_000 * np.exp(-2))
    seen.click("#genome input")
    seen.value("view.genome.place.value = 'gad1'")
    seen.keys("Enter")
    assert seen.value("[view.genome.from, view.genome.to]") == [10_800, 12_000]


def test_a_field_of_a_matrix_tells_counts_and_shares(seen):
    turn_to(seen, "confusion")
    seen.mouse("Moved", *seen.middle(".matrix [data-from='0'][data-to='1']"))
    seen.frame()
    said = seen.text("#confusion .readout")
    assert "Ast called Mic" in said
    assert "scmultimodal 1 of 4, 25 %" in said
    assert "logistic_regression 3 of 4, 75 %" in said
    seen.value("document.querySelector('.matrix').focus()")
    seen.keys("ArrowDown")
    assert "Mic called Mic, which is right" in seen.text("#confusion .readout")


def test_a_curve_tells_its_values(seen):
    turn_to(seen, "curves")
    seen.value("document.querySelector('#curves svg').focus()")
    seen.keys("ArrowRight", "ArrowRight")
    assert seen.text("#curves .readout") == "step 20fine-tuning, validation 0.25"


def test_light_and_dark(seen):
    place = point_at(seen, 0)
    empty = (place[0], place[1] - 60)
    assert pixel(seen, *empty) == [255, 255, 255]
    seen.click("#theme")
    assert pixel(seen, *empty) == [0x12, 0x14, 0x17]


@pytest.mark.parametrize("count", [0, 1])
def test_few_cells_are_no_trouble(chromium, tmp_path, count):
    path = page.write_page(
        tmp_path / "view.html",
        title="Few",
        subtitle="",
        cells=view_pages.cells(count),
    )
    with opened(chromium, path):
        assert chromium.text(".status").startswith(f"{count} cells")


def test_a_phone_shows_it_without_a_sideways_scroll(chromium, path):
    with opened(chromium, path, width=390, height=844):
        for name in ("cells", "genome", "confusion", "curves"):
            turn_to(chromium, name)
            assert chromium.value("document.documentElement.scrollWidth") == 390


@pytest.fixture
def twofold(chromium, tmp_path):
    """A page of two layouts, the second the first in reverse, and of two stretches."""
    cells = view_pages.cells(20)
    (first,) = cells.layouts
    second = view_pages.Layout(name="other", how="UMAP", places=first.places[::-1])
    path = page.write_page(
        tmp_path / "view.html",
        title="Run",
        subtitle="",
        cells=dataclasses.replace(cells, layouts=[first, second]),
        loci=[view_pages.locus(), view_pages.locus(400)],
    )
    with opened(chromium, path):
        yield chromium


def test_what_is_drawn_while_a_stretch_is_read_is_the_one_before(twofold):
    turn_to(twofold, "genome")
    shown = twofold.value(
        "(async () => { const { genome } = view; const opened = genome.open(1);"
        "genome.draw(); const before = genome.locus.end; await opened;"
        "return [before, genome.locus.end]; })()"
    )
    assert shown == [12_000, 10_400]
    last = "Promise.all([1, 0].map((n) => view.genome.open(n)))"
    assert twofold.value(f"{last}.then(() => view.genome.locus.end)") == 12_000


def test_what_is_drawn_while_a_layout_is_read_is_the_one_before(twofold):
    shown = twofold.value(
        "(async () => { const { cells } = view; const laid = cells.lie(1);"
        "cells.draw(); const before = [cells.status.textContent, cells.x[0]];"
        "await laid; cells.draw();"
        "return [before, [cells.status.textContent, cells.x[0]]]; })()"
    )
    assert shown == [
        ["20 cells · PCA of the vectors", 0],
        ["20 cells · UMAP of the other", 19],
    ]


def test_a_hundred_thousand_cells_are_moved(chromium, tmp_path, capsys):
    rng = np.random.default_rng(0)
    places = rng.normal(size=(100_000, 2)).astype(np.float32)
    layout = view_pages.Layout(name="vectors", how="UMAP", places=places)
    path = page.write_page(
        tmp_path / "view.html",
        title="Many",
        subtitle="",
        cells=view_pages.cells(100_000, layouts=[layout]),
    )
    with opened(chromium, path):
        last = int(places[:, 1].argmin())  # Nothing lies below it.
        x, y = point_at(chromium, last)
        assert pixel(chromium, x, y) != [255, 255, 255]
        times = chromium.value(
            "(async () => { const found = []; for (let i = 0; i < 40; i++) {"
            "view.cells.pan(i % 20 < 10 ? 5 : -5, -1.5); await new Promise((done) =>"
            "requestAnimationFrame(() => requestAnimationFrame(done)));"
            "found.push(view.cells.drawTook); } return found; })()"
        )
        assert pixel(chromium, x, y) == [255, 255, 255]
        assert pixel(chromium, x, y - 60) != [255, 255, 255]
    with capsys.disabled():
        print(
            f"\n100,000 cells: {np.median(times):.1f} ms to draw a frame while "
            f"moving, {max(times):.1f} ms at most"
        )
