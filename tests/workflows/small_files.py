"""Real data cut small, in every format that `scmultimodal prepare` reads."""

import gzip
import shutil
from pathlib import Path
from typing import Any

import anndata
import h5py
import mudata
import numpy as np
import scipy.io
import scipy.sparse as sp

GENES = "gene_annotation_hg38/CollapsedGeneBounds.hg38.intGENCODEv43.bed.gz"
CELLS = 200
GTF = "gene_annotation_hg38/snapatac2_gencode_subset.gtf.gz"
CHAIN = "liftover/hg19ToHg38.over.chain.gz"
PEAKS = "regulatory_hg38/pbmc_granulocyte_sorted_3k_atac_peaks.bed.gz"
NAMES = ("id", "name", "feature_type")
MTX = ("matrix.mtx", "barcodes.tsv", "features.tsv")
_COUNTED = "--fragments @fragments --barcodes @cells --peaks"
COMMANDS = {
    "atac": "--atac @atac",
    "zipped": "--atac @zipped",
    "genes": "--atac @atac",
    "gtf": "--atac @atac --genes @gtf",
    "all_genes": "--atac @atac --genes @all_genes",
    "chain": "--atac @hg19 --chain @chain",
    "whole_chain": "--atac @hg19 --chain @whole_chain",
    "fragments": f"{_COUNTED} @peaks",
    "peaks": f"{_COUNTED} @peaks",
    "cells": f"{_COUNTED} @peaks",
    "all_peaks": f"{_COUNTED} @all_peaks",
    "all_fragments": "--fragments @all_fragments",
    **dict.fromkeys(MTX, "--multiome @mtx"),
    **{name: f"--multiome @{name}" for name in ("both", "old", "h5", "mtx")},
}
"""By what a file is read that is not RNA alone."""
LIFTED = ["chr4", "chr5", "chr20"]


class SmallFiles:
    """Makes files in a folder, each when it is first asked for."""

    def __init__(self, data: Path, folder: Path):
        """Takes the folder of real data, and a new one."""
        self.data, self.folder = data, folder
        self._made: dict[str, Path] = {}
        with mudata.set_options(pull_on_update=False):
            both = mudata.read_h5mu(data / "bmmc_multiome/bmmc_multiome_A.h5mu")
        self.adata = {
            "rna": both["rna"][:CELLS, :300].copy(),
            "atac": both["atac"][:CELLS, :200].copy(),
        }

    def path(self, name: str) -> Path:
        """The file that a method makes."""
        if name not in self._made:
            self._made[name] = getattr(self, name)()
        return self._made[name]

    def command(self, source: str, paths: dict[str, Path] | None = None) -> list:
        """The arguments of a command that reads a file, with others in its place.

        Args:
            source: name of a method, or of a file of `mtx`.
            paths: what is taken for the file of a method.
        """
        words = COMMANDS.get(source, f"--rna @{source}").split()
        words += [] if "--genes" in words else ["--genes", "@genes"]
        words += ["--min-feature-fraction", "0", "--min-resolved", "0"]
        return [
            word if word[0] != "@"
            else (paths or {}).get(word[1:]) or self.path(word[1:])
            for word in words
        ]  # fmt: skip

    def file(self, source: str) -> Path:
        """The same, or a file of the folder `mtx`."""
        return self.path("mtx") / source if source in MTX else self.path(source)

    def with_other(self, source: str, content: bytes | None, folder: Path) -> list:
        """The arguments of a command that reads other content of a file, or none.

        The file lies in a new folder, and has the name of the first one; with .gz if
        that is what the content is.
        """
        folder.mkdir()
        if source in MTX:
            new = shutil.copytree(self.path("mtx"), folder / "mtx") / source
            new.unlink()
        else:
            new = folder / self.path(source).name
        if content is not None:
            if content.startswith(b"\x1f\x8b") and new.suffix != ".gz":
                new = new.with_name(f"{new.name}.gz")
            new.write_bytes(content)
        return self.command(source, {"mtx": folder / "mtx", source: new})

    def genes(self) -> Path:
        """BED of the genes of `rna` and of `old`, and of some others."""
        with gzip.open(self.data / GENES, "rt") as lines:
            wanted = set(self.adata["rna"].var["gene_ids"])
            wanted.update(self._muon_names("rna/var/gene_ids"))
            kept = [
                line for place, line in enumerate(lines)
                if line.split("\t")[6] in wanted or place % 60 == 0
            ]  # fmt: skip
        return self.write("genes.bed", "".join(kept))

    def gtf(self) -> Path:
        """Annotation of one chromosome."""
        with gzip.open(self.data / GTF, "rt") as lines:
            kept = [line for line in lines if line.startswith("chr1\t")]
        return self.write("genes.gtf", "".join(kept))

    def rna(self) -> Path:
        """As AnnData writes it: not compressed, hence without sums that check it."""
        return self._h5ad("rna", self.adata["rna"])

    def atac(self) -> Path:
        """Peaks, with their places in columns."""
        return self._h5ad("atac", self.adata["atac"])

    def csc(self) -> Path:
        """RNA by column."""
        return self._h5ad("csc", self.adata["rna"], X=self.adata["rna"].X.tocsc())

    def dense(self) -> Path:
        """RNA with all its zeros."""
        return self._h5ad(
            "dense", self.adata["rna"], X=self.adata["rna"].X.toarray().astype("f4")
        )

    def real(self) -> Path:
        """RNA as real numbers."""
        return self._h5ad("real", self.adata["rna"], X=self.adata["rna"].X.astype("f4"))

    def no_cells(self) -> Path:
        """An empty table."""
        return self._h5ad("no_cells", self.adata["rna"][:0].copy())

    def no_features(self) -> Path:
        """A table of cells alone."""
        return self._h5ad("no_features", self.adata["rna"][:, :0].copy())

    def both(self) -> Path:
        """Both modalities."""
        path = self.folder / "both.h5mu"
        with mudata.set_options(pull_on_update=False):
            mudata.MuData(self.adata).write_h5mu(path)
        return path

    def h5(self) -> Path:
        """Both modalities, as Cell Ranger ARC writes them."""
        path = self.folder / "both.h5"
        with h5py.File(path, "w") as file:
            group = file.create_group("matrix")
            matrix = self._features_by_cells()
            for name in ("data", "indices", "indptr"):
                group[name] = getattr(matrix, name)
            group["shape"] = np.array(matrix.shape)
            group["barcodes"] = self.adata["rna"].obs_names.to_numpy("S")
            features = group.create_group("features")
            for name, values in zip(NAMES, self._features(), strict=True):
                features[name] = np.array(values, "S")
        return path

    def mtx(self, name: str = "mtx") -> Path:
        """The same as a folder of text."""
        folder = self.folder / name
        folder.mkdir()
        scipy.io.mmwrite(folder / "matrix.mtx", self._features_by_cells().tocoo())
        names = "\n".join(self.adata["rna"].obs_names)
        (folder / "barcodes.tsv").write_text(names + "\n")
        rows = zip(*self._features(), strict=True)
        text = "\n".join("\t".join(row) for row in rows)
        (folder / "features.tsv").write_text(text + "\n")
        return folder

    def zipped(self) -> Path:
        """An .h5ad that is compressed."""
        return self.data / "bmmc_multiome/bmmc_atac_only_B.h5ad"

    def old(self) -> Path:
        """An .h5mu of an older mudata."""
        return self._muon(".h5mu")

    def all_fragments(self) -> Path:
        """A fragments file that is compressed."""
        return self._muon("_fragments.tsv.gz")

    def all_genes(self) -> Path:
        """A GTF that is compressed."""
        return self.data / GTF

    def whole_chain(self) -> Path:
        """A chain file that is compressed."""
        return self.data / CHAIN

    def all_peaks(self) -> Path:
        """A BED that is compressed."""
        return self.data / PEAKS

    def table(self) -> Path:
        """RNA as text."""
        self.adata["rna"].to_df().astype(int).to_csv(self.folder / "table.csv")
        return self.folder / "table.csv"

    def fragments(self) -> Path:
        """Lines of a fragments file, for the peaks and cells of the next two."""
        with gzip.open(self._muon("_fragments.tsv.gz"), "rt") as lines:
            kept = [line for line in lines if line.startswith("chr2\t")]
        return self.write("fragments.tsv", "".join(kept[:20_000]))

    def peaks(self) -> Path:
        """BED of the peaks of the same locus."""
        names = self._muon_names("atac/var/_index")
        rows = [name.replace(":", "\t").replace("-", "\t") for name in names]
        return self.write("peaks.bed", "\n".join(rows) + "\n")

    def cells(self) -> Path:
        """List of cells."""
        return self.write(
            "cells.tsv", "\n".join(self._muon_names("atac/obs/_index")) + "\n"
        )

    def hg19(self) -> Path:
        """Counts of peaks of another assembly, on the three chromosomes of `chain`."""
        path = self.data / "granja_bmmc_scatac/granja_bmmc_scatac.h5ad"
        whole = anndata.read_h5ad(path)
        chosen = whole.var["chrom"].isin(LIFTED)
        whole[:CELLS, chosen].copy().write_h5ad(self.folder / "hg19.h5ad")
        return self.folder / "hg19.h5ad"

    def chain(self) -> Path:
        """From that assembly to the one of `genes`."""
        with gzip.open(self.data / CHAIN, "rt") as text:
            chains = text.read().split("\n\n")
        kept = [c for c in chains if c.split()[2:3] in ([n] for n in LIFTED)]
        return self.write("some.chain", "\n\n".join(kept) + "\n\n")

    def _h5ad(self, name: str, adata: anndata.AnnData, **parts: Any) -> Path:
        adata = adata.copy()
        for key, matrix in parts.items():
            setattr(adata, key, matrix)
        adata.write_h5ad(self.folder / f"{name}.h5ad")
        return self.folder / f"{name}.h5ad"

    def write(self, name: str, text: str | bytes) -> Path:
        """A file of this content."""
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def _muon(self, name: str) -> Path:
        return self.data / "multiome_muon_fragments" / f"test_rna_atac{name}"

    def _muon_names(self, name: str) -> list[str]:
        with h5py.File(self._muon(".h5mu"), "r") as file:
            return file[f"mod/{name}"].asstr()[:].tolist()

    def _features_by_cells(self) -> sp.csc_matrix:
        return sp.hstack([self.adata["rna"].X, self.adata["atac"].X], format="csr").T

    def _features(self) -> tuple[list[str], list[str], list[str]]:
        """IDs, symbols and types of what both matrices have."""
        peaks = self.adata["atac"].var_names.tolist()
        return (
            [*self.adata["rna"].var["gene_ids"], *peaks],
            [*self.adata["rna"].var_names, *peaks],
            ["Gene Expression"] * self.adata["rna"].n_vars
            + ["Peaks"] * self.adata["atac"].n_vars,
        )
