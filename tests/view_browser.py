"""The page of a run in a browser: opened, pointed at, and looked at."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.browser import Page

NAMES = ("Ast", "Mic</script>", "Endo")
"""Classes of the cells of the page that tests open."""


@contextlib.contextmanager
def opened(chromium: Page, path: Path, **size: int) -> Iterator[None]:
    """A page whose first tab stands; it may complain of nothing and ask for nothing."""
    chromium.complaints.clear()
    chromium.requests.clear()
    chromium.open(path, **size)
    built(chromium, "cells")
    yield
    assert chromium.complaints == []
    assert [r for r in chromium.requests if not r.startswith("data:")] == [
        path.resolve().as_uri()
    ]


def built(chromium: Page, name: str) -> None:
    """Waits until what a tab shows is drawn."""
    chromium.wait(f"document.querySelector('#{name} .mount').dataset.built === 'whole'")
    chromium.frame()


def turn_to(chromium: Page, name: str) -> None:
    """Clicks on a tab."""
    chromium.click(f"[data-panel={name}][role=tab]")
    built(chromium, name)


def place_of(chromium: Page, cell: int) -> tuple[float, float]:
    """Where a cell is drawn, in the window."""
    left, top = chromium.value(
        "(() => { const b = view.cells.overlay.getBoundingClientRect();"
        f"const [x, y] = view.cells.screen({cell});"
        "return [b.left + x, b.top + y]; })()"
    )
    return left, top


def point_at(chromium: Page, cell: int) -> tuple[float, float]:
    """Moves the mouse to a cell: its place in the window."""
    left, top = place_of(chromium, cell)
    chromium.mouse("Moved", left, top)
    chromium.frame()
    return left, top


def pixel(chromium: Page, x: float, y: float) -> list[int]:
    """Colour that is drawn at a place of the window."""
    return chromium.value(
        "(() => { const c = document.querySelector('.plane');"
        "const b = c.getBoundingClientRect();"
        f"return [...c.getContext('2d').getImageData({x} - b.left, {y} - b.top, 1, 1)"
        ".data.slice(0, 3)]; })()"
    )
