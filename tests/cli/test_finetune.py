"""`scmultimodal finetune`: what it prints, what it writes, and what it refuses."""

import json

import numpy as np
import pytest
import scipy.sparse as sp

from scmultimodal import cli, datasets
from scmultimodal.models import CellModel
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell.readers import join_modalities
from scmultimodal.weights import export
from scmultimodal.workflows import cell_types
from tests import builders

pytestmark = pytest.mark.usefixtures("tiny")

SCORES = ["accuracy", "mcc", "macro_f1", "weighted_f1"]


def cells():
    """Cells as a file holds them, with labels that serve and one that does not."""
    data = builders.simulated_cells()
    data.obs["constant"] = "same"
    return data


def write_genes(data, path, *, gtf=False):
    """The annotation of simulated data as BED6, or as GTF."""
    lines = []
    for gene in datasets.simulated_genes(data).itertuples():
        place = f"{gene.start}\t{gene.end}"
        if gtf:
            names = f'gene_id "{gene.gene_id}.2"; gene_name "{gene.symbol}";'
            place = f"{gene.start + 1}\t{gene.end}\t.\t{gene.strand}\t.\t{names}"
            lines.append(f"{gene.chrom}\tmade\tgene\t{place}")
        else:
            lines.append(f"{gene.chrom}\t{place}\t{gene.symbol}\t0\t{gene.strand}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with my.h5mu, genes.bed and genes.gtf."""
    folder = tmp_path_factory.mktemp("inputs")
    data = cells()
    data.write_h5mu(folder / "my.h5mu")
    write_genes(data, folder / "genes.bed")
    write_genes(data, folder / "genes.gtf", gtf=True)
    return folder


def arguments(folder, out, **options):
    """A `finetune` command on the files of a folder, with other options in place."""
    options = {
        "data": folder / "my.h5mu",
        "label": "cell_type",
        "genes": folder / "genes.bed",
        "out": out,
    } | options
    named = [(f"--{name}", str(value)) for name, value in options.items()]
    return ["finetune", *(word for pair in named for word in pair)]


# Bad data: (what is done to the cells, words of the message).


def value(number):
    def change(data):
        counts = data["rna"].X.astype(np.float64).tolil()
        counts[3, 2] = number
        data["rna"].X = counts.tocsr()

    return change


def empty_atac(data):
    data["atac"].X = sp.csr_matrix(data["atac"].shape, dtype=np.int32)


def mixed_chromosomes(data):
    atac = data["atac"]
    bare = [n.removeprefix("chr") if i < 3 else n for i, n in enumerate(atac.var_names)]
    atac.var = atac.var[[]].set_axis(bare)


def other_genes(data):
    data["rna"].var = data["rna"].var[[]].set_axis([f"X{i}" for i in range(40)])


def twice(kind):
    def change(data):
        names = getattr(data["rna"], f"{kind}_names").tolist()
        setattr(data["rna"], f"{kind}_names", [names[1], *names[1:]])

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            value(-1),
            ["[rna]", "value -1", "G00000000002", "cell_000003", "whole numbers"],
        ),
        (value(0.5), ["[rna]", "value 0.5", "is not a count", "Raw counts"]),
        (value(np.nan), ["[rna]", "value nan", "is not a count", "Raw counts"]),
        (value(np.inf), ["[rna]", "value inf", "is not a count", "Raw counts"]),
        (twice("var"), ["[rna]", "occurs 2 times", "unique"]),
        (twice("obs"), ["cell_000001", "occurs 2 times", "unique"]),
        (mixed_chromosomes, ["[atac]", "chr", "'1'"]),
        (other_genes, ["[rna]", "only 0 of 40 genes", "X0", "Give the annotation"]),
        (empty_atac, ["[atac]", "holds no counts", "layer"]),
    ],
    ids=lambda x: getattr(x, "__name__", " "),
)
@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_bad_counts(inputs, tmp_path, refused, change, words):
    data = builders.simulated_cells()
    parts = {key: adata.copy() for key, adata in data.mod.items()}
    change(parts)
    bad = tmp_path / "bad.h5mu"
    join_modalities(parts).write_h5mu(bad)
    out = tmp_path / "out"
    line = refused(out, arguments(inputs, out, data=bad))
    for word in ["bad.h5mu", *words]:
        assert word in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"label": "cel_type"}, ["my.h5mu", "no column 'cel_type'", "cell_type"]),
        ({"label": "constant"}, ["my.h5mu", "has 1 class (same)", "--label"]),
        ({"batch": "lane"}, ["my.h5mu", "no column 'lane'", "batch"]),
        ({"layer": "raw"}, ["my.h5mu", "no layer 'raw'"]),
        ({"data": "none.h5mu"}, ["none.h5mu", "does not exist", "Check the path"]),
        ({"data": "my.rds"}, ["my.rds", "is a .rds file", "Give .h5mu, .h5ad"]),
        ({"genes": "none.bed"}, ["none.bed", "cannot be read", "Check the file"]),
        ({"model": "none"}, ["none", "is no model", "run folder"]),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else " ",
)
def test_bad_options(inputs, tmp_path, refused, options, words):
    out = tmp_path / "out"
    line = refused(out, arguments(inputs, out, **options))
    for word in words:
        assert word in line


def test_a_file_that_was_cut_short(inputs, tmp_path, refused):
    cut, whole = tmp_path / "cut.h5mu", (inputs / "my.h5mu").read_bytes()
    out = tmp_path / "out"
    for share in (0.1, 0.5, 0.99):
        cut.write_bytes(whole[: int(share * len(whole))])
        line = refused(out, arguments(inputs, out, data=cut))
        assert "cut.h5mu" in line
        assert "Copy the file again" in line


@pytest.mark.parametrize("modality", ["atac", "multiome"])
def test_a_modality_that_the_file_lacks(inputs, tmp_path, refused, modality):
    alone = tmp_path / "rna.h5ad"
    builders.simulated_cells()["rna"].write_h5ad(alone)
    out = tmp_path / "out"
    command = arguments(inputs, out, data=alone, modality=modality)
    line = refused(out, command)
    assert f"rna.h5ad: {modality} was asked for" in line
    assert "choose --modality rna." in line


def test_debug_shows_where_an_error_comes_from(inputs, tmp_path):
    out = tmp_path / "out"
    command = [*arguments(inputs, out, label="cel_type"), "--debug"]
    with pytest.raises(InputError, match="no column 'cel_type'"):
        cli.main(command)
    assert not out.exists()


# The whole way.


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    """The folder that a run of all modalities left, made by `ran`."""
    return tmp_path_factory.mktemp("runs") / "mine"


def test_finetune_end_to_end(inputs, finished, capsys):
    assert cli.main(arguments(inputs, finished, batch="batch", seed=3)) == 0
    printed = capsys.readouterr().out
    summary = json.loads((finished / "summary.json").read_text())
    required = {"dataset", "seed", "split", "left_out", "results"}
    assert set(summary) - required == {"simulated", "validation"}
    assert (summary["dataset"], summary["seed"]) == ("my.h5mu", 3)
    assert list(summary["split"]) == ["train", "validation", "test"]
    assert sum(summary["split"].values()) == 300
    assert summary["left_out"] == {}
    assert summary["simulated"] is False
    for row in summary["results"]:
        assert list(row) == ["model", "modality", *SCORES]
        assert all(-1 <= row[score] <= 1 for score in SCORES)
    judged = {(row["model"], row["modality"]) for row in summary["results"]}
    for modality in ("rna", "atac", "multiome"):
        assert ("scmultimodal", modality) in judged
        assert ("logistic_regression", modality) in judged
        assert ("scmultimodal_from_scratch", modality) in judged
        assert f"\nfine-tune {modality}" in printed
    assert "300 cells x 40 genes, 3 types; 210 / 30 / 60" in printed
    assert "in 0-10 / 10-20 / 20-50 kb" in printed
    assert "genes without a peak" in printed
    table = printed[printed.index("Test cells of my.h5mu") :]
    assert table.index("scmultimodal") < table.index("logistic_regression")
    assert "SIMULATED" not in printed

    page = (finished / "report" / "index.html").read_text()
    pictures = {path.name for path in (finished / "report").glob("*.png")}
    assert {"results.png", "bins.png", "bands.png", "umap_fine_tuned.png"} <= pictures
    assert {"umap_pre_trained_batch.png", "curves_pretraining.png"} <= pictures
    assert {f"confusion_{m}_scmultimodal.png" for m in ("rna", "atac")} <= pictures
    assert "logistic_regression" in page
    facts = json.loads((finished / "report" / "report.json").read_text())
    assert facts["results"] == summary["results"]
    config = json.loads((finished / "config.json").read_text())
    for told in ("command", "revision", "versions", "environment"):
        assert facts[told] == config[told]
    assert str(facts["environment"]["python"]) in page
    judged = json.loads((finished / "judged.json").read_text())
    assert {part: facts["examples"] for part, facts in judged.items()} == dict.fromkeys(
        ("rna", "atac", "multiome"), 60
    )
    assert "scmultimodal" in judged["rna"]["by_class"]
    vectors = CellModel.load(finished).embed(builders.simulated_cells())
    assert vectors.shape == (300, 32)
    assert np.isfinite(vectors).all()


def test_a_folder_of_another_run_is_refused_and_stays(inputs, finished, capsys):
    if not (finished / "summary.json").exists():
        cli.main([*arguments(inputs, finished, seed=3), "--no-from-scratch"])
        capsys.readouterr()
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()}
    assert cli.main(arguments(inputs, finished, seed=4)) == 2
    message = capsys.readouterr().err
    assert "config.json" in message
    assert "seed = 3, not 4" in message
    after = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()}
    assert after == before


def test_the_trunk_of_a_given_model_can_be_frozen(inputs, finished, tmp_path, capsys):
    if not (finished / "summary.json").exists():
        cli.main([*arguments(inputs, finished, seed=3), "--no-from-scratch"])
        capsys.readouterr()
    out, gtf = tmp_path / "frozen", inputs / "genes.gtf"
    given = {"genes": gtf, "model": finished, "modality": "rna", "seed": 3}
    command = arguments(inputs, out, **given)
    assert cli.main([*command, "--frozen", "--no-from-scratch"]) == 0
    given, tuned = export.load(finished), export.load(out)
    assert tuned.vocabulary.digest() == given.vocabulary.digest()
    trunk = [m for m in tuned.params if m.startswith("cell_encoder/rna")]
    assert len(trunk) > 2
    for module in trunk:
        for name, array in tuned.params[module].items():
            np.testing.assert_array_equal(array, given.params[module][name])
    for module, leaves in tuned.network_state.items():
        for name, array in leaves.items():
            np.testing.assert_array_equal(array, given.network_state[module][name])
    rows = json.loads((out / "summary.json").read_text())["results"]
    assert {row["modality"] for row in rows} == {"rna"}
    assert "scmultimodal_from_scratch" not in {row["model"] for row in rows}
    assert not (out / "pretrain").exists()
    assert "pre-train" not in capsys.readouterr().out


def test_stopped_by_hand(inputs, tmp_path, monkeypatch, capsys):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cell_types, "run", interrupted)
    assert cli.main(arguments(inputs, tmp_path / "out")) == 130
    assert capsys.readouterr().err == "scmultimodal: stopped\n"


def test_the_same_from_python(tmp_path, monkeypatch):
    """`CellModel.fit` leaves the run folder that the command leaves."""
    data, out = cells(), tmp_path / "mine"
    genes = write_genes(data, tmp_path / "genes.bed")
    options = {"label": "cell_type", "genes": genes, "out": out}
    with pytest.raises(InputError, match=r"preset: is 'tiny'.*small"):
        CellModel.fit(data, preset="tiny", **options)
    with pytest.raises(InputError, match=r"modality: is 'prot'. Give one of rna"):
        CellModel.fit(data, modality="prot", **options)
    assert not out.exists()
    alone = data["rna"].copy()
    alone.obs, alone.uns = data.obs.loc[alone.obs_names], dict(data.uns)
    model = CellModel.fit(alone, **options)
    assert model.modalities == ("rna",)
    assert model.classes == ("type_0", "type_1", "type_2")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["simulated"]
    assert {r["modality"] for r in summary["results"]} == {"rna"}
    again = CellModel.load(out).annotate(data["rna"].copy())
    assert again.equals(model.annotate(data["rna"].copy()))

    # It is a start for other cells, and not for its own, split otherwise.
    def training(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cell_types.finetune, "run", training)
    options |= {"start": model, "modality": "rna", "seed": 1}
    with pytest.raises(InputError, match=r"splits data in another way"):
        CellModel.fit(data, **options | {"out": tmp_path / "own"})
    other = data["rna"].copy()
    other.obs = other.obs.assign(cell_type=data.obs["cell_type"])
    other.obs_names = "other_" + other.obs_names
    with pytest.raises(KeyboardInterrupt):
        CellModel.fit(other, **options | {"out": tmp_path / "other"})


@pytest.mark.parametrize("command", ["finetune", "pretrain"])
def test_a_file_is_no_folder_for_a_run(inputs, tmp_path, capsys, command):
    (tmp_path / "out").write_text("mine")
    given = arguments(inputs, tmp_path / "out")
    assert cli.main([command, *given[1:]]) == 2
    assert "is no folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"
