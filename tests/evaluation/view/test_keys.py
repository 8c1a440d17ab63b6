"""The page by keys and by its address."""

import pytest

from tests.view_browser import built, point_at

pytestmark = pytest.mark.docs

PRESS = {"button": "left", "clickCount": 1}


def search(page, text):
    """Types into the field above the legend."""
    page.click(".search input")
    page.value("document.querySelector('.search input').value = ''")
    page.keys(*text)


def test_a_list_that_was_closed_is_not_taken_from(seen):
    search(seen, "mic")
    seen.keys("Escape", "Enter")
    assert seen.value(
        "[view.cells.highlighted, document.querySelector('.search input')"
        ".getAttribute('aria-activedescendant')]"
    ) == [-1, ""]
    seen.keys("ArrowDown", "Enter")  # Opens it anew.
    seen.wait("view.cells.highlighted === 2")


def test_an_address_turns_to_its_tab(seen):
    seen.value("{ location.hash = 'curves'; }")
    built(seen, "curves")
    assert seen.value("document.body.dataset.panel") == "curves"
    chosen = "document.querySelector('[aria-selected=true]').textContent"
    assert seen.value(chosen) == "Curves"
    seen.value("{ location.hash = ''; }")
    seen.wait("document.body.dataset.panel === 'cells'")


def test_keys_go_on_from_a_cell_that_was_clicked(seen):
    x, y = point_at(seen, 10)
    seen.mouse("Pressed", x, y, **PRESS)
    seen.mouse("Released", x, y, **PRESS)
    seen.keys(*["ArrowUp"] * 3)  # Far from all cells.
    assert seen.value("document.querySelector('.tip').hidden")
    point_at(seen, 4)
    assert seen.text(".tip b") == "cell-4"


def test_a_cell_that_is_hidden_is_no_longer_described(seen):
    search(seen, "cell-17")
    seen.keys("Enter")
    assert seen.text(".tip b") == "cell-17"
    seen.value("document.querySelector('.class[data-category=\"3\"]').click()")
    assert seen.value("document.querySelector('.tip').hidden")
    seen.value("document.querySelector('.class[data-category=\"1\"]').click()")


def test_the_focus_stays_where_a_button_has_gone(seen):
    for selector in (".only[data-category='1']", ".all"):
        seen.value(f'document.querySelector("{selector}").focus()')
        seen.keys("Enter")
    assert seen.value("document.activeElement.className") == "class"
    seen.click(".genes button")
    seen.wait("view.cells.coloured.gene === 0")
    seen.value("document.querySelector('.switch button:last-child').focus()")
    seen.keys("Enter")
    seen.wait("view.cells.coloured.modality === 'atac'")
    assert seen.value("document.activeElement.textContent") == "ATAC"


def test_a_place_on_another_chromosome_is_not_there(seen):
    seen.value("{ document.querySelector('[data-panel=genome]').click(); }")
    built(seen, "genome")
    shown = seen.value("[view.genome.from, view.genome.to]")
    for place in ("chr5:10,500-10,600", "chr2:90-100", "chr2:", "13,000", "Gad7"):
        seen.click("#genome input")
        seen.value(f"view.genome.place.value = '{place}'")
        seen.keys("Enter")
        assert seen.text("#genome .readout") == f"There is no {place} here."
        assert seen.value("[view.genome.from, view.genome.to]") == shown
    seen.value("view.genome.place.value = 'CHR2:10,500-10,600'")
    seen.keys("Enter")
    assert seen.value("[view.genome.from, view.genome.to]") == [10_490, 10_610]
