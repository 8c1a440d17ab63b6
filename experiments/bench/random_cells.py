"""Cells of random counts, as a prepared dataset and as h5ad."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from scmultimodal.data import atomic
from scmultimodal.data.cell_table import CellTable
from scmultimodal.data.store import write_store
from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.schemas import configs
from scmultimodal.singlecell.recipe import RecipeConfig

STORE, H5AD = "store", "cells.h5ad"
_BLOCK = 1_000


def make(folder: Path, *, cells: int, genes: int, density: float) -> None:
    """Makes the same cells in both forms, unless they are there.

    Args:
        folder: to make; whole or not at all.
        cells: number of cells.
        genes: number of genes.
        density: share of the genes of a cell that are not zero, on average.
    """
    if folder.exists():
        return
    counts = random_counts(cells, genes, density)
    names = [f"cell{number}" for number in range(cells)]
    obs = pd.DataFrame({"split": "train"}, index=names)
    var = pd.DataFrame(index=_gene_ids(genes))
    with atomic.folder(folder) as unfinished:
        anndata.AnnData(X=counts, obs=obs, var=var).write_h5ad(unfinished / H5AD)
        present = {"rna": np.ones(cells, bool)}
        write_store(
            unfinished / STORE,
            cells=CellTable(rna=counts, atac=None, present=present, obs=obs),
            vocabulary=_vocabulary(genes),
            bin_function=lambda _, matrix: matrix,
            provenance={"simulated": True},
        )


def random_counts(cells: int, genes: int, density: float) -> sparse.csr_matrix:
    """Counts 1…5 (uint8) at random places."""
    random = np.random.default_rng(0)
    blocks = []
    for start in range(0, cells, _BLOCK):
        shape = (min(_BLOCK, cells - start), genes)
        block = sparse.csr_matrix(random.random(shape, np.float32) < density)
        blocks.append(block.astype(np.uint8))
    counts = sparse.csr_matrix(sparse.vstack(blocks, format="csr"))
    counts.data[:] = random.integers(1, 6, counts.nnz, np.uint8)
    return counts


def _gene_ids(genes: int) -> list[str]:
    return [f"ENSG{gene:011d}" for gene in range(genes)]


def _vocabulary(genes: int) -> GeneVocabulary:
    number, ids = np.arange(genes), _gene_ids(genes)
    table = {"gene_id": ids, "symbol": ids, "chrom": "chr1", "strand": "+"}
    places = {"start": 1_000 * number, "end": 1_000 * number + 500}
    medians, recipe = np.ones(genes), RecipeConfig()
    totals = {"rna": recipe.target_sum}
    return GeneVocabulary.from_frame(
        pd.DataFrame(table | places),
        rna_medians=medians,
        atac_medians=medians,
        recipe=configs.to_json(recipe) | {"totals": totals},
    )
