"""The page by keys and by its address."""

import pytest

from tests.view_browser import built

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
