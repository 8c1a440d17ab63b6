"""The study's data: the manifest, the lines that prepare it, and some of them run."""

import gzip
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse

from experiments import data_manifest, study_datasets
from experiments.prepare_lines import Lines
from scmultimodal import cli, datasets
from scmultimodal.cli.dna import PrepareRanking
from scmultimodal.cli.prepare import Prepare
from scmultimodal.cli.segmentation import PrepareSegmentation
from scmultimodal.data.store import Store
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell import readers
from tests import builders

MANIFEST = data_manifest.read()
PRETRAINING = {
    "multiome": 142_247,  # 10,970 + 10,640 + 14,566 + 22,772 + 3,233 + …
    "rna": 1_356_000,
    "atac": 723_694,  # 4,585 + 719,109
}


def lines(folder="downloads", out="data"):
    return Lines(manifest=MANIFEST, folder=Path(folder), out=Path(out))


def parse(words):
    """As the program would, which then would run it."""
    assert words[0] == "scmultimodal"
    return cli.parse(words[1:])


def test_the_study_pretrained_on_twelve_sets_and_fine_tuned_on_three():
    sets = MANIFEST.of_phase("pretrain")
    assert len(sets) == 12
    cells = dict.fromkeys(PRETRAINING, 0)
    for one in sets:
        cells[one.modality] += one.cells
    assert cells == PRETRAINING
    tuned = {
        one.name: (one.modality, one.cells) for one in MANIFEST.of_phase("finetune")
    }
    assert tuned == {
        "zheng68k": ("rna", 68_579),
        "neurips_bmmc": ("multiome", 69_249),
        "satpathy": ("atac", 63_882),
    }
    ranked = [one.accession for one in MANIFEST.datasets.values() if one.ranking]
    assert sorted(ranked) == ["GSE129785", "GSE149683", "GSE194122"]


def test_all_that_the_study_pretrained_on_is_one_command():
    command = parse(lines().pretraining())
    assert isinstance(command, Prepare)
    files = (*command.multiome, *command.rna, *command.atac)
    expected = [path for one in MANIFEST.of_phase("pretrain") for path in one.files]
    assert sorted(map(str, files)) == sorted(f"downloads/{path}" for path in expected)
    assert command.lift == (Path("downloads/trapnell/*"),)
    assert command.vocabulary == "intersection"


@pytest.mark.parametrize("name", MANIFEST.datasets)
def test_each_set_has_a_command_that_is_valid(name):
    one = MANIFEST.datasets[name]
    command = parse(lines().alone(one))
    given = getattr(command, one.modality)
    assert [str(path) for path in given] == [f"downloads/{path}" for path in one.files]
    assert bool(command.lift) == (one.assembly == "hg19" and one.modality != "rna")
    tuned = one.phase == "finetune"
    assert command.vocabulary == ("data/pretraining" if tuned else "intersection")
    assert (command.label is not None) >= tuned


def test_the_lines_of_the_genome_model_are_valid():
    for version in ("v1", "v2"):
        command = parse(lines().ranking(version))
        assert isinstance(command, PrepareRanking)
        assert command.version == version
        assert set(command.lift) < set(command.atac)
        assert command.validation == ("22",)
        assert command.test == ("20", "21")
    assert isinstance(parse(lines().segmentation()), PrepareSegmentation)


def test_patterns_become_the_files_that_are_there(tmp_path):
    for name in ("b", "a"):
        (tmp_path / "swanson").mkdir(exist_ok=True)
        (tmp_path / "swanson" / f"{name}_filtered_feature_bc_matrix.h5").touch()
    swanson = MANIFEST.datasets["swanson"]
    command = parse(lines(tmp_path).alone(swanson))
    assert [path.name[0] for path in command.multiome] == ["a", "b"]
    assert data_manifest.missing(tmp_path, swanson) == []
    satpathy = MANIFEST.datasets["satpathy"]
    assert data_manifest.missing(tmp_path, satpathy) == [
        "satpathy",
        "satpathy_types.tsv",
    ]


def test_the_command_says_what_is_missing_and_prints_lines_that_run(tmp_path, capsys):
    (tmp_path / "hg38.fa.gz").touch()
    given = ["--folder", str(tmp_path), "--out", "my data"]
    assert study_datasets.main(given) == 0
    shown = capsys.readouterr().out
    table, *_ = shown.split("\n\n")
    states = {line.split()[0]: line for line in table.splitlines()[1:]}
    assert states["genome"].endswith("there")
    assert states["cortex"].endswith("missing: cortex")
    whole = shown.replace("\\\n", "").splitlines()
    commands = [shlex.split(line) for line in whole if line.startswith("scmultimodal")]
    assert len(commands) == 1 + 3 + 12 + 2 + 1
    asked = [one for one in MANIFEST.of_phase("pretrain") if one.modality != "atac"]
    assert len(asked) == 10
    assert "# The genes are those that the ten sets with RNA share." in shown
    assert parse([w for w in commands[0] if w != "\\"]).out == Path(
        "my data/pretraining"
    )


def test_what_is_known_of_a_set(capsys):
    assert study_datasets.main(["--folder", "x", "--about", "kidney", "invariant"]) == 0
    shown = capsys.readouterr().out
    assert "human-kidney-cancer-nuclei" in shown
    assert "M_Kidney_… of 10x is of mice" in shown
    assert "unknown: the study does not say" in shown
    assert study_datasets.main(["--folder", "x", "--about", "liver"]) == 2
    assert "liver: is no data set of the study" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("cells = 3_233", "cell = 3_233", r"datasets\.brain.*has no field 'cell'"),
        ("cells = 3_233\n", "", r"datasets\.brain.*cells"),
        ('"rna"', '"protein"', r"datasets\.panglao.*protein"),
    ],
)
def test_a_manifest_with_a_mistake(tmp_path, before, after, words):
    text = data_manifest.MANIFEST.read_text()
    assert before in text
    path = tmp_path / "study_datasets.toml"
    path.write_text(text.replace(before, after))
    with pytest.raises(InputError, match=words):
        data_manifest.read(path)


# Sets in the form in which they are published, made up.


@pytest.fixture(scope="module")
def data():
    return builders.simulated_cells(num_cells=90)


@pytest.fixture
def downloads(data, tmp_path):
    """A folder with genes and a chain that moves nothing, and a set to pre-train on."""
    genes = datasets.simulated_genes(data)
    gtf = "".join(
        f"{g.chrom}\tx\tgene\t{g.start + 1}\t{g.end}\t.\t{g.strand}\t.\t"
        f'gene_id "{g.gene_id}"; gene_name "{g.symbol}";\n'
        for g in genes.itertuples()
    )
    (tmp_path / "genes.gtf.gz").write_bytes(gzip.compress(gtf.encode()))
    size = int(genes["end"].max()) + 1_000_000
    chain = "".join(
        f"chain 1 {name} {size} + 0 {size} {name} {size} + 0 {size} {number}\n"
        f"{size}\n\n"
        for number, name in enumerate(sorted(set(genes["chrom"])))
    )
    path = tmp_path / "hg19ToHg38.over.chain.gz"
    path.write_bytes(gzip.compress(chain.encode()))
    return tmp_path


def tsv(frame, path, **options):
    frame.to_csv(path, sep="\t", **options)


def places(data):
    """Of the peaks: chrom, start, end."""
    return data["atac"].var[["chrom", "start", "end"]]


def satpathy(data, folder):
    """Peaks as chr_start_end below a header; barcodes that repeat between groups."""
    name = "GSE129785_scATAC-Hematopoiesis-All"
    atac, at = data["atac"], places(data)
    with (folder / f"{name}.mtx.gz").open("wb") as file:  # Not compressed.
        scipy.io.mmwrite(file, atac.X.T.tocoo(), field="integer")
    peaks = at["chrom"].astype(str) + "_" + at["start"].astype(str) + "_"
    tsv((peaks + at["end"].astype(str)).rename("Feature"),
        folder / f"{name}.peaks.txt.gz", index=False)  # fmt: skip
    cells = pd.DataFrame({
        "UMAP1": 0.5, "UMAP2": 1.5, "Clusters": atac.obs["cell_type"].astype(str),
        "Group": "g", "Barcodes": "ACGT", "Group_Barcode": "g#" + atac.obs_names,
    })  # fmt: skip
    tsv(cells, folder / f"{name}.cell_barcodes.txt.gz", index=False)


def cortex(data, folder):
    """Genes with names, peaks without; cells in a table of their own."""
    name = "GSE162170_multiome_{}.gz".format
    rna, atac, at = data["rna"], data["atac"], places(data)
    counts = pd.DataFrame(rna.X.toarray().T, index=rna.var_names, columns=rna.obs_names)
    tsv(counts, folder / name("rna_counts.tsv"), index_label="gene")
    tsv(pd.DataFrame(atac.X.toarray().T), folder / name("atac_counts.tsv"),
        index=False, header=False)  # fmt: skip
    tsv(at.rename(columns={"chrom": "seqnames"}),
        folder / name("atac_consensus_peaks.txt"), index=False)  # fmt: skip
    cells = pd.DataFrame({"Cell.ID": atac.obs_names, "Sample": "s"})
    tsv(cells, folder / name("cell_metadata.txt"), index=False)


def neurips_bmmc(data, folder):
    """One table of both; X holds other numbers than counts."""
    import anndata

    parts = [data["rna"].copy(), data["atac"].copy()]
    for part, kind in zip(parts, ("GEX", "ATAC"), strict=True):
        part.var = pd.DataFrame({"feature_types": kind}, index=part.var_names)
    cells = anndata.concat(parts, axis=1, merge="same")
    cells.obs = data["rna"].obs.copy()
    cells.layers["counts"] = cells.X.copy()
    cells.X = cells.X.multiply(0.5).tocsr()
    path = folder / "plain.h5ad"
    cells.write_h5ad(path)
    name = "GSE194122_openproblems_neurips2021_multiome_BMMC_processed.h5ad.gz"
    (folder / name).write_bytes(gzip.compress(path.read_bytes()))


def zheng68k(data, folder):
    """Cell Ranger 1: genes.tsv; types in a table with coordinates."""
    rna, inner = data["rna"], folder / "filtered_matrices_mex" / "hg19"
    inner.mkdir(parents=True)
    scipy.io.mmwrite(inner / "matrix.mtx", rna.X.T.tocoo(), field="integer")
    tsv(rna.var["symbol"], inner / "genes.tsv", header=False)
    (inner / "barcodes.tsv").write_text("\n".join(rna.obs_names) + "\n")
    types = pd.DataFrame({
        "TSNE.1": 0.1, "TSNE.2": 0.2, "barcodes": rna.obs_names,
        "celltype": rna.obs["cell_type"].to_numpy(),
    })  # fmt: skip
    tsv(types, folder / "68k_pbmc_barcodes_annotation.tsv", index=False)


def run_arrange(name, folder, capsys):
    """`--arrange NAME | bash`."""
    command = ["--folder", str(folder), "--arrange", name]
    assert study_datasets.main(command) == 0
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash"],
        input=capsys.readouterr().out,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def arrange(name, folder, capsys):
    """What `--arrange NAME | bash` does, on a second try too."""
    for _ in range(2):
        found = run_arrange(name, folder, capsys)
        assert found.returncode == 0, found.stderr
    assert data_manifest.missing(folder, MANIFEST.datasets[name]) == []


@pytest.mark.parametrize("publish", [satpathy, cortex, neurips_bmmc, zheng68k])
def test_a_set_as_published_is_arranged_and_prepared(publish, data, downloads, capsys):
    """Its counts are those of the same cells prepared as they were made."""
    name = publish.__name__
    publish(data, downloads)
    arrange(name, downloads, capsys)
    out = downloads / "data"
    expected = builders.simulated_store(out / "pretraining", num_cells=90)
    one = MANIFEST.datasets[name]
    words = lines(downloads, out).alone(one)
    assert cli.main([*words[1:], "--counts", "fragments"]) == 0
    store = Store.open(out / name)
    names = [cell.removeprefix("g#") for cell in store.obs.index]
    rows = expected.obs.index.get_indexer(names)
    assert len(rows) > 60
    assert rows.min() >= 0
    genes = [list(s.vocabulary.gene_ids) for s in (store, expected)]
    order = pd.Index(genes[0]).get_indexer(genes[1])
    assert sorted(order) == list(range(len(order)))
    for modality in store.modalities:
        found = store.rows(modality, np.arange(store.num_cells), "counts")[:, order]
        assert (found != expected.rows(modality, rows, "counts")).nnz == 0
    if one.phase == "finetune":
        labels = [np.array(s.label_names)[s.labels] for s in (store, expected)]
        assert labels[0].tolist() == labels[1][rows].tolist()


def test_what_was_broken_off_is_missing(data, downloads, capsys):
    cortex(data, downloads)
    satpathy(data, downloads)
    for name in ("cortex.part/features.tsv", "satpathy.part/barcodes.tsv"):
        (downloads / name).mkdir(parents=True)  # Where a file is to be written.
    for name in ("cortex", "satpathy"):
        assert run_arrange(name, downloads, capsys).returncode != 0
        assert name in data_manifest.missing(downloads, MANIFEST.datasets[name])


@pytest.mark.parametrize("name", ["panglao", "trapnell"])
def test_what_is_to_be_done_by_hand_is_said(name, tmp_path, capsys):
    found = run_arrange(name, tmp_path, capsys)
    assert found.returncode == 1
    assert found.stderr.startswith("by hand: write ")
    assert not list(tmp_path.iterdir())


def test_samples_of_panglao_get_the_genes_of_any(tmp_path, capsys):
    """By hand: 2 cells with genes a and b, 1 cell with c and a."""
    counts = {"one": ("ab", [[1, 0], [2, 3]]), "two": ("ca", [[4], [5]])}
    for name, (genes, values) in counts.items():
        folder = tmp_path / "panglao_samples" / name
        folder.mkdir(parents=True)
        scipy.io.mmwrite(folder / "matrix.mtx", scipy.sparse.coo_matrix(values))
        (folder / "genes.tsv").write_text("\n".join(genes) + "\n")
        cells = "".join(f"{name}{cell}\n" for cell in range(len(values[0])))
        (folder / "barcodes.tsv").write_text(cells)
    arrange("panglao", tmp_path, capsys)
    read = {name: readers.read(tmp_path / "panglao" / name)["rna"] for name in counts}
    assert [part.var_names.tolist() for part in read.values()] == [list("abc")] * 2
    assert read["one"].X.toarray().tolist() == [[1, 2, 0], [0, 3, 0]]
    assert read["two"].X.toarray().tolist() == [[5, 0, 4]]
    assert read["two"].obs_names.tolist() == ["two0"]
