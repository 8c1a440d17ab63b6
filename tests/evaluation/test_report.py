"""The page of a run."""

import base64
import html.parser
import json
import re

import pandas as pd
import pytest

from scmultimodal.evaluation import report, summary
from scmultimodal.evaluation.classification import ClassificationScores
from scmultimodal.schemas.errors import InputError

NASTY = "<script>alert('x')</script>&\"{0}\""
PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"


class Page(html.parser.HTMLParser):
    """Tags with attributes, and the text of every element."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.source = path.read_text("utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "every element is closed in its turn"

    def handle_data(self, data):
        if data.strip():
            self.text.append((self.open[-1], data.strip()))

    def words(self, tag):
        return [data for inside, data in self.text if inside == tag]


def picture(folder, name="cells.png", content=PNG):
    path = folder / name
    path.write_bytes(content)
    return report.Picture(path=path, caption=NASTY)


def test_every_text_is_escaped(tmp_path):
    frame = pd.DataFrame({NASTY: [NASTY]}, index=pd.Index([NASTY], name=NASTY))
    path = report.write_report(
        tmp_path / "report",
        title=NASTY,
        banner=NASTY,
        summary={NASTY: NASTY, "a": {NASTY: NASTY}, "b": [NASTY]},
        sections=[
            report.Section(
                title=NASTY,
                text=NASTY,
                tables=[report.Table(frame=frame, caption=NASTY)],
                figures=[picture(tmp_path)],
            )
        ],
    )
    page = Page(path)
    assert not [tag for tag, _ in page.tags if tag == "script"]
    for tag in ("title", "h1", "h2", "dt", "td", "th", "caption", "figcaption"):
        assert NASTY in page.words(tag), tag
    assert page.words("p") == [NASTY, NASTY]
    assert f"{NASTY} {NASTY}" in page.words("dd")
    (image,) = (attrs for tag, attrs in page.tags if tag == "img")
    assert image["alt"] == NASTY


def test_the_page_stands_alone_with_its_pictures_beside(tmp_path):
    section = report.Section(title="Cells", figures=[picture(tmp_path)])
    path = report.write_report(
        tmp_path / "report", title="Run", summary={}, sections=[section]
    )
    page = Page(path)
    (image,) = (attrs for tag, attrs in page.tags if tag == "img")
    kind, content = image["src"].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == PNG
    assert (path.parent / "cells.png").read_bytes() == PNG
    assert sorted(p.name for p in path.parent.iterdir()) == ["cells.png", "index.html"]
    assert not re.search(r"https?://|<link|@import|url\(", page.source)
    assert "max-width: 60rem" in page.source, "the style is inside"


def test_banner_stands_only_where_asked(tmp_path):
    plain = report.write_report(tmp_path, title="Run", summary={}, sections=[])
    assert 'class="banner"' not in plain.read_text()


def test_summary_and_paragraphs_are_laid_out(tmp_path):
    path = report.write_report(
        tmp_path,
        title="Run",
        summary={"split": {"train": 7216, "test": 2062}, "left out": {}, "gpu": None},
        sections=[report.Section(title="Results", text="One.\n\nTwo.\n")],
    )
    page = Page(path)
    assert page.words("dt") == ["split", "left out", "gpu"]
    assert page.words("dd") == ["train 7,216, test 2,062", "none", "–"]
    assert page.words("p") == ["One.", "Two."]


def test_results_mark_the_best_and_the_baselines(tmp_path):
    def result(model, modality, accuracy, mcc):
        scores = ClassificationScores(
            accuracy=accuracy, mcc=mcc, macro_f1=0.1, weighted_f1=0.1
        )
        return summary.Result(model=model, modality=modality, scores=scores)

    table = report.results_table(
        [
            result("scmultimodal", "rna", 0.8, 0.6),
            result("scmultimodal", "atac", 0.5, 0.4),
            result("logistic_regression", "rna", 0.7, 0.7),
        ]
    )
    assert table.frame["model"].tolist() == [
        "scmultimodal",
        "logistic_regression",
        "scmultimodal",
    ]
    assert table.marked == {1}
    assert {cell for cell in table.bold if cell[1] < 4} == {
        (0, 2),
        (1, 3),
        (2, 2),
        (2, 3),
    }
    path = report.write_report(
        tmp_path,
        title="Run",
        summary={},
        sections=[report.Section(title="Results", tables=[table])],
    )
    page = Page(path)
    assert page.words("b")[:2] == ["0.800", "0.100"]
    rows = [attrs.get("class") for tag, attrs in page.tags if tag == "tr"]
    assert rows == [None, None, "marked", None]


def test_a_named_index_is_the_first_column(tmp_path):
    frame = pd.DataFrame({"support": [1200]}, index=pd.Index(["Ast"], name="class"))
    table = report.Table(frame=frame, bold=frozenset({(0, 0)}))
    path = report.write_report(
        tmp_path,
        title="Run",
        summary={},
        sections=[report.Section(title="Classes", tables=[table])],
    )
    page = Page(path)
    assert page.words("th") == ["class", "support"]
    assert page.words("td") == ["Ast"]
    assert page.words("b") == ["1,200"]


def test_facts_are_beside_a_page_of_any_name(tmp_path):
    path = report.write_report(
        tmp_path,
        title="Run",
        summary={},
        sections=[],
        facts={"command": "x", "folder": tmp_path},
        page="report.html",
    )
    assert path == tmp_path / "report.html"
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts == {"command": "x", "folder": str(tmp_path)}


def test_differences_carry_their_sign(tmp_path):
    frame = pd.DataFrame(
        {"a": [0.5, 0.25], "± a": [float("nan"), 0.25]},
        index=pd.Index(["x", "y"], name="run"),
    )
    table = report.Table(frame=frame, signed=frozenset({"± a"}))
    path = report.write_report(
        tmp_path,
        title="Run",
        summary={},
        sections=[report.Section(title="Runs", tables=[table])],
    )
    assert Page(path).words("td") == ["x", "0.500", "–", "y", "0.250", "+0.250"]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda f: [report.Picture(path=f / "gone.png")], "no such picture"),
        (lambda f: [picture(f, content=b"GIF89a")], "not a PNG"),
        (
            lambda f: [
                picture(f),
                picture((f / "other").mkdir() or f / "other", content=PNG + b"2"),
            ],
            "share this name",
        ),
    ],
)
def test_a_wrong_picture_stops_before_anything_is_written(tmp_path, make, match):
    section = report.Section(title="Cells", figures=make(tmp_path))
    with pytest.raises(InputError, match=match):
        report.write_report(
            tmp_path / "report", title="Run", summary={}, sections=[section]
        )
    assert not (tmp_path / "report").exists()
