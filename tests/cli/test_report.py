"""`scmultimodal report`: runs side by side."""

import json

import pytest

from scmultimodal import cli
from tests.workflows import run_folders


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    run_folders.pretraining(folder / "a", losses=(3.0, 2.0))
    run_folders.pretraining(folder / "b", losses=(3.0, 1.5))
    return folder


def test_two_runs_have_one_page(folder, tmp_path, capsys):
    out = tmp_path / "deep" / "page"
    runs = [str(folder / name) for name in "ab"]
    assert cli.main(["report", *runs, "--out", str(out)]) == 0
    page, facts = out / "report.html", out / "report.json"
    assert capsys.readouterr().out == f"report  {page}\nfacts   {facts}\n"
    assert "-0.500" in page.read_text()
    assert len(json.loads(facts.read_text())["runs"]) == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "RUN: is missing"),
        (["a", "."], "is no run folder"),
        (["gone"], "there is no such folder"),
        (["a", "b", "../a/../{here}/a"], "a: is the same run as"),
        (["a", "a"], "a: is given twice"),
        (["a", "torn"], "metrics.jsonl: is damaged"),
    ],
)
def test_bad_runs_leave_nothing(folder, tmp_path, refused, names, message):
    torn = run_folders.pretraining(tmp_path / "torn")
    (torn / "metrics.jsonl").write_text("{]\n")
    places = [
        str(torn if name == "torn" else folder / name.format(here=folder.name))
        for name in names
    ]
    out = tmp_path / "deep" / "page"
    assert message in refused(out, ["report", *places, "--out", str(out)])
    assert not out.parent.exists()
