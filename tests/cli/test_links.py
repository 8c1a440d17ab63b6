"""`scmultimodal links`."""

import pandas as pd
import pytest

from scmultimodal import cli
from scmultimodal.models import CellModel
from scmultimodal.weights import export
from scmultimodal.workflows import pretrain
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

SIZE = {"num_cells": 40, "num_genes": 12}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Cells as a file, a model that tells genes from peaks, and one of genes alone."""
    path = tmp_path_factory.mktemp("links")
    store = builders.peak_store(path / "data", **SIZE)
    builders.simulated_cells(**SIZE).write(path / "cells.h5mu")
    model = pretrain.untrained(store, builders.peak_pretraining())
    export.save(model, path / "model")
    export.save(builders.random_cell_model(store), path / "plain")
    return path


def words(folder, out, model="model", **options):
    given = ["links", "--model", str(folder / model), "--out", str(out)]
    given += ["--data", str(folder / "cells.h5mu")]
    for name, value in options.items():
        values = value if isinstance(value, list) else [value]
        given += [f"--{name.replace('_', '-')}"]
        given += [str(v) for v in values if v is not True]
    return given


def test_links_are_those_of_the_model(folder, tmp_path, capsys):
    out = tmp_path / "links.bedpe"
    options = {"genes": ["GENE3", "GENE7"], "within_bp": 200_000}
    assert cli.main(words(folder, out, top=0, **options)) == 0
    data = builders.simulated_cells(**SIZE)
    model = CellModel.load(folder / "model")
    found = model.peak_to_gene(data, ["GENE3", "GENE7"], within_bp=200_000)
    assert found.to_bedpe(tmp_path / "mine.bedpe").read_text() == out.read_text()
    printed = capsys.readouterr().out
    assert f"{len(found.table)} links of 2 genes in 40 cells" in printed.splitlines()
    assert f"written {out}: {len(found.table)} of them" in printed.splitlines()
    assert cli.main(words(folder, out, top=1, overwrite=True, **options)) == 0
    assert (
        f"written {out}: {len(found.top_links(1))} of them" in capsys.readouterr().out
    )
    table = pd.read_csv(out, sep="\t")
    assert sorted(table["name"]) == sorted(found.top_links(1)["symbol"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"genes": ["GENE33"]}, "1 of 1 are not in the model: 'GENE33'"),
        ({"top": -1}, "--top: is -1"),
        ({"within_bp": 0}, "within_bp: is 0"),
        ({"model": "plain"}, "reads gene-level ATAC, and no peaks"),
    ],
)
def test_what_cannot_be_done_leaves_nothing(
    folder, tmp_path, refused, options, message
):
    out = tmp_path / "links.bedpe"
    assert message in refused(out, words(folder, out, **options))


def test_what_stands_there_stays(folder, tmp_path, capsys):
    out = tmp_path / "links.bedpe"
    out.write_text("mine")
    assert cli.main(words(folder, out)) == 2
    assert "or give --overwrite" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert cli.main(words(folder, tmp_path, overwrite=True)) == 2
    assert "is a folder" in capsys.readouterr().err
