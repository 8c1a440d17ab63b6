"""Requests that no files can meet: each is told in a line, and nothing is left."""

import re
import shutil
from pathlib import Path

import mudata
import pandas as pd
import pytest

from scmultimodal.data.vocabulary import FILE_NAME
from tests import builders

LABELLED = "--rna @rna --label cell_type"
BROKEN = {
    # Files
    "no counts": ("", "no counts are given"),
    "no file": ("--rna there.h5ad", r"there\.h5ad: does not exist"),
    "no annotation": ("--rna @rna --genes there.gtf", r"there\.gtf: cannot be read"),
    "a folder of genes": ("--rna @rna --genes @mtx", "mtx: cannot be read"),
    "a file twice": ("--rna @rna --rna @rna", "rna.h5ad: is given twice"),
    "RNA and both": ("--rna @rna --multiome @rna", "is given twice"),
    "of no known kind": ("--rna @genes", "genes.bed: is a .bed file"),
    "no HDF5": ("--rna @text", "odd.h5ad: is no complete HDF5 file"),
    "empty": ("--rna @empty", "odd.h5ad: is no complete HDF5 file"),
    "a folder of another kind": ("--rna @folder", "without a matrix.mtx"),
    "fragments in HDF5": ("--fragments @rna", "rna.h5ad: line 1 "),
    "fragments as a table": ("--atac @fragments", r"fragments\.tsv: "),
    "ATAC of RNA": ("--atac @rna", r"rna\.h5ad \[atac\]: peak name"),
    "RNA that a file lacks": ("--rna @proteins", "holds no rna"),
    "a layer that is not there": ("--rna @rna --layer raw", "has no layer 'raw'"),
    # Names of genes, and places
    "another species": ("--rna @symbols --genes @mouse", "odd.h5ad.*another species"),
    "peaks of RNA": ("--rna @atac", r"atac\.h5ad.*features are peaks"),
    "IDs against symbols": (
        "--rna @ids --genes @simba",
        "odd.h5ad.*cause: Ensembl IDs",
    ),
    "symbols against IDs": (
        "--rna @symbols --genes @of_ids",
        "odd.h5ad.*cause: symbols",
    ),
    "scaffolds": ("--atac @scaffolds", "odd.h5ad .*share no chromosome with the genes"),
    "two styles": ("--atac @styles", "odd.h5ad .*named in two ways"),
    "two styles to lift": ("--atac @styles --chain @chain", "odd.h5ad .*in two ways"),
    "a peak too far": ("--atac @far", r"odd\.h5ad.*is not an interval"),
    # Columns of obs
    "no such label": ("--rna @rna --label type", "no column 'type'.*cell_type"),
    "no such batch": ("--rna @rna --batch donor", "no column 'donor'"),
    "no such split": ("--rna @rna --split-by donor", "no column 'donor'"),
    "one class": ("--rna @one --label one", "has 1 class"),
    "rare classes": (
        f"{LABELLED} --min-cells-per-class 999",
        "column 'cell_type': no class has 999 cells",
    ),
    "two groups": ("--rna @two --split-by two", "has 2 groups for 3 parts"),
    "a cell of no group": ("--rna @gaps --split-by gaps", "has no group"),
    # Vocabularies
    "a list of others": ("--rna @rna --vocabulary @others", "odd.txt: only 0 of 2"),
    "a list of none": ("--rna @rna --vocabulary @nothing", "odd.txt: names no gene"),
    "a binary list": ("--rna @rna --vocabulary @binary", "odd.txt: is not a text"),
    "no list": ("--rna @rna --vocabulary there.txt", r"there\.txt: cannot be read"),
    "a folder without one": ("--rna @rna --vocabulary @mtx", "mtx"),
    "a folder with half": ("--rna @rna --vocabulary @half", "folder: is no model"),
    "a dataset with a flip": ("--rna @rna --vocabulary @flipped", "match the sha256"),
    "of another species": (
        "--rna @ids --vocabulary @simulated",
        r"odd\.h5ad.*only 0 of",
    ),
    "no gene in common": ("--rna @first --rna @second", "no gene in common"),
    # Chains
    "no chain": ("--atac @hg19 --chain there.chain", r"there\.chain: does not exist"),
    "a lift without one": ("--atac @hg19 --lift @hg19", "there is no chain"),
    "a lift of another": ("--rna @rna --lift @atac --chain @chain", "is not among the"),
    "genes for a chain": ("--atac @hg19 --chain @genes", "genes.bed: line 2 is"),
    # Numbers
    "all held out": ("--rna @rna --holdout 1", "--holdout: is 1"),
    "tiles of no length": ("--fragments @fragments --tile-bp 0", "tile_bp: 0 is no"),
    "poor cells": (
        "--rna @rna --min-feature-fraction 0.99",
        r"no cell of 200 has 99\.",
    ),
    "no counts at all": ("--rna @silent", "no cell of 200 has"),
    "more than all": ("--rna @rna --min-resolved 2", "min_resolved 2"),
    "no bins": ("--rna @rna --num-bins 0", "num_bins"),
    "too many bins": ("--rna @rna --num-bins 300", "num_bins"),
    "no total": ("--rna @rna --target-sum 0", "target_sum"),
    "no knee": ("--fragments @few", "few.tsv: has 2 barcodes, too few"),
}


def text(name, content):
    return lambda small, folder: folder_with(folder / name, content)


def folder_with(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def adata(kind, change, name="odd.h5ad"):
    """An .h5ad whose AnnData was changed."""

    def make(small, folder):
        changed = change(small.adata[kind].copy())
        changed.write_h5ad(folder / name)
        return folder / name

    return make


def named(names):
    def change(adata):
        adata.var = pd.DataFrame(index=names(adata.var))
        return adata

    return change


def column(name, values):
    def change(adata):
        adata.obs[name] = values(adata.n_obs)
        return adata

    return change


def two_styles(var):
    return ["1:5-90", *var.index[1:]]


def silenced(adata):
    adata.X.data[:] = 0
    return adata


def folder_of(**files):
    def make(small, folder):
        path = folder / "folder"
        path.mkdir()
        for name, content in files.items():
            (path / name.replace("_", ".")).write_text(content)
        return path

    return make


def flipped(small, folder):
    """A prepared dataset, one bit of the vocabulary of which is another."""
    store = builders.simulated_store(folder / "flipped")
    content = bytearray((store.path / FILE_NAME).read_bytes())
    at = re.search(rb'"rna_medians": \[\s*\d', content).end() - 1
    content[at] ^= 1
    (store.path / FILE_NAME).write_bytes(content)
    return store.path


def peaks_alone(small, folder):
    with mudata.set_options(pull_on_update=False):
        data = mudata.MuData({"atac": small.adata["atac"]})
        data.write_h5mu(folder / "odd.h5mu")
    return folder / "odd.h5mu"


GENE = "chr1\t500\t900\tENSG{:011d}\t0\t+\n"
ODD = {
    "proteins": peaks_alone,
    "text": text("odd.h5ad", "AAACCC\t5\n" * 99),
    "empty": text("odd.h5ad", ""),
    "folder": folder_of(),
    "scaffolds": adata(
        "atac", named(lambda var: [f"GL00{i}:5-90" for i in range(200)])
    ),
    "far": adata(
        "atac", named(lambda var: [f"chr1:5-{i}{10**20}" for i in range(200)])
    ),
    "ids": adata("rna", named(lambda var: var["gene_ids"])),
    "silent": adata("rna", silenced),
    "first": adata("rna", lambda adata: adata[:, :150], "first.h5ad"),
    "second": adata("rna", lambda adata: adata[:, 150:], "second.h5ad"),
    "symbols": adata("rna", named(lambda var: var.index)),
    "one": adata("rna", column("one", lambda n: ["B"] * n)),
    "two": adata("rna", column("two", lambda n: ["a", "b"] * (n // 2))),
    "gaps": adata("rna", column("gaps", lambda n: ["a", None, "b", "c"] * (n // 4))),
    "styles": adata("atac", named(two_styles)),
    "of_ids": text("ids.bed", "".join(map(GENE.format, range(10**10, 10**10 + 300)))),
    "mouse": lambda small, _: small.data / "mouse_cortex/mm10_genes.bed",
    "simba": lambda small, _: (
        small.data / "gene_annotation_hg38/simba_hg38_genes.bed.gz"
    ),
    "others": text("odd.txt", "Actb\nGapdh\n"),
    "nothing": text("odd.txt", "\n\n"),
    "binary": text("odd.txt", bytes(range(256))),
    "half": folder_of(vocabulary_json='{"schema_version": 1, "gene_ids": ["A"]'),
    "flipped": flipped,
    "simulated": lambda _, folder: builders.simulated_store(folder / "made up").path,
    "few": text("few.tsv", "chr1\t5\t90\tA\t1\nchr1\t5\t90\tB\t1\n"),
}
"""How files that are whole, and not what is wanted, are made."""


@pytest.mark.parametrize("what", BROKEN)
def test_broken_request(bench, small, tmp_path, what):
    arguments, says = BROKEN[what]
    words = arguments.split()
    words += [] if "--genes" in words else ["--genes", "@genes"]

    def argument(word):
        if word[0] != "@":
            return word
        make = ODD.get(word[1:])
        return make(small, tmp_path) if make else small.path(word[1:])

    said = bench.refuses(*map(argument, words))
    assert re.search(says, said), said


def a_file(out):
    out.write_text("years of work")


def something_else(out):
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")


def below_a_file(out):
    out.parent.write_text("years of work")


TAKEN = {
    "a file": (a_file, "store", "exists and is not a prepared dataset"),
    "something else": (something_else, "store", "exists and is not a prepared dataset"),
    "below a file": (below_a_file, "file/store", "file is no folder"),
}


@pytest.mark.parametrize("what", TAKEN)
def test_nothing_of_others_is_written_over(bench, small, tmp_path, what):
    make, name, says = TAKEN[what]
    make(tmp_path / name)
    before = {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")}
    said = bench.refuses(*small.command("rna"), out=tmp_path / name)
    assert re.search(says, said), said
    assert {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")} == before


def test_a_dataset_is_replaced_only_if_asked_and_by_a_whole_one(bench, small, tmp_path):
    first = bench.prepare(*small.command("rna")).store.path
    said = bench.refuses(*small.command("rna"), out=first)
    assert "already holds a prepared dataset" in said
    broken = shutil.copy(small.path("rna"), tmp_path)
    Path(broken).write_bytes(b"")
    bench.refuses(*small.command("rna", {"rna": broken}), "--overwrite", out=first)
    assert bench.prepare(*small.command("rna")).store.path != first
