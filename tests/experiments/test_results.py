"""SECTION.json and the README keep what other calls have measured."""

import json
from pathlib import Path

import pytest

from experiments.evaluation import command, readme, results, sets, tables, texts
from experiments.evaluation.jobs import Job, NothingToJudgeError
from experiments.evaluation.tables import Entry, Section
from scmultimodal.data import locks
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime

REPOSITORY = Path(__file__).parents[2]
GAIN = {"ours": 0.25, "simple": 0.0}


class Bench:
    """A section of two models; ours is ahead by .25, and .125 more on odd seeds."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.models, self.number = folder, dict(GAIN), 1
        self.readme = folder / "README.md"
        self.readme.write_text(
            "a\n<!-- cell_types -->\n<!-- end of cell_types -->\nb\n"
        )
        self.section = Section(
            about="made up",
            entries=self.entries,
            regimes=(Regime.RNA, Regime.ATAC),
            metrics={"accuracy": "accuracy"},
            references=("simple",),
        )
        monkeypatch.setitem(command.SECTIONS, "cell_types", self.section)
        monkeypatch.setattr(sets, "missing", lambda name: None)

    def entries(self, case, folder):
        return [
            Entry(
                row={"model": model},
                job=Job(
                    section="made_up",
                    settings={**case.settings(), "m": model, "number": self.number},
                    compute=lambda *_, case=case, ahead=ahead: self.judge(case, ahead),
                ),
            )
            for model, ahead in self.models.items()
        ]

    def judge(self, case, ahead):
        if case.name == "granja":
            raise NothingToJudgeError("of no use")
        base = 0.5 - (0.25 if case.regime is Regime.ATAC else 0)
        odd = 0.125 if ahead and case.seed % 2 else 0
        return {"test": {"accuracy": base + ahead + odd}}

    def run(self, *words, fails=False):
        given = ["--out", str(self.folder), "--readme", str(self.readme)]
        arguments = ["--sections", "cell_types", *words, *given]
        assert bool(command.main(arguments)) == fails
        return self.rows()

    def rows(self):
        found = results.read(self.folder / "cell_types.json")
        return {(r["set"], r["modality"], r["model"]): r for r in found}


@pytest.fixture
def bench(tmp_path, monkeypatch):
    return Bench(tmp_path, monkeypatch)


def seeds(row):
    return [seed for group in row["measured"] for seed in group["seeds"]]


def test_other_sets_and_modalities_are_kept(bench):
    bench.run("--sets", "simulated", "--seeds", "0", "1")
    first = bench.rows()
    bench.run("--sets", "mouse_cortex", "--regimes", "rna", "--seeds", "0", "1")
    found = bench.run("--sets", "simulated", "--regimes", "atac", "--seeds", "0", "1")
    # In the order of sets and modalities, whichever call came first.
    assert list(found) == [
        *(("mouse_cortex", "rna", model) for model in GAIN),
        *(("simulated", regime, m) for regime in ("rna", "atac") for m in GAIN),
    ]
    for model in GAIN:
        kept = found["simulated", "rna", model]
        assert kept == first["simulated", "rna", model]
        # Each row says by which command it is there.
        for set_name, regime, told in (
            ("simulated", "rna", "--sets simulated --seeds 0 1"),
            ("mouse_cortex", "rna", "--sets mouse_cortex --regimes rna"),
            ("simulated", "atac", "--sets simulated --regimes atac"),
        ):
            (group,) = found[set_name, regime, model]["measured"]
            assert told in group["command"]
            assert group["revision"]
            assert len(group["jobs"]) == 2
    table = bench.readme.read_text()
    assert [table.count(f"| {n} |") for n in ("simulated", "mouse cortex")] == [2, 1]
    page = (bench.folder / "report" / "index.html").read_text()
    assert "mouse cortex" in page


def test_other_seeds_are_kept_and_paired(bench):
    bench.run("--sets", "simulated", "--regimes", "rna", "--seeds", "0", "1")
    found = bench.run("--sets", "simulated", "--regimes", "rna", "--seeds", "2", "1")
    row = found["simulated", "rna", "ours"]
    assert seeds(row) == [0, 1, 2]
    assert row["seeds"] == 3
    assert row["accuracy_by_seed"] == [0.75, 0.875, 0.75]
    assert row["accuracy"] == pytest.approx(2.375 / 3)
    gain = row["accuracy_gains"]["simple"]
    assert gain["mean"] == pytest.approx(0.875 / 3)
    # Of .25, .375, .25: their sd is .125 / √3; t with two degrees is 4.303.
    assert gain["half_width"] == pytest.approx(4.303 * 0.125 / 3, rel=1e-3)
    assert row["accuracy_half_width"] == gain["half_width"]
    assert [group["seeds"] for group in row["measured"]] == [[0], [1, 2]]
    commands = [group["command"] for group in row["measured"]]
    assert ["--seeds 0 1" in commands[0], "--seeds 2 1" in commands[1]] == [True] * 2


def test_seeds_of_several_calls_stay_with_their_values(bench):
    for given in (("0", "2"), ("1",), ("3",)):
        bench.run("--sets", "simulated", "--regimes", "rna", "--seeds", *given)
    row = bench.rows()["simulated", "rna", "ours"]
    assert row["accuracy_by_seed"] == [0.75, 0.875, 0.75, 0.875]
    assert [group["seeds"] for group in row["measured"]] == [[0, 2], [1], [3]]


def test_a_mean_is_of_one_configuration(bench, capsys):
    """Seeds whose settings are others today leave with the row that they were in."""
    for regime in ("rna", "atac"):
        bench.run("--sets", "simulated", "--regimes", regime, "--seeds", "0", "1")
    assert "left out" not in capsys.readouterr().out
    bench.number = 2
    found = bench.run("--sets", "simulated", "--regimes", "rna", "--seeds", "1", "2")
    assert seeds(found["simulated", "rna", "ours"]) == [1, 2]
    assert seeds(found["simulated", "atac", "ours"]) == [0, 1]
    assert "left out: 2 earlier results" in capsys.readouterr().out


def test_results_of_other_numbers_of_cells_are_not_mixed(bench):
    words = ("--sets", "simulated", "--regimes", "rna", "--seeds")
    bench.run(*words, "0", "1")
    found = bench.run(*words, "1", "2", "--cells", "50")
    row = found["simulated", "rna", "ours"]
    assert seeds(row) == [1, 2]
    assert [group["cells"] for group in row["measured"]] == [50]


def test_models_that_are_no_more_leave(bench):
    words = ("--sets", "simulated", "--seeds", "0")
    bench.run(*words)
    del bench.models["ours"]
    bench.models["another"] = 0.0
    found = bench.run(*words, "--regimes", "rna")
    assert [model for _, regime, model in found if regime == "rna"] == [
        *("simple", "another")
    ]
    assert ("simulated", "atac", "ours") in found


def test_what_cannot_be_judged_leaves_the_table_as_it_is(bench):
    first = bench.run("--sets", "simulated", "--seeds", "0")
    assert bench.run("--sets", "granja", "--seeds", "0") == first


def test_published_figures_are_of_no_split(bench, monkeypatch):
    def entries(case, folder):
        said = Job(
            section="published",
            settings={"set": case.name},
            compute=lambda *_: {"test": {"accuracy": 0.7}},
        )
        model = {"model": "published: simple"}
        told = Entry(row=model, job=said, published=True)
        return [*bench.entries(case, folder), told]

    monkeypatch.setitem(
        command.SECTIONS,
        "cell_types",
        Section(**{**vars(bench.section), "entries": entries}),
    )
    words = ("--sets", "simulated", "--regimes", "rna", "--seeds")
    bench.run(*words, "0", "1")
    row = bench.run(*words, "2")["simulated", "rna", "published: simple"]
    assert (row["seeds"], row["measured"]) == (1, [])
    assert (row["accuracy_by_seed"], row["accuracy_gains"]) == ([0.7], {})


def test_rows_of_before_are_of_their_first_seeds(bench):
    """They told a number of splits and the revisions; the file, the command."""
    path = bench.folder / "cell_types.json"
    bench.run("--sets", "simulated", "--seeds", "0", "1")
    content = json.loads(path.read_text())
    for row in content["rows"]:
        del row["measured"]
        row["revisions"] = ["a", "b"]
    path.write_text(json.dumps(content | {"command": "the old one"}))
    words = ("--sets", "simulated", "--regimes", "rna", "--seeds")
    found = bench.run(*words, "1", "2")
    kept, new = (found["simulated", m, "ours"] for m in ("atac", "rna"))
    old = {"cells": None, "revision": "a, b", "command": "the old one"}
    assert kept["measured"] == [{"seeds": [0, 1], "jobs": [None, None]} | old]
    assert kept["accuracy_by_seed"] == [0.5, 0.625]
    # Which settings they are of is not known: they are mixed with nothing.
    assert seeds(new) == [1, 2]


@pytest.mark.parametrize("text", ["{", '{"rows": [{}]}', '{"command": "", "rows": 3}'])
def test_a_damaged_table_is_told_before_anything_is_measured(bench, capsys, text):
    path = bench.folder / "cell_types.json"
    path.write_text(text)
    bench.judge = lambda *_: pytest.fail("measured")
    assert command.main(["--sections", "cell_types", "--out", str(bench.folder)])
    assert (
        "cell_types.json: is not as this command writes it" in capsys.readouterr().err
    )
    assert path.read_text() == text


def test_one_process_at_a_time_changes_a_table(bench, monkeypatch):
    markdown, asked = texts.markdown, []

    def under_lock(*arguments):
        with locks.held(bench.folder / "tables.lock", wait=False) as mine:
            asked.append(mine)
        return markdown(*arguments)

    monkeypatch.setattr(texts, "markdown", under_lock)
    bench.run("--sets", "simulated", "--seeds", "0")
    assert asked == [False]


def test_rows_of_different_sizes_say_so(bench):
    bench.run("--sets", "simulated", "--seeds", "0", "1")
    assert texts.cells(bench.section, list(bench.rows().values()))[0] == [
        *("set", "modality", "model", "accuracy", "over simple")
    ]
    words = ("--sets", "mouse_cortex", "--regimes", "rna", "--cells", "2000")
    bench.run(*words, "--seeds", "0")
    heads, body = texts.cells(bench.section, list(bench.rows().values()))
    assert heads[:5] == ["set", "modality", "model", "splits", "cells"]
    assert [row[3:5] for row in body] == [("1", "2,000")] * 2 + [("2", "all")] * 4


def test_curves_of_different_numbers_of_splits_say_so():
    def row(step, seeds, **fields):
        measured = [{"seeds": [], "cells": 2_000}]
        found = {"set": "a", "modality": "rna", "model": "one", "step": step}
        return found | {"seeds": seeds, "loss": 1.0, "measured": measured} | fields

    section = Section(
        about="", entries=lambda *_: [], metrics={"loss": "nats"}, pivot="step"
    )
    rows = [row(1, 3), row(2, 5), row(3, 4), row(1, 3, model="two")]
    assert texts.cells(section, rows) == (
        ["set", "modality", "model", "splits", "1", "2", "3"],
        [
            ("a", "rna", "one", "3–5", "1.000", "1.000", "1.000"),
            ("", "", "two", "3", "1.000", "", ""),
        ],
    )


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "experiments/results").glob("*.json")), ids=str
)
def test_rows_that_are_there_are_read_and_written_as_they_are(path):
    """Means, intervals and gains come again of what is kept by split."""
    section, rows = command.SECTIONS[path.stem], results.read(path)
    again = tables.merge(section, rows, [], [], Path())
    assert json.dumps(again) == json.dumps(rows)
    readme_text = (REPOSITORY / "README.md").read_text()
    assert texts.markdown(section, rows) in readme_text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--seeds"], "--seeds: names nothing"),
        (["--seeds", "1", "2", "1"], "--seeds: is 1 2 1"),
        (["--seeds", "1", "-2"], "--seeds: has -2"),
        (["--sets", "bmmc", "bmmc"], "--sets: is bmmc bmmc"),
        (["--regimes", "rna", "rna"], "--regimes: is rna rna"),
        (["--sections", "links", "links"], "--sections: is links links"),
        (["--cells", "0"], "--cells: is 0"),
    ],
)
def test_flags_that_make_no_sense(words, told, capsys, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        command.main([*words, "--out", str(tmp_path)])
    assert told in " ".join(capsys.readouterr().err.split())


def test_help_tells_every_section_and_set(capsys):
    with pytest.raises(SystemExit, match="0"):
        command.main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    for name, section in command.SECTIONS.items():
        assert f"{name}: {section.about}" in said
    for name, about in sets.ABOUT.items():
        assert f"{name}: {about}" in said
    assert set(sets.ABOUT) == set(sets.SetName.__args__)
    assert f"from {sets.FILES['bmmc'].path} of SCMULTIMODAL_DATA" in said


def test_a_readme_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"README\.md: cannot be read"):
        readme.check(tmp_path / "README.md", "cell_types")
