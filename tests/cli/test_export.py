"""`scmultimodal export`: write, check, push."""

import json
import shutil
import sys
import types

import pytest

from scmultimodal import cli
from scmultimodal.models import CellModel
from scmultimodal.workflows import trained
from tests import builders
from tests.workflows import run_folders


@pytest.fixture(scope="module")
def run(tmp_path_factory, lightly_compiled):
    """A run of RNA, with a model of no layers."""
    place = tmp_path_factory.mktemp("runs")
    store = builders.simulated_store(place / "data", num_cells=80)
    model = builders.cell_type_model(
        store, modalities=("rna",), tokens="nonzero", path={"num_layers": 0}
    )
    path = run_folders.cell_types(place / "run")
    trained.save(path / "model", store, model.config, model.params, model.network_state)
    return path


@pytest.fixture
def hub(monkeypatch):
    pushed = []
    client = types.SimpleNamespace(
        get_token=lambda: "somebody",
        create_repo=lambda repository, **how: f"the hub/{repository}",
        upload_folder=lambda **how: pushed.append(how),
        snapshot_download=lambda repository, **how: str(pushed[-1]["folder_path"]),
    )
    client.pushed = pushed
    monkeypatch.setitem(sys.modules, "huggingface_hub", client)
    return client


def test_export_push_check_and_load(run, hub, tmp_path, capsys):
    out = tmp_path / "models" / "cells"
    command = ["export", "--model", str(run), "--out", str(out)]
    assert cli.main([*command, "--license", "cc-by-4.0", "--push", "me/cells"]) == 0
    printed = capsys.readouterr().out
    for word in ("embed.jax_export", "evaluate.py", "CellModel"):
        assert word in printed
    assert printed.splitlines()[-4:] == [
        f"metrics  of {run}",
        "licence  cc-by-4.0",
        "hub      the hub/me/cells",
        f"model    {out}",
    ]
    (upload,) = hub.pushed
    assert (upload["repo_id"], upload["folder_path"]) == ("me/cells", out)
    card = (out / "README.md").read_text()
    assert "# me/cells" in card
    assert "*logistic_regression* (baseline)" in card
    assert CellModel.load("hf://me/cells").classes == CellModel.load(run).classes
    for given in (str(out), "hf://me/cells"):
        assert cli.main(["export", "--check", given]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == [
            "checked",
            "CellModel",
            "annotate.jax_export",
            "embed.jax_export",
            "evaluate.py",
        ]
        assert all(float(line.split()[1]) < 1e-5 for line in lines[1:])
        assert cli.main(["export", "--check", given, "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert list(said) == ["checks"]
        assert list(said["checks"]) == [line.split()[0] for line in lines[1:]]
        assert all(of["difference"] < 1e-5 for of in said["checks"].values())


def test_json_is_all_that_is_printed(run, hub, tmp_path, capsys):
    out = tmp_path / "cells"
    command = ["export", "--model", str(run), "--out", str(out), "--json"]
    assert cli.main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["files"] == {p.name: p.stat().st_size for p in out.iterdir()}
    assert {name: said[name] for name in ("metrics", "licence", "hub", "model")} == {
        "metrics": f"of {run}",
        "licence": None,
        "hub": None,
        "model": str(out),
    }
    assert said["checks"]["evaluate.py"]["difference"] < 1e-5
    more = ["--overwrite", "--license", "mit", "--push", "me/cells"]
    assert cli.main([*command, *more]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["licence"], said["hub"]) == ("mit", "the hub/me/cells")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--out", "{out}"], "--model: is missing"),
        (["--model", "{run}"], "--out: is missing"),
        (["--check", "{run}", "--out", "{out}"], "--check: writes nothing"),
        (["--check", "{run}", "--license", "mit"], "--check: writes nothing"),
        (["--check", "{run}", "--overwrite"], "--check: writes nothing"),
        (["--model", "{out}/gone", "--out", "{out}"], "is no model"),
        (["--check", "{out}"], "is no model"),
        (["--model", "{run}", "--out", "{out}", "--push", "cells"], "as owner/name"),
        (
            ["--model", "{run}", "--out", "{out}", "--license", "free: yes"],
            "is no licence",
        ),
    ],
)
def test_what_cannot_be_done_leaves_nothing(
    run, hub, tmp_path, refused, flags, message
):
    out = tmp_path / "out"
    given = [flag.format(run=run, out=out) for flag in flags]
    assert message in refused(out, ["export", *given])


def test_a_model_and_its_card_are_replaced_only_if_asked(run, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(run / "model", out)
    (out / "README.md").write_text("mine")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    command = ["export", "--model", str(run), "--out", str(out)]
    assert cli.main(command) == 2
    assert f"{out}: exists. Choose another --out, or give" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert cli.main([*command, "--overwrite"]) == 0
    assert "# out" in (out / "README.md").read_text()


def test_a_file_of_somebody_stays_where_a_model_is_replaced(run, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(run / "model", out)
    (out / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    command = ["export", "--model", str(run), "--out", str(out), "--overwrite"]
    assert cli.main(command) == 2
    assert f"{out / 'notes.txt'}: is no file of the" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_nobody_is_logged_in(run, hub, tmp_path, refused):
    hub.get_token = lambda: None
    out = tmp_path / "out"
    command = ["export", "--model", str(run), "--out", str(out), "--push", "me/cells"]
    assert "asks you to be logged in" in refused(out, command)
