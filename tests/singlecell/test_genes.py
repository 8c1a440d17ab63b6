"""RNA features to genes."""

import pandas as pd
import pytest

from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell.genes import align_genes, match_genes
from tests.builders import annotated, gene_table

ENSEMBL = gene_table(
    ("ENSG00000000001", "chr1", 10, 20, "+"),
    ("ENSG00000000002", "chr2", 30, 40, "-"),
    ("ENSG00000000003", "chr3", 50, 60, "+"),
    ("ENSG00000000004", "chr4", 70, 80, "+"),
)
ENSEMBL["symbol"] = ["A", "B", "T", "T"]
SYMBOLS = gene_table(("A", "chr1", 10, 20, "+"), ("B", "chr2", 30, 40, "-"))


def _rna(features, **columns):
    adata = annotated([[i + 1 for i in range(len(features))]] * 2, features)
    for name, values in columns.items():
        adata.var[name] = values
    return adata


def test_ensembl_ids_with_versions_as_names():
    aligned = align_genes(_rna(["ENSG00000000002.5", "ENSG00000000001"]), ENSEMBL)
    assert aligned.var_names.tolist() == ["ENSG00000000002", "ENSG00000000001"]
    assert aligned.var.values.tolist() == [
        ["B", "chr2", 30, 40, "-"],
        ["A", "chr1", 10, 20, "+"],
    ]
    assert aligned.X.toarray().tolist() == [[1, 2]] * 2


def test_symbols_as_names_take_the_ids_of_the_annotation():
    aligned = align_genes(_rna(["B", "A"]), ENSEMBL)
    assert aligned.var_names.tolist() == ["ENSG00000000002", "ENSG00000000001"]


def test_ids_in_a_column_win_over_symbols_as_names():
    rna = _rna(["A", "B"], gene_ids=["ENSG00000000002", "ENSG00000000001"])
    aligned = align_genes(rna, ENSEMBL)
    assert aligned.var_names.tolist() == ["ENSG00000000002", "ENSG00000000001"]
    assert aligned.var["symbol"].tolist() == ["A", "B"]
    assert aligned.var["chrom"].tolist() == ["chr2", "chr1"]


def test_own_ids_are_kept_where_the_annotation_has_symbols():
    rna = _rna(["ENSG00000000009", "ENSG00000000008"], gene_name=["A", "C"])
    aligned = align_genes(rna, SYMBOLS)
    assert aligned.var_names.tolist() == ["ENSG00000000009", "ENSG00000000008"]
    assert aligned.var["start"].tolist() == [10, -1]


def test_an_unknown_id_is_not_found_by_its_symbol():
    rna = _rna(["A", "B"], gene_ids=["ENSG00000000001", "ENSG00000000099"])
    aligned = align_genes(rna, ENSEMBL)
    assert aligned.var.loc["ENSG00000000099"].tolist() == ["B", "", -1, -1, "."]


def test_what_has_no_place_stays_and_is_reported():
    aligned = align_genes(_rna(["A", "T", "B", "missing"]), ENSEMBL)
    assert aligned.var_names.tolist() == [
        "ENSG00000000001", "T", "ENSG00000000002", "missing",
    ]  # fmt: skip
    assert aligned.var["start"].tolist() == [10, -1, 30, -1]
    report = aligned.uns["gene_alignment"]
    assert report["ambiguous_symbols"] == ["T"]
    assert report["without_coordinates"] == 2
    assert report["first_without_coordinates"] == ["T", "missing"]


def test_an_id_of_two_features_is_removed():
    rna = _rna(["ENSG00000000001.1", "ENSG00000000001.2", "ENSG00000000002"])
    aligned = align_genes(rna, ENSEMBL)
    assert aligned.var_names.tolist() == ["ENSG00000000002"]
    assert aligned.X.toarray().tolist() == [[3]] * 2
    report = aligned.uns["gene_alignment"]
    assert report["repeated_ids_removed"] == ["ENSG00000000001"]


def test_missing_values_in_columns():
    rna = _rna(["B", "x"], gene_ids=[None, "ENSG00000000001"])
    aligned = align_genes(rna, ENSEMBL)
    assert aligned.var_names.tolist() == ["ENSG00000000002", "ENSG00000000001"]


def test_categorical_columns():
    ids = pd.Categorical(["ENSG00000000002", "ENSG00000000001"])
    match = match_genes(_rna(["x", "y"], gene_ids=ids).var, ENSEMBL)
    assert match.row.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("features", "genes", "cause"),
    [
        (["ENSMUSG00000000001", "ENSMUSG00000000002"], ENSEMBL, "another species"),
        (["ENSG00000000098", "ENSG00000000099"], ENSEMBL, "annotation release"),
        (["ENSG00000000001", "ENSG00000000002"], SYMBOLS, "Ensembl IDs in the data"),
        (["a", "b"], SYMBOLS, "another species .the symbols differ"),
        (["x1", "x2"], SYMBOLS, "no gene symbols"),
        (
            ["A", "B"],
            ENSEMBL.assign(symbol=ENSEMBL["gene_id"]),
            "symbols in the data against Ensembl IDs",
        ),
    ],
)
def test_a_mismatch_gives_numbers_examples_and_cause(features, genes, cause):
    with pytest.raises(InputError, match=cause) as error:
        align_genes(_rna(features), genes, source="my.h5ad")
    message = str(error.value)
    assert message.startswith("my.h5ad: only 0 of 2 genes are in the annotation")
    assert f"first missing: {features}" in message


def test_the_share_that_must_be_found():
    rna = _rna(["A", "x", "y"])
    with pytest.raises(InputError, match="only 1 of 3"):
        align_genes(rna, ENSEMBL)
    assert align_genes(rna, ENSEMBL, min_resolved=0.3).n_vars == 3
