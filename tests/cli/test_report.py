"""`scmultimodal report`: runs side by side."""

import json

import pytest

from scmultimodal import cli
from scmultimodal.schemas.status import Status
from scmultimodal.workflows import view
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


def test_open_makes_a_page_in_the_run(folder, capsys, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    run = folder / "a"
    assert cli.main(["report", str(run), "--open"]) == 0
    page = run / "report" / "view.html"
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == f"page    {page}   (open it in a browser)"
    assert told[0].startswith(
        f"not shown: {run / 'data'}: the prepared data of the run"
    )
    assert "Pre-training of cells" in page.read_text()


def test_open_replaces_a_page_at_out_only_if_asked(
    folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(view, "open_in_browser", lambda page: True)
    (tmp_path / "view.html").write_text("mine")
    command = ["report", str(folder / "a"), "--open", "--out", str(tmp_path)]
    assert cli.main(command) == Status.GIVE_UP
    said = capsys.readouterr().err
    assert f"{tmp_path}: already holds a page. Give --overwrite" in said
    assert (tmp_path / "view.html").read_text() == "mine"
    assert cli.main([*command, "--overwrite"]) == 0
    assert "Pre-training of cells" in (tmp_path / "view.html").read_text()


def test_without_open_a_folder_is_needed(folder, capsys):
    assert cli.main(["report", str(folder / "a")]) == Status.GIVE_UP
    assert "--out: is missing. Give a folder, or --open" in capsys.readouterr().err
