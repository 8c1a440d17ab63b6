"""The built site in a browser: `make test-docs`."""

import functools
import http.server
import threading
import urllib.parse
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests import browser
from tests.docs import pages

pytestmark = pytest.mark.docs

SITE = pages.ROOT / "build" / "site"
SCREENSHOTS = pages.ROOT / "build" / "screenshots"
HTML = sorted(
    path
    for path in SITE.rglob("*.html")
    if not {"_static", "_sources"} & set(path.relative_to(SITE).parts)
)
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """Address of the site on this machine."""
    assert HTML, "no site: `make docs` builds it"
    handler = functools.partial(_Quiet, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Iterator[browser.Page]:
    with browser.opened(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture
def clean(page) -> Iterator[browser.Page]:
    """A page that complained of nothing yet; afterwards it still has not."""
    page.requests.clear()
    page.complaints.clear()
    yield page
    assert page.complaints == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("path", HTML, ids=lambda p: p.relative_to(SITE).as_posix())
def test_a_page_is_whole_and_asks_nobody_else(clean, served, path, width):
    across, down = WIDTHS[width]
    where = path.relative_to(SITE)
    clean.open(f"{served}/{where.as_posix()}", width=across, height=down)
    images = clean.value(
        "Promise.all([...document.images].map(async i => {"
        " i.loading = 'eager'; await i.decode().catch(() => 0);"
        " return [i.src, i.naturalWidth]; }))"
    )
    assert [source for source, natural in images if natural == 0] == []
    assert all(url.startswith((served, "data:")) for url in clean.requests)
    assert clean.value("document.documentElement.scrollWidth") <= across
    clean.shoot(SCREENSHOTS / width / where.with_suffix(".png"))


def test_search_answers(clean, served):
    clean.open(f"{served}/search.html?q=FAVOR")
    titles = clean.value(
        "new Promise(done => { const look = () => {"
        " const found = [...document.querySelectorAll('ul.search li a')];"
        " const over = document.querySelector('.search-summary');"
        " if (found.length && over?.textContent.length)"
        "  done(found.map(one => one.textContent));"
        " else setTimeout(look, 50); }; look(); })"
    )
    assert "The cell model" in titles


def test_a_complaint_is_heard(page, served):
    page.open(f"{served}/index.html")
    page.complaints.clear()
    page.value("fetch('/nowhere.png').then(r => r.status)")
    page.value("console.error('spoiled')")
    page.value("fetch('https://example.org/').catch(() => 0).then(() => 0)")
    assert len(page.complaints) >= 3
    assert page.requests[-1] == "https://example.org/"


class _Links(HTMLParser):
    """Addresses and anchors of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        """Notes what leads on, and what may be led to."""
        told = dict(attrs)
        self.links += [told[k] for k in ("href", "src") if told.get(k)]
        self.anchors |= {told[k] for k in ("id", "name") if told.get(k)}


@pytest.fixture(scope="module")
def parsed() -> dict[Path, _Links]:
    return {path: _Links(path) for path in HTML}


@pytest.mark.parametrize("path", HTML, ids=lambda p: p.relative_to(SITE).as_posix())
def test_no_link_within_the_site_is_broken(parsed, path):
    for link in parsed[path].links:
        parts = urllib.parse.urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        name = urllib.parse.unquote(parts.path)
        target = (path.parent / name).resolve() if name else path
        assert target.is_file(), link
        if parts.fragment and target in parsed:
            assert urllib.parse.unquote(parts.fragment) in parsed[target].anchors, link


def test_every_tutorial_was_run_and_has_a_picture(parsed):
    tutorials = [path for path in HTML if path.parent.name == "tutorials"]
    assert len(tutorials) == 4
    for path in tutorials:
        assert "cell_output" in path.read_text()
        assert any("_images" in link for link in parsed[path].links), path.name
