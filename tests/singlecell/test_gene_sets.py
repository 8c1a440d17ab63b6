"""One list of genes for several datasets."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell import gene_sets
from tests import builders


def table(*genes):
    """Of "ID" or "ID=symbol"; each ID has a place of its own."""
    named = [(gene.split("=") * 2)[:2] for gene in genes]
    return pd.DataFrame(
        {
            "gene_id": [gene for gene, _ in named],
            "symbol": [symbol for _, symbol in named],
            "chrom": "chr1",
            "start": [ord(gene[0]) for gene, _ in named],
            "end": 1_000,
            "strand": "+",
        }
    )


TABLES = {"x": table("C", "A", "B"), "y": table("B", "D", "C"), "z": table("E", "C")}


@pytest.mark.parametrize(
    ("how", "names", "expected"),
    [
        ("intersection", "xy", "CB"),
        ("intersection", "yx", "BC"),
        ("intersection", "xyz", "C"),
        ("intersection", "x", "CAB"),
        ("union", "xy", "CABD"),
        ("union", "zyx", "ECBDA"),
    ],
)
def test_the_first_dataset_gives_the_order(how, names, expected):
    chosen = {name: TABLES[name] for name in names}
    genes, report = gene_sets.share_genes(chosen, how)
    assert "".join(genes["gene_id"]) == expected
    assert genes["start"].tolist() == [ord(name) for name in expected]
    assert report["genes"] == len(expected)
    assert report["genes_of_datasets"] == {n: len(TABLES[n]) for n in names}
    assert report["kept_of_datasets"] == {
        n: len(set(TABLES[n]["gene_id"]) & set(expected)) for n in names
    }


@pytest.mark.parametrize("how", ["intersection", "union"])
def test_ids_of_several_symbols_are_removed_and_listed(how):
    tables = {"x": table("A=a", "B=b", "C=c"), "y": table("C=c", "B=old", "A=a")}
    genes, report = gene_sets.share_genes(tables, how)
    assert genes["gene_id"].tolist() == ["A", "C"]
    assert report["ids_of_several_symbols"] == ["B"]
    assert report["kept_of_datasets"] == {"x": 2, "y": 2}


def test_nothing_in_common():
    with pytest.raises(InputError, match="x, z have no gene in common"):
        gene_sets.share_genes({"x": table("A"), "z": table("B")})
    with pytest.raises(InputError, match="no gene in common"):
        gene_sets.share_genes({"x": table("A=a"), "z": table("A=b")}, "union")


names_of_genes = st.lists(st.sampled_from("ABCDEFGH"), unique=True, min_size=1)


@given(st.lists(names_of_genes, min_size=1, max_size=4))
def test_intersection_and_union_are_those_of_sets(lists):
    tables = {str(number): table(*names) for number, names in enumerate(lists)}
    union, _ = gene_sets.share_genes(tables, "union")
    assert union["gene_id"].tolist() == [*dict.fromkeys(itertools.chain(*lists))]
    common = [name for name in lists[0] if all(name in names for names in lists)]
    if common:
        genes, _ = gene_sets.share_genes(tables)
        assert genes["gene_id"].tolist() == common
    else:
        with pytest.raises(InputError, match="no gene in common"):
            gene_sets.share_genes(tables)


def test_genes_of_a_model_are_found_by_id_or_symbol():
    """A repeated one belongs to nobody; what is missing is counted."""
    genes = builders.gene_table(*((name, "chr1", 0, 9, "+") for name in "ABCDEFGHIJ"))
    var = pd.DataFrame(index=["H", "x", "C", "A", "C.1", "B"])
    var["symbol"] = ["H", "x", "C", "A", "C", "B"]
    with pytest.warns(UserWarning, match="only 3 of the model's 10 genes"):
        found = gene_sets.find_genes(var, genes)
    assert found.feature.tolist() == [0, 3, 5]
    assert found.gene.tolist() == [7, 0, 1]
    assert (found.report["found"], found.report["missing"]) == (3, 7)
    assert found.report["first_missing"] == list("CDEFG")
    assert np.flatnonzero(found.measured(10)).tolist() == [0, 1, 7]
    weights = found.weights(6, 10).toarray()
    assert np.argwhere(weights).tolist() == [[0, 7], [3, 0], [5, 1]]


def test_a_dataset_of_other_genes_is_refused():
    genes = builders.gene_table(*((name, "chr1", 0, 9, "+") for name in "ABCDEFGHIJK"))
    var = pd.DataFrame(index=["A", *"abcdefg"])
    with pytest.raises(InputError, match="file: only 1 of 8 genes are in the model"):
        gene_sets.find_genes(var, genes, source="file")
