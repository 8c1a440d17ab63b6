"""The page of a run: all it shows is in it, as it was given."""

import base64
import hashlib
import html.parser
import re

import numpy as np
import pytest

from scmultimodal.evaluation.view import page
from scmultimodal.evaluation.view.content import Category, Gene, Number, to_bytes
from scmultimodal.evaluation.view.packing import Arrays
from scmultimodal.evaluation.view.page import Panel
from scmultimodal.schemas.errors import InputError
from tests import view_pages

NASTY = "</script><script>alert('x')</script><!--&\"{{title}}\u2028\n"


def write(folder, **parts):
    path = page.write_page(
        folder / "view.html", **({"title": "Run", "subtitle": "cells"} | parts)
    )
    return view_pages.Written(path)


def test_arrays_are_in_the_page_bit_for_bit(tmp_path):
    rng = np.random.default_rng(0)
    places = rng.normal(size=(70_000, 2)).astype(np.float32)
    codes = rng.integers(-1, 300, 70_000)
    values = rng.normal(size=70_000).astype(np.float32)
    values[7], values[8] = np.nan, np.inf
    written = write(
        tmp_path,
        cells=view_pages.cells(
            70_000,
            layouts=[view_pages.Layout(name="v", how="PCA", places=places)],
            fields=[
                Category(
                    name="batch", classes=[str(n) for n in range(300)], codes=codes
                ),
                Number(name="depth", values=values),
            ],
        ),
    )
    cells = written.facts["cells"]
    (layout,) = cells["layouts"]
    for axis, name in enumerate("xy"):
        found = written.array(layout[name])
        assert found.dtype == np.float32
        assert found.tobytes() == places[:, axis].tobytes()
    assert np.array_equal(written.array(cells["fields"][0]["codes"]), codes + 1)
    shown = written.array(cells["fields"][1]["values"])
    known = np.isfinite(values)
    assert np.array_equal(shown[known], values[known])
    assert np.isnan(shown[~known]).all()
    assert (cells["fields"][1]["low"], cells["fields"][1]["high"]) == (
        values[known].min(),
        values[known].max(),
    )
    assert written.array(cells["ids"])[69_999] == "cell-69999"


def test_values_of_genes_are_bytes_of_the_highest():
    values = np.float32([0, 1e-6, 2, 4, np.nan, -1])
    shades, top = to_bytes(values)
    assert shades.tolist() == [0, 1, 128, 255, 0, 0]  # Some is never shown as none.
    assert top == 4
    assert to_bytes(np.zeros(3, np.float32))[1] == 0


def test_tracks_are_bytes_between_their_ends(tmp_path):
    values = np.float32([-1, 0, 1, 3, np.nan])
    track = view_pages.Track(name="score", values=values, ends=(-1.0, 1.0))
    locus = view_pages.Locus(chrom="chr1", start=5, end=10, tracks=[track])
    (found,) = write(tmp_path, loci=[locus]).facts["loci"]
    assert found["name"] == "chr1:5-10"
    written = view_pages.Written(tmp_path / "view.html")
    assert written.array(found["tracks"][0]["values"]).tolist() == [
        0,
        125,
        250,
        250,
        255,
    ]


def test_no_name_ends_its_place(tmp_path):
    classes = (NASTY, "b" * 10_000)
    cells = view_pages.cells(
        2,
        classes=classes,
        cell_ids=[NASTY, "\ud800"],  # No text in UTF-8.
        note=NASTY,
    )
    written = write(
        tmp_path,
        title=NASTY,
        subtitle=NASTY,
        banner=NASTY,
        cells=cells,
        cells_note=NASTY,
        loci_note=NASTY,
        confusions=[view_pages.confusion(classes)],
        panels=[Panel(name="run", title=NASTY)],
    )
    assert written.facts["cells"]["fields"][0]["classes"] == list(classes)
    assert written.array(written.facts["cells"]["ids"])[0] == NASTY
    assert "alert('x')" not in re.sub(r'id="facts">.*?</script>', "", written.text)
    scripts = re.findall(r"<script(?: [^>]*)?>", written.text)
    kinds = ["application/json", *["text/plain"] * written.text.count('id="array-')]
    assert scripts[:-1] == [s for s in scripts if 'type="' in s]
    assert [re.findall(r'type="([^"]*)"', s)[0] for s in scripts[:-1]] == kinds


class Addresses(html.parser.HTMLParser):
    """What a page would ask for."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found += [v for n, v in attrs if n in ("src", "href", "action", "data")]


def test_the_page_asks_for_nothing(tmp_path):
    written = write(
        tmp_path,
        cells=view_pages.cells(),
        loci=[view_pages.locus()],
        confusions=[view_pages.confusion()],
        curves=[view_pages.curves()],
    )
    assert Addresses(written.text).found == ["data:,"]
    code = re.sub(r"<script type.*?</script>", "", written.text, flags=re.S)
    assert set(re.findall(r"https?://[^\"' ]*", code)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bfetch\(|XMLHttpRequest|import\(|@import|url\(", code)
    policy = re.findall(r'Security-Policy" content="([^"]*)"', written.text)[0]
    assert policy.startswith("default-src 'none';")
    for tag in ("style", "script"):
        inner = re.findall(rf"<{tag}>(.*?)</{tag}>", written.text, flags=re.S)[-1]
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


@pytest.mark.parametrize("count", [0, 1])
def test_few_cells_have_a_page(tmp_path, count):
    cells = view_pages.cells(count, classes=())
    found = write(tmp_path, cells=cells).facts["cells"]
    assert found["count"] == count
    assert found["fields"][0]["classes"] == []


def test_the_same_content_gives_the_same_page(tmp_path):
    texts = [
        write(tmp_path / name, cells=view_pages.cells(), loci=[view_pages.locus()]).text
        for name in "ab"
    ]
    assert texts[0] == texts[1]


def test_what_is_not_there_has_no_tab_or_says_why(tmp_path):
    written = write(tmp_path, cells_note="The cells have gone.")
    assert re.findall(r'data-panel="(\w+)"', written.text) == ["cells"]
    assert '<p class="note">The cells have gone.</p></section>' in written.text


def test_a_page_is_whole_or_as_it_was(tmp_path, monkeypatch):
    write(tmp_path, title="before")
    monkeypatch.setattr(page, "SCRIPTS", ("gone",))
    with pytest.raises(FileNotFoundError):
        write(tmp_path, title="after")
    assert [path.name for path in tmp_path.iterdir()] == ["view.html"]
    assert "<title>before</title>" in (tmp_path / "view.html").read_text()


def test_cells_that_do_not_match_are_refused():
    gene = Gene(
        symbol="a", gene_id="a", speaks_for="", levels={"rna": np.ones(3, "f4")}
    )
    with pytest.raises(InputError, match="3 or 400 values each"):
        view_pages.cells(genes=[gene])
    with pytest.raises(InputError, match="lack a field"):
        view_pages.cells(fields=[])


def test_an_array_that_no_page_reads_is_refused():
    with pytest.raises(ValueError, match=r"float64 \(2,\)"):
        Arrays().add(np.ones(2))
