"""`scmultimodal perturb` and `scmultimodal explain`."""

import json

import anndata
import pandas as pd
import pytest

from scmultimodal import cli
from scmultimodal.models import CellModel
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.weights import export
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Cells as a file, a model that tells counts and cell types, and one of neither."""
    path = tmp_path_factory.mktemp("explain")
    store = builders.counts_store(path / "data", num_cells=40, num_genes=12)
    builders.simulated_cells(num_cells=40, num_genes=12).write(path / "cells.h5mu")
    head = CellTypeHeadConfig(num_classes=3, hidden=(4,))
    export.save(builders.random_cell_model(store, head=head), path / "model")
    export.save(builders.random_cell_model(store, decodes=False), path / "plain")
    peaks = builders.peak_store(path / "peaks", num_cells=40, num_genes=12)
    both = {"modalities": ("rna", "atac"), "head": {"skip": True}}
    for name, fields in {"by_peak": {}, "by_both": both}.items():
        kind = "both" if fields else "peak"
        export.save(builders.peak_classifier(peaks, kind, **fields), path / name)
    return path


def words(command, folder, model="model", **options):
    given = [command, "--model", str(folder / model)]
    for name, value in options.items():
        given.append(f"--{name.replace('_', '-')}")
        values = value if isinstance(value, list) else [value]
        given += [str(v) for v in values if v is not True]
    return given


def test_perturb_leaves_tables_and_pictures(folder, tmp_path, capsys):
    out, names = tmp_path / "out", tmp_path / "genes.txt"
    names.write_text("GENE7\n\nENSSIMG00000000003 twice\n")
    command = words(
        "perturb",
        folder,
        data=folder / "cells.h5mu",
        genes=["GENE3"],
        gene_list=names,
        top=2,
        out=out,
    )
    assert cli.main(command) == 0
    printed = capsys.readouterr()
    assert "delete RNA in 40 cells" in printed.out
    assert "perturb: 100%" in printed.err or printed.err == ""
    table = pd.read_csv(out / "genes.csv", index_col=0)
    assert table["symbol"].tolist() == ["GENE3", "GENE7"]
    report = json.loads((out / "perturbation.json").read_text())
    rows = {row["symbol"]: row for row in report["perturbed"]}
    assert rows["GENE7"]["cells"] == table["cells"].iloc[1] > 0
    assert report["files"][0]["name"] == "cells.h5mu"
    effects = anndata.read_h5ad(out / "effects.h5ad")
    assert effects.layers["atac"].shape == (2, 12)
    top = pd.read_csv(out / "top_genes.csv")
    assert len(top) == 2 * 2 * 2
    pictures = {f"figure  {out / n}.png" for n in ("shifts", "rna", "atac")}
    assert pictures <= set(printed.out.splitlines())
    assert all((out / f"{n}.png").is_file() for n in ("shifts", "rna", "atac"))


def test_perturb_of_a_model_that_tells_no_counts(folder, tmp_path, capsys):
    out = tmp_path / "out"
    command = words(
        "perturb",
        folder,
        "plain",
        data=folder / "cells.h5mu",
        genes=["GENE3"],
        kind="close",
        out=out,
    )
    assert cli.main(command) == 0
    assert "close ATAC in 40 cells" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {
        *("genes.csv", "perturbation.json", "shifts.png")
    }


def test_explain_leaves_tables_and_a_picture(folder, tmp_path, capsys):
    out = tmp_path / "out"
    command = words(
        "explain",
        folder,
        data=folder / "cells.h5mu",
        label="cell_type",
        neighbours=["GENE3"],
        top=3,
        out=out,
    )
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert f"figure  {out / 'rna.png'}" in printed
    table = pd.read_csv(out / "importance.csv", index_col=[0, 1])
    assert table.shape == (24, 4)
    top = pd.read_csv(out / "top_genes.csv")
    assert top.groupby(["cell_type", "modality"]).size().max() == 3
    report = json.loads((out / "explanation.json").read_text())
    assert sum(report["cells"].values()) == 40
    near = pd.read_csv(out / "neighbours_atac.csv")
    assert near["symbol"].tolist() == ["GENE3"] * 3
    assert f"{near['neighbour'][0]} {near['cosine'][0]:.2f}" in printed
    assert len(report["neighbours"]["rna"]) == 3


@pytest.mark.parametrize("model", ["by_peak", "by_both"])
def test_explain_leaves_peaks_for_browsers(folder, tmp_path, capsys, model):
    """Beside genes where both are read, and on a report's page."""
    out, page = tmp_path / "out", tmp_path / "page"
    cells = {"data": folder / "cells.h5mu", "label": "cell_type"}
    assert cli.main(words("explain", folder, model, top=3, out=out, **cells)) == 0
    found = CellModel.load(folder / model).explain(
        builders.simulated_cells(num_cells=40, num_genes=12), label="cell_type"
    )
    lines = pd.read_csv(out / "peaks.bed.gz", sep="\t")
    assert len(lines) == len(found.peaks.table)
    assert lines["score"].max() == 1_000
    top = pd.read_csv(out / "top_peaks.csv", keep_default_na=False)
    columns = ["cell_type", "chrom", "start"]
    assert top[columns].equals(found.peaks.top_peaks(3)[columns])
    pictures = {"peaks.png"} | ({"rna.png", "atac.png"} if found.genes else set())
    assert {path.name for path in out.glob("*.png")} == pictures
    assert (out / "importance.csv").exists() == (found.genes is not None)
    printed = capsys.readouterr().out
    assert f"{top['chrom'][0]}:{top['start'][0]}-{top['end'][0]}" in printed
    assert not cli.main(["report", str(out), "--out", str(page)])
    facts = json.loads((page / "report.json").read_text())
    told = facts["results"]["explanation"]["answers"]["out"]["top_peaks"]
    assert told == found.peaks.top_peaks(3).to_dict("records")
    place = f"{top['chrom'][0]}:{top['start'][0]}-{top['end'][0]}"
    assert place in (page / "report.html").read_text()


def test_neighbours_alone_need_no_cells(folder, tmp_path, capsys):
    out = tmp_path / "out"
    command = words("explain", folder, "plain", neighbours=["GENE3"], out=out)
    assert cli.main(command) == 0
    assert "nearest genes, rna" in capsys.readouterr().out
    assert not (out / "importance.csv").exists()
    assert cli.main(command) == 2
    assert "Give --overwrite" in capsys.readouterr().err
    assert cli.main([*command, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("perturb", {"genes": ["GENE33"]}, "1 of 1 are not in the model: 'GENE33'"),
        ("perturb", {}, "genes: no gene is named"),
        ("perturb", {"gene_list": "nowhere.txt"}, "nowhere.txt: cannot be read"),
        ("perturb", {"genes": ["GENE3"], "fold": 2}, "fold: is 2.0, and kind"),
        ("explain", {"model": "plain"}, "knows no cell types"),
        ("explain", {"label": "kind"}, "obs has no column 'kind'"),
        (
            "explain",
            {"model": "by_peak", "neighbours": ["GENE3"]},
            "embeds none: it reads peaks",
        ),
    ],
)
def test_what_cannot_be_done_leaves_nothing(
    folder, tmp_path, refused, command, options, message
):
    options = {"data": folder / "cells.h5mu", "out": tmp_path / "out"} | options
    assert message in refused(tmp_path / "out", words(command, folder, **options))


def test_explain_wants_cells_or_genes(folder, tmp_path, refused):
    out = tmp_path / "out"
    line = refused(out, words("explain", folder, out=out))
    assert "Give cells, or --neighbours GENE" in line


def test_a_folder_of_something_else_is_left_alone(folder, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    command = words(
        "perturb",
        folder,
        data=folder / "cells.h5mu",
        genes=["GENE3"],
        out=tmp_path,
        overwrite=True,
    )
    assert cli.main(command) == 2
    assert "exists and holds no perturbation.json" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_report_of_both(folder, tmp_path):
    """From what the commands leave, with where and when they ran."""
    data, page = folder / "cells.h5mu", tmp_path / "page"
    outs = [tmp_path / "deleted", tmp_path / "markers"]
    wanted = ({"genes": ["GENE3"]}, {"label": "cell_type", "neighbours": ["GENE5"]})
    for command, out, options in zip(("perturb", "explain"), outs, wanted, strict=True):
        assert not cli.main(words(command, folder, data=data, out=out, **options))
    assert not cli.main(["report", *map(str, outs), "--out", str(page)])
    facts = json.loads((page / "report.json").read_text())
    for run in facts["runs"]:
        assert run["simulated"]
        assert run["started"][:2] == "20"
        assert run["environment"]["devices"]
    (row,) = facts["results"]["perturbation"]["answers"]["deleted"]["perturbed"]
    assert row["symbol"] == "GENE3"
    markers = facts["results"]["explanation"]["answers"]["markers"]
    assert {gene["symbol"] for gene in markers["neighbours"]["rna"]} == {"GENE5"}
