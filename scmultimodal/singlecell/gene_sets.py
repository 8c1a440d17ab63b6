"""Which genes a vocabulary has, and where a dataset has them."""

import warnings
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from jaxtyping import Bool, Int

from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell.genes import gene_mismatch, match_genes

Shared = Literal["intersection", "union"]

LITTLE = 0.5
"""Share of a model's genes below which data are warned of."""


class Selection(NamedTuple):
    """Where the genes of a vocabulary are in a dataset."""

    feature: Int[np.ndarray, " found"]
    """The column in the data."""
    gene: Int[np.ndarray, " found"]
    """The gene of the vocabulary that is there."""
    report: dict[str, Any]
    """What was found; JSON-able."""

    def weights(self, features: int, genes: int) -> sp.csr_matrix:
        """1 where a feature is a gene: int32 [features, genes]."""
        ones = np.ones(len(self.feature), np.int32)
        places = (self.feature, self.gene)
        return sp.csr_matrix((ones, places), shape=(features, genes))

    def measured(self, genes: int) -> Bool[np.ndarray, " genes"]:
        """Which genes the data have."""
        return np.isin(np.arange(genes), self.gene)


def share_genes(
    tables: Mapping[str, pd.DataFrame], how: Shared = "intersection"
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """One list of genes for several datasets (SPEC 2.2.1).

    IDs that carry several symbols are removed. The order is that of the first dataset,
    and then of those that follow.

    Args:
        tables: of each dataset with RNA its genes, as `place_genes` gives them.
        how: the genes that all have, or that any has.

    Returns:
        gene_id, symbol, chrom, start, end, strand; and a report.

    Raises:
        InputError: no gene is left.
    """
    together = pd.concat(tables.values(), ignore_index=True)
    symbols = together.groupby("gene_id", sort=False)["symbol"].nunique()
    datasets = together.groupby("gene_id", sort=False).size()
    several = symbols.index[symbols > 1]
    wanted = datasets.index[datasets == len(tables)] if how == "intersection" else None
    genes = together.drop_duplicates("gene_id")
    genes = genes[~genes["gene_id"].isin(several)]
    if wanted is not None:
        genes = genes[genes["gene_id"].isin(wanted)]
    if genes.empty:
        raise InputError(
            "vocabulary",
            f"{', '.join(tables)} have no gene in common",
            "Name genes alike, give data of one species, or ask for the union",
        )
    report = {
        "how": how,
        "genes": len(genes),
        "genes_of_datasets": {name: len(table) for name, table in tables.items()},
        "kept_of_datasets": {
            name: int(table["gene_id"].isin(genes["gene_id"]).sum())
            for name, table in tables.items()
        },
        "ids_of_several_symbols": sorted(several),
    }
    return genes.reset_index(drop=True), report


def find_genes(
    var: pd.DataFrame, genes: pd.DataFrame, *, source: object = "rna"
) -> Selection:
    """Where the genes of a trained model, or of a list, are in a dataset.

    Args:
        var: the features of the data.
        genes: gene_id, symbol and places.
        source: what to name in an error.

    Raises:
        InputError: where fewer than a tenth of them are.
    """
    match = match_genes(var, genes)
    repeated = pd.Series(match.row).duplicated(keep=False).to_numpy()
    features = np.flatnonzero((match.row >= 0) & ~repeated)
    if len(features) < 0.1 * len(genes):
        raise gene_mismatch(var, genes, match.row >= 0, source, of_model=True)
    missing = np.setdiff1d(np.arange(len(genes)), match.row[features])
    report = {
        "genes": len(genes),
        "found": len(features),
        "missing": len(missing),
        "first_missing": genes["symbol"].iloc[missing[:5]].tolist(),
    }
    twice = genes["symbol"].iloc[np.unique(match.row[(match.row >= 0) & repeated])]
    report["several_features"] = twice.tolist()
    if len(twice):
        warnings.warn(
            f"{source}: {len(twice)} of the model's genes have several features each "
            f"({', '.join(twice[:5])}) and are taken as 0; sum or drop the features",
            stacklevel=3,
        )
    if len(features) < LITTLE * len(genes):
        warnings.warn(
            f"{source}: only {len(features)} of the model's {len(genes)} genes are in "
            f"the data; the others are taken as 0. First missing: "
            f"{', '.join(report['first_missing'])}",
            stacklevel=3,
        )
    return Selection(features, match.row[features], report)
