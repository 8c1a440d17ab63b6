"""What the site reads off code, JSON and README: `make test-docs`."""

import importlib
import json

import pytest

from scmultimodal import cli
from tests.docs import pages

pytest.importorskip("sphinx", reason="`make test-docs` installs Sphinx")
pytestmark = pytest.mark.docs


@pytest.fixture
def extension(monkeypatch):
    monkeypatch.syspath_prepend(pages.DOCS)
    return importlib.import_module("extension")


def test_help_is_what_a_terminal_shows(extension, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "88")
    with pytest.raises(SystemExit):
        cli.main(["inspect", "--help"])
    words = capsys.readouterr().out
    shown = extension.help_of("scmultimodal inspect")
    assert "--figures" in shown
    assert "scmultimodal inspect data/mine --json > facts.json" in words
    assert (
        "    scmultimodal inspect data/mine --json > facts.json" in shown.splitlines()
    )
    assert max(map(len, shown.splitlines())) <= 88


def test_every_command_and_study_has_a_section(extension):
    asked = ["% every command\n% every study"]
    extension.fill_in(None, "page", asked)
    for heading in ("finetune", "prepare-ranking", "cell_model.pretraining"):
        assert f"## {heading}\n" in asked[0]
    assert "% every" not in asked[0]


def test_a_table_is_that_of_its_json(extension, tmp_path):
    name = "cell_types"
    path = extension.RESULTS / f"{name}.json"
    kept = json.loads(path.read_text())
    kept["rows"][0]["accuracy"] = 0.123
    changed = tmp_path / path.name
    changed.write_text(json.dumps(kept))
    assert "| .123 |" not in extension.table_of(name, path)
    assert "| .123 |" in extension.table_of(name, changed)
    assert "Not measured yet" in extension.table_of(name, tmp_path / "none.json")


def test_what_the_readme_says_of_a_table_follows_it(extension):
    assert extension.said_of("multiome").startswith("What it says: networks of both")
    assert extension.said_of("a section that there is not") == ""


def test_code_in_a_docstring_is_marked(extension):
    lines = ["A model.", "", "    model = 1", "    model", "", "Args:", "    a: b."]
    extension.mark_examples(None, "class", "M", None, None, lines)
    assert lines[:5] == ["A model.", "", "::", "", "    model = 1"]
    assert lines[6:] == ["", "Args:", "    a: b."]
