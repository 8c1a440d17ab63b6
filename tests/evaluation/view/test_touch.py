"""The page under a finger, which never hovers: it comes, touches, and is gone."""

import pytest

from tests.view_browser import opened, place_of, turn_to

pytestmark = pytest.mark.docs

HIGHLIGHTED = "view.cells.highlighted"


@pytest.fixture
def touched(chromium, path):
    """The page at the size of a phone, with a screen that feels touches."""
    chromium.ask("Emulation.setTouchEmulationEnabled", enabled=True)
    with opened(chromium, path, width=390, height=844):
        yield chromium
    chromium.ask("Emulation.setTouchEmulationEnabled", enabled=False)


def test_a_cell_that_is_tapped_is_described_until_another_place_is(touched):
    for cell in (3, 12):
        touched.tap(*place_of(touched, cell))
        assert not touched.value("document.querySelector('.tip').hidden")
        assert touched.text(".tip b") == f"cell-{cell}"
    x, y = place_of(touched, 12)
    touched.tap(x, y + 120)
    assert touched.value("document.querySelector('.tip').hidden")


def test_a_track_that_is_tapped_is_read(touched):
    turn_to(touched, "genome")
    x, _ = touched.middle(".tracks")
    top = touched.value("view.genome.canvas.getBoundingClientRect().top")
    touched.tap(x - 80, top + 30)
    assert "exon 1.00" in touched.text("#genome .readout")


def test_a_curve_that_is_tapped_tells_its_values(touched):
    turn_to(touched, "curves")
    touched.tap(*touched.middle("#curves svg"))
    assert touched.text("#curves .readout").startswith("step 10")


def test_a_class_that_is_tapped_is_hidden_and_no_other_fades(touched):
    for expected in ("14 of 20 cells", "20 cells"):
        touched.tap(*touched.middle(".class[data-category='2']"))
        assert touched.text(".status").startswith(expected)
        assert touched.value(HIGHLIGHTED) == -1
