"""`scmultimodal prepare` on all real data, one command each."""

import dataclasses
import gzip
from contextlib import nullcontext
from pathlib import Path

import anndata
import mudata
import numpy as np
import pandas as pd
import pytest

from scmultimodal import cli, datasets, genome
from scmultimodal.data.store import Store
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import prepare_files, runners

GENES = "gene_annotation_hg38/CollapsedGeneBounds.hg38.intGENCODEv43.bed.gz"
MOUSE_GENES = "mouse_cortex/mm10_genes.bed"
CHAIN = "liftover/hg19ToHg38.over.chain.gz"
BMMC_A = "bmmc_multiome/bmmc_multiome_A.h5mu"
BMMC_B = "bmmc_multiome/bmmc_atac_only_B.h5ad"
CITE = "bmmc_cite_rna/bmmc_cite_rna_0.h5ad"
GRANJA = "granja_bmmc_scatac/granja_bmmc_scatac.h5ad"
FULL = "pbmc_multiome_fullwidth40/pbmc_multiome_fullwidth40.h5mu"
MUON = "multiome_muon_fragments/test_rna_atac.h5mu"
FRAGMENTS = "multiome_muon_fragments/test_rna_atac_fragments.tsv.gz"
ZHENG = "scrna/zheng68k_165.h5ad"
CROHNS = "scrna/scp1884_crohns_1020.h5ad"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """What is given, and what comes of it."""

    kind: str
    file: str
    options: str
    cells: tuple[int, int]
    """Before and after the filter."""
    genes: int
    resolved: int | None = None
    peaks: int | None = None
    counts: str | None = None
    classes: int = 0
    split: tuple[int, int, int, int]


COMMANDS = {
    "mouse cortex": Command(
        kind="multiome",
        file="mouse_cortex.h5mu",
        options=f"--genes {MOUSE_GENES} --label cell_type --batch batch",
        cells=(10_309, 10_302),
        genes=1_677,
        resolved=1_674,
        peaks=25_734,
        counts="fragments",
        classes=23,
        split=(7_209, 1_029, 2_064, 0),
    ),
    "bmmc A": Command(
        kind="multiome",
        file=BMMC_A,
        options=f"--genes {GENES} --label cell_type --batch batch",
        cells=(500, 378),
        genes=1_134,
        resolved=1_085,
        peaks=600,
        counts="reads",
        classes=8,
        split=(226, 32, 65, 55),
    ),
    "bmmc B": Command(
        kind="atac",
        file=BMMC_B,
        options=f"--genes {GENES} --label cell_type --batch batch",
        cells=(500, 327),
        genes=20_531,
        peaks=600,
        counts="reads",
        classes=7,
        split=(192, 26, 55, 54),
    ),
    "cite": Command(
        kind="rna",
        file=CITE,
        options=f"--genes {GENES} --label cell_type --batch batch",
        cells=(600, 600),
        genes=1_000,
        resolved=953,
        classes=13,
        split=(320, 45, 91, 144),
    ),
    "granja": Command(
        kind="atac",
        file=GRANJA,
        options=f"--genes {GENES} --chain {CHAIN} --label cell_type --batch batch",
        cells=(14_125, 11_136),
        genes=20_531,
        peaks=10_000,
        counts="reads",
        classes=16,
        split=(7_795, 1_114, 2_227, 0),
    ),
    "full width": Command(
        kind="multiome",
        file=FULL,
        options=f"--genes {GENES} --label cell_type",
        cells=(40, 40),
        genes=36_601,
        resolved=19_866,
        peaks=108_377,
        counts="reads",
        classes=4,
        split=(28, 4, 8, 0),
    ),
    "muon": Command(
        kind="multiome",
        file=MUON,
        options=f"--genes {GENES}",
        cells=(1_000, 979),
        genes=45,
        resolved=42,
        peaks=174,
        counts="reads",
        split=(685, 98, 196, 0),
    ),
    "fragments": Command(
        kind="fragments",
        file=FRAGMENTS,
        options=f"--genes {GENES} --peaks peaks.bed --barcodes cells.txt "
        "--vocabulary genes.txt",
        cells=(1_000, 972),
        genes=42,
        peaks=174,
        counts="fragments",
        split=(680, 97, 195, 0),
    ),
    "fragments in tiles": Command(
        kind="fragments",
        file=FRAGMENTS,
        options=f"--genes {GENES} --min-feature-fraction 0.0001",
        cells=(4_020, 4_018),
        genes=20_531,
        peaks=6_332,
        counts="fragments",
        split=(2_812, 402, 804, 0),
    ),
    "zheng": Command(
        kind="rna",
        file=ZHENG,
        options=f"--genes {GENES} --label celltype",
        cells=(165, 165),
        genes=9_621,
        resolved=8_692,
        classes=11,
        split=(121, 11, 33, 0),
    ),
    "crohns": Command(
        kind="rna",
        file=CROHNS,
        options=f"--genes {GENES} --label Celltype --split-by donor_id",
        cells=(1_020, 1_005),
        genes=18_708,
        resolved=15_086,
        classes=67,
        split=(704, 100, 201, 0),
    ),
}
QUICK = {"bmmc A", "fragments"}


@pytest.fixture(scope="module")
def files(data_folder, tmp_path_factory):
    """Finds a file of real data, or one that is made of it."""
    made = tmp_path_factory.mktemp("made")

    def find(name):
        path = made / name
        if name == "mouse_cortex.h5mu" and not path.exists():
            with mudata.set_options(pull_on_update=False):
                datasets.mouse_cortex().write_h5mu(path)
        if name in ("peaks.bed", "cells.txt", "genes.txt"):
            write_lists(data_folder / MUON, made)
        return path if path.exists() else data_folder / name

    return find


def write_lists(path, folder):
    data = read(path)
    intervals = data["atac"].var_names.str.replace("[:-]", "\t", regex=True)
    (folder / "peaks.bed").write_text("\n".join(intervals))
    (folder / "cells.txt").write_text("\n".join(data["atac"].obs_names))
    (folder / "genes.txt").write_text("\n".join(data["rna"].var["gene_ids"]))


def read(path):
    with mudata.set_options(pull_on_update=False):
        if path.suffix == ".h5mu":
            return dict(mudata.read_h5mu(path).mod)
    found = anndata.read_h5ad(path)
    return {"atac" if "chrom" in found.var else "rna": found}


@pytest.fixture(scope="module")
def prepared(files, tmp_path_factory):
    """Prepares by command, each once."""
    stores = {}

    def run(name):
        if name not in stores:
            command = COMMANDS[name]
            out = tmp_path_factory.mktemp("stores") / "out"
            options = [
                str(files(word)) if "." in word and word[0] not in "-0" else word
                for word in command.options.split()
            ]
            file = [f"--{command.kind}", str(files(command.file))]
            assert cli.main(["prepare", *file, *options, "--out", str(out)]) == 0
            stores[name] = Store.open(out, verify=True)
        return stores[name]

    return run


def commands(*chosen):
    return [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.long)
        for name in chosen or COMMANDS
    ]


@pytest.mark.parametrize("name", commands())
def test_numbers_that_were_looked_at(prepared, name):
    command, store = COMMANDS[name], prepared(name)
    report = store.manifest["report"]
    ((dataset, facts),) = report["datasets"].items()
    assert dataset in command.file
    of_filter = report["cell_filter"]
    assert (of_filter["before"], of_filter["after"]) == command.cells
    assert (store.num_cells, store.num_genes) == (command.cells[1], command.genes)
    if command.resolved is not None:
        assert facts["gene_alignment"]["resolved"] == command.resolved
    if command.peaks is not None:
        assert facts["peak_aggregation"]["peaks"] == command.peaks
        assert facts["counts"]["taken_for"] == command.counts
    assert len(store.label_names) == command.classes
    assert tuple(store.manifest["splits"].values()) == command.split
    names = {Path(file["name"]).name for file in store.manifest["provenance"]["files"]}
    assert Path(command.file).name in names


WITH_RNA = commands("mouse cortex", "bmmc A", "cite", "full width", "muon", "zheng")


@pytest.mark.parametrize("name", WITH_RNA)
def test_rna_is_that_of_the_file(prepared, files, name):
    """Of each cell that has 1 % of the genes in what was measured of it."""
    store, parts = prepared(name), read(files(COMMANDS[name].file))
    rna = parts["rna"]
    rows = rna.obs_names.get_indexer(store.obs.index)
    assert (rows >= 0).all()
    found = store.rows("rna", np.arange(store.num_cells), "counts")
    assert (found != rna.X[rows]).nnz == 0
    enough = np.diff(rna.X.indptr) >= 0.01 * rna.n_vars
    assert enough[rows].all()
    if len(parts) == 1:
        assert enough.sum() == len(rows)


WITH_PEAKS = commands(
    "mouse cortex", "bmmc A", "bmmc B", "granja", "full width", "muon"
)


@pytest.mark.parametrize("name", WITH_PEAKS)
def test_atac_is_the_weighted_sum_of_fragments_near_a_gene(
    prepared, files, data_folder, name
):
    """Of 300 genes and 40 cells; Granja's peaks are where its own hg38 columns say."""
    store, atac = prepared(name), read(files(COMMANDS[name].file))["atac"]
    peaks = atac.var
    if name == "granja":
        columns = {"chrom_hg38": "chrom", "start_hg38": "start", "end_hg38": "end"}
        peaks = peaks[list(columns)].rename(columns=columns)
    elif "chrom" not in peaks:
        pieces = atac.var_names.str.extract(r"(\w+):(\d+)-(\d+)")
        peaks = pieces.set_axis(["chrom", "start", "end"], axis=1)
        peaks = peaks.astype({"start": int, "end": int})
    genes = store.vocabulary.to_frame()
    assert expected_places(files(MOUSE_GENES if "mouse" in name else GENES), genes)
    cells = np.arange(0, store.num_cells, max(1, store.num_cells // 40))
    some = np.arange(0, store.num_genes, max(1, store.num_genes // 300))
    rows = atac.obs_names.get_indexer(store.obs.index[cells])
    counts = atac.X[rows].toarray().astype(int)
    if COMMANDS[name].counts == "reads":
        counts = (counts + 1) // 2
    expected = sixths(counts, peaks, genes.iloc[some])
    assert np.count_nonzero(expected) > 50
    found = store.rows("atac", cells, "counts").toarray()[:, some]
    assert found.tolist() == expected.tolist()


def expected_places(path, genes):
    """Whether the genes of a store are where the annotation has them."""
    known = genome.read_genes(path).set_index("gene_id")
    placed = genes[genes["chrom"] != ""].set_index("gene_id")
    columns = ["chrom", "start", "end", "strand"]
    return (placed[columns] == known.loc[placed.index, columns]).to_numpy().all()


def sixths(fragments, peaks, genes):
    """Sums of fragments, times 6: weights 3, 2 and 1 within 10, 20 and 50 kb."""
    values = np.zeros((len(fragments), len(genes)), int)
    chrom, first, last = (peaks[c].to_numpy() for c in ("chrom", "start", "end"))
    for place, gene in enumerate(genes.itertuples()):
        tss = gene.end if gene.strand == "-" else gene.start
        distance = np.maximum(0, np.maximum(first - tss, tss - last))
        distance[(first < gene.end) & (last > gene.start)] = 0
        steps = [distance < 10_000, distance < 20_000, distance < 50_000]
        weight = np.select(steps, [3, 2, 1], 0) * (chrom == gene.chrom)
        values[:, place] = fragments @ weight
    return values


def test_fragments_are_those_of_the_file(prepared, files):
    """Each counts for the peaks that hold one of its ends."""
    store = prepared("fragments")
    peaks = pd.read_csv(files("peaks.bed"), sep="\t", names=["chrom", "start", "end"])
    with gzip.open(files(FRAGMENTS), "rt") as lines:
        fragments = pd.read_csv(lines, sep="\t", header=None)
    cells = store.obs.index[::60]
    counts = np.zeros((len(cells), len(peaks)), int)
    for cell, mine in fragments[fragments[3].isin(cells)].groupby(3):
        for place, (chrom, start, end) in enumerate(peaks.to_numpy()):
            held = [(start <= base) & (base < end) for base in (mine[1], mine[2] - 1)]
            inside = (mine[0] == chrom) & (held[0] | held[1])
            counts[cells.get_loc(cell), place] = inside.sum()
    expected = sixths(counts, peaks, store.vocabulary.to_frame())
    assert np.count_nonzero(expected) > 100
    found = store.rows("atac", np.arange(store.num_cells)[::60], "counts").toarray()
    assert found.tolist() == expected.tolist()
    facts = store.manifest["report"]["datasets"]["test_rna_atac_fragments"]
    assert facts["fragments_file"]["fragments"] == len(fragments) == 367_439


@pytest.mark.long
def test_cells_of_fragments_above_the_knee(prepared, files):
    store = prepared("fragments in tiles")
    (facts,) = store.manifest["report"]["datasets"].values()
    with gzip.open(files(FRAGMENTS), "rt") as lines:
        sizes = pd.read_csv(lines, sep="\t", header=None)[3].value_counts()
    least = facts["fragments_file"]["knee"]["least"]
    assert (sizes >= least).sum() == 4_020
    assert sizes[store.obs.index].min() >= least
    assert facts["fragments_file"]["fragments_in_cells"] == sizes[sizes >= least].sum()


@pytest.mark.long
def test_peaks_of_granja_are_lifted_as_it_says(prepared, files):
    """But for one that UCSC drops for what it lost within: both its ends are there."""
    (facts,) = prepared("granja").manifest["report"]["datasets"].values()
    theirs = (read(files(GRANJA))["atac"].var["start_hg38"] >= 0).sum()
    assert (theirs, facts["liftover"]["lifted"]) == (9_998, 9_999)


@pytest.mark.long
def test_donors_of_crohns_are_split_as_wholes(prepared):
    obs = prepared("crohns").obs
    assert obs["donor_id"].nunique() == 69
    assert (obs.groupby("donor_id", observed=True)["split"].nunique() == 1).all()


@pytest.mark.long
def test_all_of_bone_marrow_at_once(files, tmp_path, capsys):
    """Multiome, RNA and ATAC: by symbols and by peaks of two assemblies' names."""
    out = tmp_path / "out"
    given = ["--multiome", BMMC_A, "--rna", CITE, "--atac", BMMC_B]
    paths = [word if word[0] == "-" else str(files(word)) for word in given]
    options = ["--genes", str(files(GENES)), "--label", "cell_type", "--holdout", "0.5"]
    vocabulary = ["--vocabulary", "union", "--min-feature-fraction", "0.0"]
    command = ["prepare", *paths, *options, *vocabulary, "--out", str(out)]
    assert cli.main(command) == 0
    store = Store.open(out, verify=True)
    assert store.dataset_names == (
        "bmmc_multiome_A", "bmmc_cite_rna_0", "bmmc_atac_only_B",
    )  # fmt: skip
    assert np.bincount(store.dataset_codes).tolist() == [500, 600, 500]
    assert store.present("rna").sum() == 1_100
    assert store.present("atac").sum() == 1_000
    genes = {name: read(files(name))["rna"].var["gene_ids"] for name in (BMMC_A, CITE)}
    measured = [set(store.vocabulary.gene_ids[m]) for m in store.measured("rna")]
    assert measured == [*map(set, genes.values()), set(store.vocabulary.gene_ids)]
    assert store.num_genes == len(set().union(*genes.values())) == 1_966
    split = store.manifest["splits"]
    known = sum(split[name] for name in ("train", "validation", "test"))
    assert abs(split["train"] - 0.5 * known) < len(store.label_names)
    assert "1,600 cells x 1,966 genes" in capsys.readouterr().out


def test_holdout_and_scheduler_arrive(monkeypatch, tmp_path):
    asked = []

    def run(sources, config, out, **options):
        asked.append((config.fractions, options["runner"]))
        raise InputError("nothing", "is done", "Go on")

    monkeypatch.setattr(prepare_files, "run", run)
    command = ["prepare", "--rna", "x.h5ad", "--genes", "g.bed", "--out", str(tmp_path)]
    for holdout in ([], ["--holdout", "0.6"], ["--holdout", "1"]):
        assert cli.main([*command, *holdout]) == 2
    assert [fractions for fractions, _ in asked] == [(0.7, 0.1, 0.2), (0.4, 0.2, 0.4)]
    opened = []
    monkeypatch.setattr(runners, "dask", lambda *a: opened.append(a) or nullcontext())
    for address in ("local", "tcp://10.0.0.1:8786"):
        cli.main([*command, "--scheduler", address, "--workers", "3"])
    assert opened == [(None, 3), ("tcp://10.0.0.1:8786", 3)]
