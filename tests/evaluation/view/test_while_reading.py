"""What is asked of the page while its arrays are still read."""

import contextlib

import pytest

from tests.view_browser import built, pixel, point_at

pytestmark = pytest.mark.docs

HOLD = """
const read = Response.prototype.arrayBuffer;
const held = new Promise((done) => { window.letGo = done; });
Response.prototype.arrayBuffer = async function () {
  await held;
  return read.call(this);
};
"""
"""Arrays are read once `letGo` is called."""


@contextlib.contextmanager
def held_from_the_start(chromium, path):
    """The page, whose arrays have not come."""
    script = "Page.addScriptToEvaluateOnNewDocument"
    number = chromium.ask(script, source=f"(() => {{{HOLD}}})();")["identifier"]
    chromium.complaints.clear()
    chromium.open(path)
    # Only this load is held.
    chromium.ask("Page.removeScriptToEvaluateOnNewDocument", identifier=number)
    yield
    assert chromium.complaints == []


def test_the_theme_changes_before_the_cells_have_come(chromium, path):
    with held_from_the_start(chromium, path):
        chromium.value(
            "document.addEventListener('theme', () => { window.wasTold = true; })"
        )
        chromium.click("#theme")
        assert chromium.value("window.wasTold")  # Not a part of it was skipped.
        chromium.value("letGo()")
        built(chromium, "cells")
        x, y = point_at(chromium, 0)
        assert pixel(chromium, x, y - 60) == [0x12, 0x14, 0x17]


def test_what_cells_are_coloured_by_stays_until_a_gene_has_come(seen):
    seen.value(f"(() => {{{HOLD}}})()")
    before = pixel(seen, *point_at(seen, 4))
    seen.click(".genes button")
    seen.click("#theme")
    seen.click("#theme")
    assert pixel(seen, *point_at(seen, 4)) == before
    assert seen.text(".tip dt") == "type"
    seen.value("letGo()")
    seen.wait("view.cells.coloured.gene === 0")
    point_at(seen, 5)
    assert seen.text(".tip dt") == "Slc1a2"
