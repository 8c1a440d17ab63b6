"""Run folders, read again."""

import json

import pytest

from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import run_scores, runs
from tests.workflows import run_folders


def read(path):
    return runs.read(path, path.name)


def scores(run, part):
    return {score.model: score for score in run.scores[part]}


def test_a_cell_type_run(tmp_path):
    run = read(run_folders.cell_types(tmp_path / "a", right=45))
    assert run.kind == "cell_types"
    assert list(run.scores) == ["rna", "atac"]
    found = scores(run, "rna")
    assert found["scmultimodal"].values["accuracy"] == 45 / 60
    assert {n for n, s in found.items() if s.is_baseline} == {"logistic_regression"}
    # Types come one after the other, and it was right of the first 45 cells.
    recalls = [v["recall"] for v in found["scmultimodal"].by_class.values()]
    assert recalls == [1.0, 1.0, 0.25]
    assert set(run.trainings) == {"pretrain", "finetune/rna"}
    assert not run.simulated
    facts = run.facts()
    assert facts["command"] == "scmultimodal finetune --out a"
    assert facts["environment"]["devices"]
    assert facts["versions"]["jax"]
    assert "command" not in run.settings
    assert run.settings["finetune"]["epochs"] == run_folders.SMALL.finetune.epochs


def test_a_ranking_run_calls_its_one_model_alike(tmp_path):
    found = scores(read(run_folders.ranking(tmp_path / "a", head="unet")), "test")
    assert list(found) == [run_scores.OURS, "gc", "ridge on 5-mers"]
    assert [s.is_baseline for s in found.values()] == [False, True, True]
    assert (
        found[run_scores.OURS].values["full_order"] > found["gc"].values["full_order"]
    )
    assert found[run_scores.OURS].notes["full order, 95 %"].startswith("[")


def test_a_segmentation_run(tmp_path):
    run = read(run_folders.segmented(tmp_path / "a"))
    assert list(run.scores) == ["validation", "test"]
    found = scores(run, "test")
    assert found["logistic_regression"].is_baseline
    rows = json.loads((tmp_path / "a" / "summary.json").read_text())["test"]
    judged = [row["mcc"] for row in rows[:-1]]
    ours = found[run_scores.OURS]
    assert ours.values["mcc"] == pytest.approx(sum(judged) / len(judged))
    assert list(ours.by_class) == [row["name"] for row in rows[:-1]]


def test_a_pretraining_has_its_last_validation(tmp_path):
    run = read(run_folders.pretraining(tmp_path / "a", losses=(3.0, 1.0, 2.0)))
    (score,) = run.scores["validation"]
    assert score.values == {"loss": 2.0}
    assert run.kind == "pretraining"


def test_what_a_model_made_of_changed_genes(tmp_path):
    run = read(run_folders.perturbed(tmp_path / "a"))
    assert (run.kind, run.scores, run.trainings) == ("perturbation", {}, {})
    (table,) = run.tables
    assert table.caption == "delete RNA, in 1,234 cells"
    # What moves cells most is first; what no cell has is last.
    frame = table.frame.reset_index()
    tops = [frame.pop(f"{m} changed most").tolist() for m in ("RNA", "ATAC")]
    assert frame.values.tolist() == [
        ["Gene1", 1, "0.0004", "5"],
        ["Gene0", 2, "0.2", "2"],
        ["Gene2", 0, "–", "–"],
    ]
    assert tops == [
        ["Gene4, Gene0, Gene2, Gene3, Gene5", "Gene4, Gene1, Gene2, Gene3, Gene5", "–"],
        ["Gene4, Gene0, Gene1, Gene2, Gene3", "Gene4, Gene0, Gene1, Gene2, Gene3", "–"],
    ]
    assert [p.path.name for p in run.pictures] == ["shifts.png", "rna.png", "atac.png"]
    assert "perturbed" not in run.settings
    assert run.settings["change"] == "delete RNA"
    assert [row["symbol"] for row in run.answers["perturbed"]] == [
        *("Gene0", "Gene1", "Gene2")
    ]


def test_changed_genes_of_a_model_that_tells_no_counts(tmp_path):
    run = read(run_folders.perturbed(tmp_path / "a", decodes=False))
    assert list(run.tables[0].frame) == ["cells", "cosine shift", "Euclidean shift"]
    assert [p.path.name for p in run.pictures] == ["shifts.png"]


def test_what_a_model_tells_types_by(tmp_path):
    run = read(run_folders.explained(tmp_path / "a", simulated=True))
    assert (run.kind, run.simulated) == ("explanation", True)
    types, alike = run.tables
    assert types.frame.reset_index().values.tolist() == [
        ["Ast", 20, "Gene0 0.5, Gene1 0.25", "–"],
        ["Micro", 10, "–", "Gene2 0.125"],
        ["Oligo", 0, "–", "–"],
    ]
    assert list(types.frame) == ["cells", "rna", "atac"]
    assert alike.frame.reset_index().values.tolist() == [
        ["Gene3", "Gene4 0.875, Gene5 0.5"]
    ]
    assert alike.caption.endswith("alike, rna")
    assert [p.path.name for p in run.pictures] == ["rna.png", "atac.png"]
    assert set(run.answers) == {"cells", "top_genes", "neighbours"}


def test_genes_that_are_alike_alone(tmp_path):
    run = read(run_folders.explained(tmp_path / "a", types=False))
    assert [table.caption[-10:] for table in run.tables] == ["alike, rna"]
    assert not run.pictures
    assert not run.simulated


def test_a_run_that_has_not_ended_has_what_it_measured(tmp_path):
    folder = run_folders.segmented(tmp_path / "a")
    (folder / "summary.json").unlink()
    (score,) = read(folder).scores["validation"]
    assert score.values == {"loss": 0.2, "mcc": 0.1}


def test_time_is_summed_over_restarts(tmp_path):
    folder = run_folders.pretraining(tmp_path / "a")
    records = [{"step": s, "split": "train", "seconds": t} for s, t in TIMES]
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "metrics.jsonl").write_text(text)
    assert read(folder).trained_s == 5.5 + 7
    assert runs.format_seconds(3_661.4) == "1:01:01"


TIMES = [(1, 2.0), (2, 5.5), (3, 1.0), (4, 7.0)]


@pytest.mark.parametrize("where", ["summary.json", "judged.json"])
def test_made_up_data_are_known(tmp_path, where):
    folder = run_folders.cell_types(tmp_path / "a", simulated=where == "summary.json")
    if where == "judged.json":
        content = json.loads((folder / where).read_text())
        content["rna"]["simulated"] = True
        (folder / where).write_text(json.dumps(content))
    assert read(folder).simulated


def test_names_tell_runs_apart(tmp_path):
    paths = [tmp_path / "one" / "run", tmp_path / "two" / "run"]
    for path in paths:
        run_folders.pretraining(path)
    assert [run.name for run in runs.read_all(paths)] == ["one/run", "two/run"]
    assert [run.name for run in runs.read_all(paths[:1])] == ["run"]


def break_json(path):
    path.write_text(path.read_text()[:-20])


def torn(path):
    path.write_text("{\n" + path.read_text())


def without(*names):
    def change(path):
        content = json.loads(path.read_text())
        for name in names[:-1]:
            content = content[name]
        whole = content
        del whole[names[-1]]
        path.write_text(json.dumps(whole))

    return change


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("config.json", break_json, "config.json: is damaged"),
        ("config.json", without("versions"), "a: is no run folder"),
        ("config.json", without("from_scratch"), "leaves nothing to compare"),
        ("summary.json", break_json, "summary.json: is damaged"),
        ("summary.json", without("results"), "summary.json: is not as such a run"),
        ("judged.json", break_json, "judged.json: is damaged"),
        ("judged.json", without("rna", "sha256"), "judged.json: is not as such"),
        ("pretrain/metrics.jsonl", torn, "metrics.jsonl: is damaged"),
    ],
)
def test_damage_is_named(tmp_path, name, damage, message):
    folder = run_folders.cell_types(tmp_path / "a")
    damage(folder / name)
    with pytest.raises(InputError, match=message):
        read(folder)


@pytest.mark.parametrize(
    ("make", "damage", "message"),
    [
        ("perturbed", break_json, "perturbation.json: is damaged"),
        ("perturbed", without("change"), "perturbation.json: is not as such a run"),
        ("perturbed", without("versions"), "a: is no run folder"),
        ("explained", without("cells"), "explanation.json: is not as such a run"),
        ("explained", without("neighbours"), "leaves nothing to compare"),
    ],
)
def test_damage_of_answers_is_named(tmp_path, make, damage, message):
    folder = getattr(run_folders, make)(tmp_path / "a")
    damage(next(folder.glob("*ation.json")))
    with pytest.raises(InputError, match=message):
        read(folder)


def test_other_folders_are_refused(tmp_path):
    run = run_folders.pretraining(tmp_path / "a")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"encoder": {}}')
    for folder, message in (
        (tmp_path / "model", "is no run folder"),
        (tmp_path / "gone", "there is no such folder"),
        (run / "metrics.jsonl", "there is no such folder"),
    ):
        with pytest.raises(InputError, match=message):
            read(folder)
