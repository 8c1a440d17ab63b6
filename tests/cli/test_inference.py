"""`embed`, `annotate`, `impute` and `score`: what the API says, as files."""

import dataclasses
import gzip
import json

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scmultimodal import CellModel, GenomeModel, cli
from scmultimodal.modules.heads.accessibility import ScorerConfig
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.singlecell import readers
from scmultimodal.weights import export, genome_model
from scmultimodal.workflows import inference
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

CELLS = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Cells as a file, a model that tells counts and cell types, and one of neither."""
    path = tmp_path_factory.mktemp("inference")
    store = builders.counts_store(path / "data", num_cells=CELLS, num_genes=12)
    data = builders.simulated_cells(num_cells=CELLS, num_genes=12)
    # What files of people have: a column of both modalities, of mixed values.
    data.obs["note"] = ["x", None] * (CELLS // 2)
    data["atac"].obs["flag"] = np.arange(CELLS) % 2 == 0
    data.write(path / "cells.h5mu")
    head = CellTypeHeadConfig(num_classes=3, hidden=(4,))
    export.save(builders.random_cell_model(store, head=head), path / "model")
    export.save(builders.random_cell_model(store, decodes=False), path / "plain")
    return path


@pytest.fixture(scope="module")
def model(folder):
    return CellModel.load(folder / "model")


@pytest.fixture(scope="module")
def data(folder):
    return readers.read(folder / "cells.h5mu")


@pytest.fixture
def several_blocks(monkeypatch):
    """Cells come in blocks of 16, of which the last is not full."""

    def blocks(count, width, batch_size):
        return [slice(i, min(i + 16, count)) for i in range(0, count, 16)]

    monkeypatch.setattr(inference, "blocks", blocks)


def words(command, **options):
    given = [command]
    for name, value in options.items():
        given.append(f"--{name.replace('_', '-')}")
        given += [] if value is True else [str(value)]
    return given


def of_cells(folder, command, out, **options):
    given = {"model": folder / "model", "data": folder / "cells.h5mu"} | options
    return words(command, out=out, **given)


READERS = {".h5ad": anndata.read_h5ad, ".zarr": anndata.read_zarr}


@pytest.mark.usefixtures("several_blocks")
@pytest.mark.parametrize("suffix", READERS)
def test_embed_writes_the_vectors_of_the_api(
    folder, model, data, tmp_path, capsys, suffix
):
    out = tmp_path / f"vectors{suffix}"
    assert cli.main(of_cells(folder, "embed", out)) == 0
    printed = capsys.readouterr().out
    assert f"written {out}" in printed
    assert "cells               40" in printed
    assert "12 of the model's 12 measured" in printed
    assert "peak memory" in printed
    found = READERS[suffix](out)
    np.testing.assert_array_equal(found.obsm["X_scmm"], model.embed(data))
    assert found.obs_names.equals(data.obs_names)
    assert found.obs["cell_type"].tolist() == data.obs["cell_type"].tolist()
    assert found.obs["note"].isna().sum() == CELLS // 2
    facts = json.loads(found.uns["scmultimodal"])
    assert facts["files"][0]["name"] == "cells.h5mu"
    assert {path.name for path in tmp_path.iterdir()} == {out.name}


@pytest.mark.usefixtures("several_blocks")
def test_annotate_writes_the_types_of_the_api(folder, model, data, tmp_path, capsys):
    out = tmp_path / "types.h5ad"
    assert cli.main(of_cells(folder, "annotate", out, json=True)) == 0
    facts = json.loads(capsys.readouterr().out)
    expected = model.annotate(data.copy())
    counts = expected["scmm_cell_type"].value_counts()
    assert facts["types"] == counts.to_dict()
    assert (facts["cells"], facts["found"]) == (CELLS, {"rna": 12, "atac": 12})
    found = anndata.read_h5ad(out).obs
    assert found["scmm_cell_type"].tolist() == expected["scmm_cell_type"].tolist()
    np.testing.assert_array_equal(found["scmm_confidence"], expected["scmm_confidence"])
    assert "cell_type" in found


@pytest.mark.usefixtures("several_blocks")
def test_impute_writes_the_counts_of_the_api(folder, model, data, tmp_path):
    out = tmp_path / "rna.h5ad"
    options = {"modality": "atac", "target": "rna"}
    assert cli.main(of_cells(folder, "impute", out, **options)) == 0
    atac = data["atac"]
    found, expected = anndata.read_h5ad(out), model.impute(atac, target="rna")
    pd.testing.assert_frame_equal(expected.obs, atac.obs)
    np.testing.assert_array_equal(found.X, expected.X)
    np.testing.assert_allclose(found.X.sum(1), 10_000, rtol=1e-4)
    assert found.var_names.equals(expected.var_names)
    assert found.var["symbol"].tolist() == expected.var["symbol"].tolist()


def test_what_stands_there_is_replaced_only_if_asked(folder, tmp_path, capsys):
    out = tmp_path / "vectors.zarr"
    command = of_cells(folder, "embed", out)
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert cli.main([*command, "--overwrite"]) == 2
    assert "exists and is not a zarr folder" in capsys.readouterr().err
    (out / "mine.txt").rename(out / "zarr.json")
    assert cli.main(command) == 2
    assert "give --overwrite" in capsys.readouterr().err
    assert cli.main([*command, "--overwrite"]) == 0
    assert anndata.read_zarr(out).obsm["X_scmm"].shape == (CELLS, 8)


@pytest.mark.parametrize("command", ["embed", "annotate", "impute"])
def test_raw_counts_are_not_replaced(folder, data, tmp_path, capsys, command):
    """They would be gone: what is written holds no counts."""
    counts, link = tmp_path / "counts.h5ad", tmp_path / "link.h5ad"
    data["rna"].write_h5ad(counts)
    link.symlink_to(counts)
    before = counts.read_bytes()
    options = {"data": link, "overwrite": True}
    if command == "impute":
        options |= {"target": "atac"}
    assert cli.main(of_cells(folder, command, counts, **options)) == 2
    said = capsys.readouterr().err
    assert f"{counts}: would take the place of {link}, which is read" in said
    assert "Choose another --out" in said
    assert counts.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"counts.h5ad", "link.h5ad"}


def test_counts_within_a_folder_are_not_replaced(folder, tmp_path, capsys):
    out = tmp_path / "cells.zarr"
    out.mkdir()
    (out / "zarr.json").write_text("{}")
    (out / "counts.h5ad").write_text("mine")
    options = {"data": out / "counts.h5ad", "overwrite": True}
    assert cli.main(of_cells(folder, "embed", out, **options)) == 2
    assert "would take the place of" in capsys.readouterr().err
    assert (out / "counts.h5ad").read_text() == "mine"


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("embed", {"batch_size": 0}, "batch_size: is 0"),
        ("embed", {"layer": "raw"}, "no layer 'raw'"),
        ("annotate", {"model": "plain"}, "knows no cell types"),
        ("impute", {"model": "plain", "target": "rna"}, "not trained to tell counts"),
    ],
)
def test_what_cannot_be_done_leaves_nothing(
    folder, tmp_path, refused, command, options, message
):
    if "model" in options:
        options = options | {"model": folder / options["model"]}
    out = tmp_path / "deep" / "out.h5ad"
    assert message in refused(out, of_cells(folder, command, out, **options))
    assert not list(tmp_path.iterdir())


def test_a_name_of_no_format(folder, tmp_path, refused):
    out = tmp_path / "out.csv"
    line = refused(out, of_cells(folder, "embed", out))
    assert "is no .h5ad and no .zarr" in line


@pytest.mark.usefixtures("several_blocks")
def test_a_damaged_value_at_the_end_leaves_nothing(folder, data, tmp_path, refused):
    rna = data["rna"].copy()
    rna.X = sp.csr_matrix(rna.X, dtype=np.float32)
    rna.X.data[-1] = 0.5
    rna.write_h5ad(tmp_path / "bad.h5ad")
    out = tmp_path / "out.h5ad"
    line = refused(out, of_cells(folder, "embed", out, data=tmp_path / "bad.h5ad"))
    assert "value 0.5 of feature" in line
    assert [path.name for path in tmp_path.iterdir()] == ["bad.h5ad"]


def test_a_file_by_column_is_sorted_first(folder, model, data, tmp_path):
    rna = data["rna"].copy()
    rna.X = sp.csc_matrix(rna.X)
    rna.write_h5ad(tmp_path / "columns.h5ad")
    out = tmp_path / "out.h5ad"
    command = of_cells(folder, "embed", out, data=tmp_path / "columns.h5ad")
    assert cli.main(command) == 0
    vectors = anndata.read_h5ad(out).obsm["X_scmm"]
    np.testing.assert_array_equal(vectors, model.embed(data["rna"]))


# DNA.

SEQUENCES = ["ACGTTGCAAGGC" * 3, "TTTTAAAATTTA", "GATTACA"]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    path = tmp_path_factory.mktemp("scorer")
    head = ScorerConfig(name="linear")
    model = builders.segmenter_model(scorer=head, num_tokens=34)
    return genome_model.save(model, path / "model")


def test_score_writes_the_scores_of_the_api(scorer, tmp_path, capsys):
    fasta, out = tmp_path / "some.fa", tmp_path / "scores.tsv.gz"
    fasta.write_text("".join(f">s{i}\n{s}\n" for i, s in enumerate(SEQUENCES)))
    assert cli.main(words("score", model=scorer, fasta=fasta, out=out, json=True)) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["regions"], facts["cut"]) == (3, 0)
    found = pd.read_csv(out, sep="\t")
    assert list(found) == ["chrom", "start", "end", "score"]
    assert found["chrom"].tolist() == ["s0", "s1", "s2"]
    assert found["end"].tolist() == [len(s) for s in SEQUENCES]
    expected = GenomeModel.load(scorer).score(SEQUENCES)
    np.testing.assert_allclose(found["score"], expected, rtol=1e-5)
    assert gzip.decompress(out.read_bytes()).count(b"\n") == 4


def test_score_takes_regions_of_a_genome(scorer, tmp_path, capsys):
    letters = "".join(np.random.default_rng(0).choice(list("ACGT"), 200))
    fasta, bed = tmp_path / "genome.fa", tmp_path / "peaks.bed"
    fasta.write_text(f">chr1\n{letters}\n")
    bed.write_text("1\t50\t70\tb\n1\t0\t30\ta\n1\t100\t200\tlong\n")
    out = tmp_path / "scores.tsv"
    command = words("score", model=scorer, fasta=fasta, out=out)
    assert cli.main(command) == 2
    assert "chr1 has 200 bp, and the model reads 66" in capsys.readouterr().err
    assert cli.main([*command, "--regions", str(bed)]) == 0
    assert "cut                  1" in capsys.readouterr().out
    found = pd.read_csv(out, sep="\t", dtype={"chrom": str})
    assert found["start"].tolist() == [50, 0, 100]
    assert found["chrom"].tolist() == ["1"] * 3
    texts = [letters[50:70], letters[:30], letters[100:166]]
    expected = GenomeModel.load(scorer).score(texts)
    np.testing.assert_allclose(found["score"], expected, rtol=1e-5)
    assert cli.main([*command, "--regions", str(bed)]) == 2
    assert "give --overwrite" in capsys.readouterr().err


def test_score_counts_a_region_that_is_cut_once(scorer, tmp_path, capsys):
    """33 tokens hold 66 letters; an N takes one by itself, in place of two letters."""
    letters = "ACGT" * 30
    fasta, bed = tmp_path / "genome.fa", tmp_path / "peaks.bed"
    fasta.write_text(f">chr1\n{letters[:10]}NN{letters[12:]}\n")
    too_long, too_many, whole = (0, 80), (0, 66), (20, 86)
    regions = (too_long, too_many, whole, (20, 87))
    bed.write_text("".join(f"chr1\t{a}\t{b}\n" for a, b in regions))
    out = tmp_path / "scores.tsv"
    command = words("score", model=scorer, fasta=fasta, out=out, regions=bed, json=True)
    assert cli.main(command) == 0
    assert json.loads(capsys.readouterr().out)["cut"] == 3


@pytest.mark.parametrize("name", ["genome.fa", "peaks.bed"])
def test_score_does_not_replace_what_it_reads(scorer, tmp_path, capsys, name):
    fasta, bed = tmp_path / "genome.fa", tmp_path / "peaks.bed"
    fasta.write_text(">chr1\nACGTACGT\n")
    bed.write_text("chr1\t0\t8\n")
    before = (tmp_path / name).read_text()
    options = {"fasta": fasta, "regions": bed, "overwrite": True}
    out = tmp_path / name
    assert cli.main(words("score", model=scorer, out=out, **options)) == 2
    assert f"{out}: would take the place of {out}" in capsys.readouterr().err
    assert out.read_text() == before


def test_score_wants_a_scorer(tmp_path, refused):
    bare = builders.segmenter_model()
    config = dataclasses.replace(bare.config, segmenter=None)
    genome_model.save(dataclasses.replace(bare, config=config), tmp_path / "bare")
    out = tmp_path / "scores.tsv"
    line = refused(
        out, words("score", model=tmp_path / "bare", fasta=tmp_path / "x.fa", out=out)
    )
    assert "no head that scores accessibility" in line
