"""The page that compares runs: what stands on it, beside it, and in its JSON."""

import html
import json
import re

import pytest

from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import comparison
from tests.workflows import run_folders


def text_of(page):
    """What a page says, tags and pictures left out."""
    source = page.read_text("utf-8")
    assert not re.search(r"https?://|<link|@import|url\(", source), "it stands alone"
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", source)))


def facts_of(page):
    return json.loads((page.parent / "report.json").read_text())


def scores(facts, kind, part):
    parts = facts["results"][kind]["parts"]
    (found,) = (p["scores"] for p in parts if p["part"] == part)
    return {(s["run"], s["model"]): s for s in found}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def page(folder):
    """Two of the same cells, one of others; the second knows more."""
    paths = [
        run_folders.cell_types(folder / "first", right=30),
        run_folders.cell_types(folder / "second", right=45, from_scratch=False),
        run_folders.cell_types(folder / "third", right=60, cells="z" * 64, seed=7),
        run_folders.pretraining(folder / "before", losses=(3.0, 2.0)),
    ]
    return comparison.run(paths, folder / "page")


def test_the_json_has_what_each_run_was(page):
    runs = facts_of(page)["runs"]
    assert [run["name"] for run in runs] == ["first", "second", "third", "before"]
    assert runs[0]["command"] == "scmultimodal finetune --out first"
    assert set(runs[0]["environment"]) == {"python", "system", "devices"}
    assert runs[0]["versions"]["jax"]
    assert runs[0]["started"][:2] == "20"


def test_only_what_differs_of_the_settings_is_told(page):
    facts = facts_of(page)["results"]
    found = facts["cell_types"]["differing_settings"]
    assert found == {
        "from_scratch": {"first": True, "second": False, "third": True},
        "seed": {"first": None, "second": None, "third": 7},
    } | {name: found[name] for name in found if name.endswith(".seed")}
    assert facts["pretraining"]["differing_settings"] == {}
    assert "Settings that differ" in text_of(page)


def test_scores_are_compared_where_the_cells_are_the_same(page):
    found = scores(facts_of(page), "cell_types", "rna")
    (second, third) = (found[run, "scmultimodal"] for run in ("second", "third"))
    assert second["difference_to_first"]["accuracy"] == pytest.approx(0.25)
    assert third["values"]["accuracy"] == 1.0
    assert third["difference_to_first"]["accuracy"] is None
    text = text_of(page)
    assert "Not comparable (rna, atac): third, judged on other examples" in text
    assert "+0.250" in text
    source = page.read_text()
    assert "<b>0.750</b>" in source
    assert "<b>1.000</b>" in source, "the recalls of a class may be best"


def test_classes_and_curves_are_in_the_json(page):
    found = scores(facts_of(page), "cell_types", "atac")
    first = found["first", "scmultimodal"]["by_class"]
    assert list(first) == list(run_folders.TYPES)
    assert first["Ast"]["recall"] == 1.0
    curves = facts_of(page)["results"]["pretraining"]["validation"]["training"]
    assert [record["loss"] for record in curves["before"]] == [3.0, 2.0]


def test_pictures_are_inside_and_beside(page):
    names = {path.name for path in page.parent.iterdir()} - {"report.html"}
    assert names == {
        "report.json",
        "cell_types_scores.png",
        "cell_types_classes_0.png",
        "cell_types_classes_1.png",
        "cell_types_curves.png",
        "pretraining_scores.png",
        "pretraining_curves.png",
    }
    assert page.read_text().count("data:image/png;base64") == len(names) - 1


@pytest.mark.parametrize("kind", ["ranking", "segmented"])
def test_runs_of_the_genome_model(tmp_path, kind):
    make = getattr(run_folders, kind)
    paths = [make(tmp_path / name, seed=s) for s, name in enumerate("ab")]
    page = comparison.run(paths, tmp_path / "page")
    kind = {"segmented": "segmentation"}.get(kind, kind)
    found = scores(facts_of(page), kind, "test")
    metric = "full_order" if kind == "ranking" else "mcc"
    a, b = (found[run, "the model"]["values"][metric] for run in "ab")
    difference = found["b", "the model"]["difference_to_first"][metric]
    assert difference == pytest.approx(b - a)
    assert f"{difference:+.3f}" in text_of(page)
    assert (tmp_path / "page" / f"{kind}_curves.png").exists()


def test_answers_of_models_stand_beside_each_other(tmp_path):
    paths = [
        run_folders.perturbed(tmp_path / "deleted"),
        run_folders.perturbed(tmp_path / "closed", change="close ATAC", decodes=False),
        run_folders.explained(tmp_path / "one"),
        run_folders.explained(tmp_path / "other", strongest=2),
    ]
    page = comparison.run(paths, tmp_path / "page")
    text = text_of(page)
    for told in (
        "deleted: delete RNA, in 1,234 cells perturbed cells",
        "closed: close ATAC, in 1,234 cells",
        "Gene1 1 0.0004 5",
        "one: Genes that speak most",
        "Ast 20 Gene2 0.5, Gene1 0.25",
        "other: The strongest genes of each type, ATAC.",
    ):
        assert told in text
    assert "Nothing was judged yet" not in text
    facts = facts_of(page)["results"]
    changes = {"deleted": "delete RNA", "closed": "close ATAC"}
    assert facts["perturbation"]["differing_settings"] == {"change": changes}
    assert set(facts["perturbation"]["answers"]) == {"deleted", "closed"}
    tops = facts["explanation"]["answers"]["other"]["top_genes"]
    assert tops[0]["symbol"] == "Gene2"
    # Each picture is there, as its run has it: two of them are called rna.png.
    names = {path.name: path for path in page.parent.glob("*.png")}
    assert set(names) == {
        *(f"perturbation_0_{name}.png" for name in ("shifts", "rna", "atac")),
        "perturbation_1_shifts.png",
        *(f"explanation_{n}_{name}.png" for n in (0, 1) for name in ("rna", "atac")),
    }
    own = (paths[0] / "rna.png").read_bytes()
    assert names["perturbation_0_rna.png"].read_bytes() == own
    assert page.read_text().count("data:image/png;base64") == len(names)


def test_one_answer_has_a_page_of_its_own(tmp_path):
    run = run_folders.explained(tmp_path / "a", types=False, simulated=True)
    text = text_of(comparison.run([run], tmp_path / "page"))
    assert "Gene3 Gene4 0.875, Gene5 0.5" in text
    assert "Genes whose token embeddings are alike" in text
    assert "a: Genes" not in text
    assert "training took" not in text
    assert "Simulated data, no biology: a" in text


def test_made_up_data_are_said_so(tmp_path):
    run = run_folders.cell_types(tmp_path / "a", simulated=True)
    assert "Simulated data, no biology: a" in text_of(
        comparison.run([run], tmp_path / "page")
    )


def test_a_run_has_a_page_of_its_own(tmp_path, capsys):
    run = run_folders.ranking(tmp_path / "a")
    comparison.write_page(run)
    page = run / "report" / "index.html"
    assert capsys.readouterr().out == f"report  {page}\n"
    (facts,) = facts_of(page)["runs"]
    text = text_of(page)
    revision, python = facts["revision"] or "–", facts["environment"]["python"]
    for told in (facts["command"], revision, python):
        assert told in text
    assert "Settings that differ" not in text
    # It is made again when a run goes on.
    (page.parent / "old.png").touch()
    comparison.write_page(run)
    assert not (page.parent / "old.png").exists()


def test_a_run_that_judged_nothing_is_named(tmp_path):
    whole = run_folders.ranking(tmp_path / "whole")
    started = run_folders.ranking(tmp_path / "started")
    (started / "summary.json").unlink()
    (started / "metrics.jsonl").unlink()
    text = text_of(comparison.run([whole, started], tmp_path / "page"))
    assert "Nothing was judged yet: started." in text


def test_what_stands_there_is_kept(tmp_path):
    run = run_folders.pretraining(tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    page = comparison.run([run], tmp_path / "page")
    before = page.stat().st_mtime_ns
    for out, message in (
        (tmp_path / "page", "already holds a report"),
        (tmp_path / "other", "holds no report"),
        (run, "holds the run"),
        (tmp_path, "holds the run"),
    ):
        with pytest.raises(InputError, match=message):
            comparison.run([run], out, overwrite=out != tmp_path / "page")
    assert page.stat().st_mtime_ns == before
    assert (run / "config.json").exists()
    comparison.run([run], tmp_path / "page", overwrite=True)
    assert page.stat().st_mtime_ns > before


def test_a_page_that_is_interrupted_leaves_the_old_one(tmp_path, monkeypatch):
    run = run_folders.pretraining(tmp_path / "run")
    page = comparison.run([run], tmp_path / "page")
    before = {path.name: path.read_bytes() for path in page.parent.iterdir()}
    (run / "metrics.jsonl").unlink()
    run_folders.curve(run, loss=[9.0, 8.0])

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison.report, "write_report", interrupted)
    with pytest.raises(KeyboardInterrupt):
        comparison.run([run], page.parent, overwrite=True)
    assert {p.name: p.read_bytes() for p in page.parent.iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"run", "page"}
