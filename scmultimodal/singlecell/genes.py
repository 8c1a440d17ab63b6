"""RNA features to the genes of an annotation or vocabulary."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from jaxtyping import Int

from scmultimodal.genome.annotation import drop_version, is_ensembl
from scmultimodal.schemas.errors import InputError

_ID_COLUMNS = (
    "gene_id",
    "gene_ids",
    "ensembl_id",
    "ensembl",
    "ensembl_ids",
    "feature_id",
)
_SYMBOL_COLUMNS = (
    "symbol", "symbols", "gene_symbol", "gene_symbols", "gene_name", "gene_names",
    "feature_name", "name", "gene", "hgnc",
)  # fmt: skip


class GeneMatch(NamedTuple):
    """Features of a dataset, found in an annotation.

    Attributes:
        gene_id: Ensembl ID without version, else the symbol; one per feature.
        symbol: the dataset's own symbol, else the annotation's.
        row: row of the annotation, −1 where there is none.
        ambiguous: symbols that the annotation gives to more than one ID.
    """

    gene_id: pd.Series
    symbol: pd.Series
    row: Int[np.ndarray, " features"]
    ambiguous: list[str]


class PlacedGenes(NamedTuple):
    """Features of a dataset that are genes of an ID of their own.

    Attributes:
        table: gene_id, symbol, chrom, start, end, strand.
        feature: the column of the data that each gene is in.
        report: what was found and removed; JSON-able.
    """

    table: pd.DataFrame
    feature: Int[np.ndarray, " genes"]
    report: dict[str, Any]


def align_genes(
    rna: AnnData,
    genes: pd.DataFrame,
    *,
    min_resolved: float = 0.5,
    source: object = "rna",
) -> AnnData:
    """Keys RNA by gene ID and gives each gene its place (SPEC 2.2.1).

    A gene that the annotation lacks stays, with chrom "", start = end = −1 and
    strand "."; its ATAC value will be 0. An ID that several features carry is removed.

    Args:
        rna: cells by genes; names or columns of `var` hold Ensembl IDs or symbols.
        genes: as from `genome.read_genes`.
        min_resolved: least share of features that the annotation must know.
        source: what to name in an error.

    Returns:
        A new AnnData in the order of `rna`; `var` has symbol, chrom, start, end and
        strand, indexed by gene_id; `uns["gene_alignment"]` is the report.

    Raises:
        InputError: where too few genes are found; the message gives the likely cause.
    """
    placed = place_genes(rna.var, genes, min_resolved=min_resolved, source=source)
    matrix = rna.X[:, placed.feature]
    return AnnData(
        X=sp.csr_matrix(matrix) if sp.issparse(matrix) else matrix.copy(),
        obs=rna.obs.copy(),
        var=placed.table.set_index("gene_id"),
        uns={"gene_alignment": placed.report},
    )


def place_genes(
    var: pd.DataFrame,
    genes: pd.DataFrame,
    *,
    min_resolved: float = 0.5,
    source: object = "rna",
) -> PlacedGenes:
    """`align_genes` for features without their counts.

    Raises:
        InputError: where too few genes are found; the message gives the likely cause.
    """
    match = match_genes(var, genes)
    found = match.row >= 0
    if found.mean() < min_resolved or not found.any():
        raise gene_mismatch(var, genes, found, source)
    repeated = match.gene_id.duplicated(keep=False).to_numpy()
    keep = np.flatnonzero(~repeated)
    placed = found & ~repeated
    report = {
        "features": len(found),
        "resolved": int(found.sum()),
        "genes": len(keep),
        "with_coordinates": int(placed.sum()),
        "without_coordinates": int(len(keep) - placed.sum()),
        "first_without_coordinates": match.symbol[~found & ~repeated].tolist()[:5],
        "ambiguous_symbols": match.ambiguous,
        "repeated_ids_removed": sorted(match.gene_id[repeated].unique()),
        "identifiers": "ensembl"
        if is_ensembl(match.gene_id).mean() > 0.5
        else "symbol",
    }
    table = _gene_table(match, genes).iloc[keep].reset_index(drop=True)
    return PlacedGenes(table, keep, report)


def match_genes(var: pd.DataFrame, genes: pd.DataFrame) -> GeneMatch:
    """Finds each feature in an annotation: by Ensembl ID, without one by symbol."""
    own_id, own_symbol = _own_names(var)
    by_id = pd.Index(genes["gene_id"]).get_indexer(own_id.fillna(""))
    symbols = genes["symbol"].astype(str)
    many = symbols.duplicated(keep=False).to_numpy()
    rows = np.flatnonzero(~many)
    position = pd.Index(symbols.iloc[rows]).get_indexer(own_symbol.fillna(""))
    by_symbol = np.where(position >= 0, np.append(rows, -1)[position], -1)
    # An Ensembl ID that an Ensembl annotation lacks is another gene: its symbol
    # must not decide.
    foreign = own_id.notna().to_numpy() & is_ensembl(genes["gene_id"]).any()
    row = np.where(by_id >= 0, by_id, np.where(foreign, -1, by_symbol))

    known = genes.iloc[np.maximum(row, 0)].set_axis(var.index)
    known = known.where(pd.Series(row >= 0, index=var.index), None)
    names = pd.Series(var.index.astype(str), index=var.index)
    symbol = own_symbol.fillna(known["symbol"]).fillna(names)
    gene_id = own_id.fillna(known["gene_id"]).fillna(symbol)
    unresolved = own_symbol[(row < 0) & ~foreign]
    ambiguous = unresolved[unresolved.isin(set(symbols[many]))]
    return GeneMatch(gene_id, symbol, row, sorted(ambiguous.unique()))


def gene_mismatch(
    var: pd.DataFrame,
    genes: pd.DataFrame,
    found: np.ndarray,
    source: object,
    *,
    of_model: bool = False,
) -> InputError:
    """The error for too few shared genes: how many, the first missing, the cause."""
    own_id, own_symbol = _own_names(var)
    missing = var.index[~found][:5].tolist()
    data_has_ids, genes_have_ids = (
        own_id.notna().any(),
        is_ensembl(genes["gene_id"]).any(),
    )
    strange = own_symbol[~found].dropna().str.upper()
    upper = strange.isin(genes["symbol"].str.upper())
    if data_has_ids and genes_have_ids:
        prefixes = {
            name: ids.str.extract(r"^(\D+)", expand=False).mode().iloc[0]
            for name, ids in (("data", own_id.dropna()), ("genes", genes["gene_id"]))
        }
        same = prefixes["data"] == prefixes["genes"]
        cause = "another annotation release" if same else f"another species {prefixes}"
    elif data_has_ids:
        cause = "Ensembl IDs in the data against symbols in the annotation"
    elif (genes["symbol"] == genes["gene_id"]).all() and genes_have_ids:
        cause = "symbols in the data against Ensembl IDs in the annotation"
    elif upper.mean() > 0.3:
        cause = "another species (the symbols differ in upper and lower case)"
    else:
        cause = "another species or assembly, or names that are no gene symbols"
    remedy = "Give the annotation that the data were counted with"
    if of_model:
        remedy = "Name the genes as in model.genes, or take a model of the same species"
    return InputError(
        source,
        f"only {int(found.sum())} of {len(found)} genes are in the "
        f"{'model' if of_model else 'annotation'}; first missing: {missing}",
        f"Likely cause: {cause}. {remedy}",
    )


def _own_names(var: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """The dataset's own Ensembl IDs (without version) and symbols; None if absent."""
    columns = {"": pd.Series(var.index, index=var.index)}
    for name in var.columns:
        if str(name).lower() in _ID_COLUMNS + _SYMBOL_COLUMNS:
            columns[str(name).lower()] = var[name]
    order = ["", *_ID_COLUMNS, *_SYMBOL_COLUMNS]
    texts = {key: columns[key].astype(object) for key in order if key in columns}
    own_id = own_symbol = pd.Series(None, index=var.index, dtype=object)
    for column in texts.values():
        ensembl = column.notna() & is_ensembl(column)
        own_id = own_id.where(own_id.notna(), drop_version(column).where(ensembl, None))
    for key in (*_SYMBOL_COLUMNS, "", *_ID_COLUMNS):
        if key in texts:
            column = texts[key].where(
                texts[key].notna() & ~is_ensembl(texts[key]), None
            )
            own_symbol = own_symbol.where(own_symbol.notna(), column)
    return own_id, own_symbol


def _gene_table(match: GeneMatch, genes: pd.DataFrame) -> pd.DataFrame:
    place = genes.iloc[np.maximum(match.row, 0)]
    found = match.row >= 0
    return pd.DataFrame(
        {
            "gene_id": match.gene_id.to_numpy(str),
            "symbol": match.symbol.to_numpy(str),
            "chrom": np.where(found, place["chrom"], ""),
            "start": np.where(found, place["start"], -1).astype(np.int64),
            "end": np.where(found, place["end"], -1).astype(np.int64),
            "strand": np.where(found, place["strand"], "."),
        }
    )
