"""A browser, and a small page of every part in it."""

import pytest

from scmultimodal.evaluation.view import page
from scmultimodal.evaluation.view.page import Panel
from tests import browser, view_pages
from tests.view_browser import NAMES, opened


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if browser.find() is None:
        pytest.fail("there is no Chromium: make test-docs installs it")
    with browser.opened(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """20 cells in a row, of three classes, and one of every other part."""
    return page.write_page(
        tmp_path_factory.mktemp("page") / "view.html",
        title="Run",
        subtitle="cells",
        cells=view_pages.cells(20, classes=NAMES),
        loci=[view_pages.locus()],
        confusions=[view_pages.confusion()],
        curves=[view_pages.curves()],
        panels=[Panel(name="run", title="Run", body="<table></table>")],
    )


@pytest.fixture
def seen(chromium, path):
    """The page, opened anew; it may complain of nothing and ask for nothing."""
    with opened(chromium, path):
        yield chromium
