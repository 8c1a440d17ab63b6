"""Data of a user in the genes of a model: the right counts, or the right error."""

import anndata
import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scmultimodal import datasets
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell import inputs
from scmultimodal.singlecell.readers import join_modalities
from tests import builders
from tests.builders import aligned, annotated, gene_table

GENES = gene_table(
    ("a", "chr1", 100_000, 101_000, "+"), ("b", "chr1", 300_000, 301_000, "-")
)
PEAKS = ["chr1:100000-100500", "chr1:315000-315500"]


def small():
    """RNA and ATAC in different orders, each with a cell of its own."""
    rna = annotated([[1, 2, 5], [3, 4, 0], [5, 6, 1]], ["b", "a", "x"], ["r", "s", "t"])
    return rna, annotated([[2, 4], [6, 2], [8, 2]], PEAKS, ["t", "u", "s"])


def rows(cells, modality="rna"):
    """Counts by name of the cell."""
    counts = cells.counts(Modality(modality), slice(0, cells.num_cells))
    return dict(zip(cells.names, counts.toarray().tolist(), strict=True))


# Cells.


def test_cells_of_both_modalities_are_brought_into_one_order():
    mdata = join_modalities(dict(zip(("rna", "atac"), small(), strict=True)))
    genes = pd.concat([GENES.iloc[[1, 0]], gene_table(("x", "", -1, -1, "."))])
    cells = aligned(mdata, genes)
    assert cells.names.tolist() == mdata.obs_names.tolist()
    assert sorted(cells.names) == ["r", "s", "t", "u"]
    assert rows(cells) == {"r": [1, 2, 5], "s": [3, 4, 0], "t": [5, 6, 1], "u": [0] * 3}
    # Reads 2 and 4 are 1 and 2 fragments; a has its peak in band 1 (3 units), b in 2.
    assert rows(cells, "atac") == {
        "r": [0, 0, 0],
        "s": [2, 12, 0],
        "t": [4, 3, 0],
        "u": [2, 9, 0],
    }
    source = cells.block()
    for modality, alone in (("rna", "r"), ("atac", "u")):
        present = dict(zip(cells.names, source.present(modality), strict=True))
        assert present == {c: c in (alone, "s", "t") for c in "rstu"}
    assert cells.coverage.to_dict("list") == {
        "symbol": ["b", "a", "x"],
        "rna": [True, True, True],
        "atac": [1, 1, 0],
    }


def test_one_modality_alone():
    rna, atac = small()
    assert aligned(rna, GENES).modalities == (Modality.RNA,)
    assert aligned(atac, GENES).modalities == (Modality.ATAC,)
    assert list(aligned(atac, GENES).coverage) == ["symbol", "atac"]


def test_blocks_are_parts_of_the_whole(monkeypatch):
    """Also where a block is read in several goes."""
    data = builders.simulated_cells(num_cells=23)
    cells = aligned(data, datasets.simulated_genes(data))
    everything = np.arange(23)
    whole = {m: cells.block().dense(m, everything) for m in cells.modalities}
    monkeypatch.setattr("scmultimodal.workflows.alignment.ROWS_AT_ONCE", 4)
    for start, stop in ((0, 23), (3, 4), (5, 18)):
        part = cells.block(slice(start, stop))
        for modality, bins in whole.items():
            found = part.dense(modality, np.arange(stop - start))
            np.testing.assert_array_equal(found, bins[start:stop])


# Genes.


def test_genes_take_the_order_of_the_model_and_missing_ones_are_zero():
    rna, atac = small()
    rna.X[0] = 0
    others = gene_table(("x", "", -1, -1, "."), ("lost", "", -1, -1, "."))
    table = pd.concat([others[:1], GENES.iloc[::-1], others[1:]], ignore_index=True)
    cells = aligned(rna, table)
    assert rows(cells) == {"r": [0] * 4, "s": [0, 3, 4, 0], "t": [1, 5, 6, 0]}
    assert cells.coverage.query("not rna").index.tolist() == ["lost"]
    assert rows(aligned(atac, table), "atac")["t"] == [0, 4, 3, 0]


HUMAN = pd.DataFrame(
    {
        "gene_id": [f"ENSG{i:011d}" for i in range(12)],
        "symbol": [f"GENE{i}" for i in range(12)],
        "chrom": "chr1",
        "start": 1_000 * np.arange(12),
        "end": 1_000 * np.arange(12) + 500,
        "strand": "+",
    }
)
COUNTS = builders.sparse_counts(5, 12, seed=0, density=0.6)


@pytest.mark.parametrize(
    "names",
    [HUMAN["symbol"], HUMAN["gene_id"], HUMAN["gene_id"] + ".7"],
    ids=["symbols", "IDs", "versions"],
)
def test_symbols_ids_and_versions_of_any_order_are_the_same_genes(names):
    order = np.random.default_rng(1).permutation(12)
    data = annotated(COUNTS[:, order], names.iloc[order].tolist())
    cells = aligned(data, HUMAN)
    assert cells.coverage["rna"].all()
    counts = cells.counts(Modality.RNA, slice(0, 5))
    np.testing.assert_array_equal(counts.toarray(), COUNTS.toarray())


@pytest.mark.parametrize(
    ("names", "cause"),
    [
        (HUMAN["symbol"].str.capitalize(), "another species.*upper and lower case"),
        (HUMAN["gene_id"].str.replace("ENSG", "ENSMUSG"), "another species.*ENSMUSG"),
        ("Peak" + HUMAN["symbol"], "names that are no gene symbols"),
    ],
    ids=["mouse symbols", "mouse IDs", "nonsense"],
)
def test_genes_of_another_species_are_refused(names, cause):
    data = annotated(COUNTS, names.tolist())
    first = names.iloc[0]
    with pytest.raises(
        InputError, match=rf"only 0 of 12 genes.*first missing: \['{first}'.*{cause}"
    ):
        aligned(data, HUMAN)


def test_ids_for_a_model_of_symbols_are_refused():
    symbols = HUMAN.assign(gene_id=HUMAN["symbol"])
    data = annotated(COUNTS, HUMAN["gene_id"].tolist())
    with pytest.raises(InputError, match=r"Ensembl IDs in the data against symbols"):
        aligned(data, symbols)


def test_more_than_half_missing_is_warned_of_and_taken_as_zero():
    data = annotated(COUNTS[:, :5], HUMAN["symbol"][:5].tolist())
    with pytest.warns(
        UserWarning,
        match=r"only 5 of the model's 12 genes.*First missing: GENE5, GENE6",
    ):
        cells = aligned(data, HUMAN)
    counts = cells.counts(Modality.RNA, slice(0, 5)).toarray()
    np.testing.assert_array_equal(counts[:, :5], COUNTS[:, :5].toarray())
    assert not counts[:, 5:].any()


def test_a_gene_under_two_names_is_warned_of_and_taken_as_zero():
    names = HUMAN["gene_id"].tolist()
    names[3] = names[2] + ".2"
    with pytest.warns(
        UserWarning,
        match=r"1 of the model's genes have several features each \(GENE2\)",
    ):
        cells = aligned(annotated(COUNTS, names), HUMAN)
    assert cells.coverage.query("not rna")["symbol"].tolist() == ["GENE2", "GENE3"]
    counts = cells.counts(Modality.RNA, slice(0, 5)).toarray()
    assert not counts[:, 2:4].any()
    np.testing.assert_array_equal(counts[:, 4:], COUNTS[:, 4:].toarray())


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_one_name_twice_is_refused():
    names = HUMAN["symbol"].tolist()
    data = annotated(COUNTS, ["GENE0", "GENE0", *names[2:]])
    with pytest.raises(InputError, match="rna: feature name 'GENE0' occurs 2 times"):
        aligned(data, HUMAN)


def test_peaks_that_serve_few_genes_are_warned_of():
    atac = annotated([[1], [1]], ["chr1:100-200"])
    table = gene_table(*[(f"g{i}", "chr1", 10**6 * i, 10**6 * i + 9, "+")
                         for i in range(5)])  # fmt: skip
    with pytest.warns(UserWarning, match=r"only 1 of the model's 5 genes have a peak"):
        aligned(atac, table)


# Where counts lie.


def test_counts_are_checked_under_the_names_of_the_data():
    rna, atac = small()
    rna.X[2, 2] = -1
    with pytest.raises(InputError, match="rna: value -1 of feature 'x' in cell 't'"):
        aligned(rna, GENES)
    atac.obs_names = ["c", "c", "d"]
    with pytest.raises(InputError, match="atac: cell name 'c' occurs 2 times"):
        aligned(atac, GENES)
    rna.X.indices[0] = 2**30
    with pytest.raises(InputError, match="rna: a sparse matrix is broken"):
        aligned(rna, GENES)


@pytest.mark.parametrize("form", [sp.csr_matrix, np.asarray], ids=["csr", "dense"])
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_a_backed_object_is_read_where_it_lies(tmp_path, form, mode):
    data = annotated(COUNTS, HUMAN["symbol"].tolist())
    data.X = form(COUNTS.toarray().astype(np.float32))
    data.write_h5ad(tmp_path / "x.h5ad")
    backed = anndata.read_h5ad(tmp_path / "x.h5ad", backed=mode)
    cells = aligned(backed, HUMAN)
    counts = cells.counts(Modality.RNA, slice(1, 4))
    np.testing.assert_array_equal(counts.toarray(), COUNTS[1:4].toarray())
    assert backed.isbacked
    np.testing.assert_array_equal(
        sp.csr_matrix(backed.X[1:4]).toarray(), COUNTS[1:4].toarray()
    )


def test_both_modalities_of_one_backed_matrix(tmp_path):
    peaks = [f"chr1:{start}-{start + 100}" for start in (500, 5_500, 400_000)]
    both = annotated(sp.hstack([COUNTS, np.eye(5, 3)]), [*HUMAN["symbol"], *peaks])
    both.var["feature_types"] = ["Gene Expression"] * 12 + ["Peaks"] * 3
    both.write_h5ad(tmp_path / "x.h5ad")
    here = aligned(both, HUMAN)
    there = aligned(anndata.read_h5ad(tmp_path / "x.h5ad", backed="r"), HUMAN)
    for modality in Modality:
        assert rows(here, modality) == rows(there, modality)
    assert rows(here, "atac")["c0"] != rows(here, "atac")["c2"] == [0] * 12


def test_what_cannot_be_read_by_row_is_said(tmp_path):
    rna, atac = small()
    rna.X = sp.csc_matrix(rna.X)
    join_modalities({"rna": rna, "atac": atac}).write(tmp_path / "x.h5mu")
    backed = mudata.read_h5mu(tmp_path / "x.h5mu", backed=True)
    with pytest.raises(InputError, match=r"rna: .*by column \(CSC\).*to_memory"):
        inputs.from_data(backed, "data")
    view = backed["atac"][:2]
    with pytest.raises(InputError, match=r"view of a backed file.*to_memory"):
        inputs.from_data(view, "data")


def test_counts_in_a_layer():
    rna, atac = small()
    rna.layers["counts"] = rna.X.copy()
    rna.X = rna.X * 0.5
    mdata = join_modalities({"rna": rna, "atac": atac})
    dataset = inputs.from_data(mdata, "data", layer="counts")
    assert dataset.counts[Modality.RNA].rows.rows(0, 1).toarray().tolist() == [
        [1, 2, 5]
    ]
    assert dataset.counts[Modality.ATAC].rows.rows(0, 1).toarray().tolist() == [[2, 4]]
    with pytest.raises(InputError, match=r"no layer 'count'.*'rna': \['counts'\]"):
        inputs.from_data(mdata, "data", layer="count")
    with pytest.raises(InputError, match="layer 'counts' holds such"):
        inputs.from_data(mdata, "data")
