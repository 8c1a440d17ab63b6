"""`scmultimodal inspect`, and the table that `prepare` ends with."""

import json

import pytest

from scmultimodal import cli, datasets
from scmultimodal.data.store import Store
from scmultimodal.workflows import inspection
from tests import builders


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return builders.simulated_store(tmp_path_factory.mktemp("store") / "a")


def test_json_is_all_that_is_printed(store, tmp_path, capsys):
    figures = tmp_path / "figures"
    command = ["inspect", str(store.path), "--json", "--figures", str(figures)]
    assert cli.main(command) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == inspection.facts(store)
    assert printed.err == ""
    assert len(list(figures.glob("*.png"))) == 3


def test_the_table_names_the_figures(store, tmp_path, capsys):
    assert cli.main(["inspect", str(store.path), "--figures", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("simulated (SIMULATED): 300 cells x 40 genes")
    drawn = [
        line.split()[1] for line in printed.splitlines() if line.startswith("figure")
    ]
    assert sorted(drawn) == sorted(map(str, tmp_path.glob("*.png")))
    assert len(drawn) == 3


def test_prepare_ends_with_the_same_table(tmp_path, capsys):
    data = builders.simulated_cells()
    data.write(tmp_path / "cells.h5mu")
    genes = tmp_path / "genes.tsv"
    datasets.simulated_genes(data).to_csv(genes, sep="\t", index=False)
    out = str(tmp_path / "out")
    command = ["prepare", "--multiome", str(tmp_path / "cells.h5mu"), "--out", out]
    options = ["--genes", str(genes), "--label", "cell_type", "--workers", "1"]
    assert cli.main([*command, *options]) == 0
    prepared = capsys.readouterr().out
    assert prepared.startswith("cells: 300 cells x 40 genes, RNA and ATAC")
    assert "cells.h5mu" in prepared
    assert cli.main(["inspect", out]) == 0
    assert capsys.readouterr().out == prepared
    assert Store.open(out).num_cells == 300


def test_an_address_stays_an_address(monkeypatch, store):
    """A path would make gs:/ of gs://."""
    asked = []
    monkeypatch.setattr(Store, "open", lambda path: asked.append(path) or store)
    assert cli.main(["inspect", "gs://bucket/cells"]) == 0
    assert asked == ["gs://bucket/cells"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "obs.json").write_text("{}"), "obs.json: has 2 bytes"),
        (lambda path: (path / "manifest.json").unlink(), "has no manifest.json"),
    ],
    ids=["cells", "manifest"],
)
def test_a_damaged_dataset_is_refused(tmp_path, refused, damage, message):
    store = builders.simulated_store(tmp_path / "a")
    damage(store.path)
    figures = tmp_path / "figures"
    command = ["inspect", str(store.path), "--figures", str(figures)]
    assert message in refused(figures, command)
