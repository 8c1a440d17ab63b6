"""Both sources of cells say the same, and what a cell's tokens are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from scmultimodal.data.sources import (
    ArraySource,
    CellSource,
    StoreSource,
    nonzero_genes,
)
from scmultimodal.data.store import write_store
from scmultimodal.schemas.errors import InputError
from tests import builders

NUM_CELLS, NUM_GENES = 40, 25


@pytest.fixture(scope="module")
def cells():
    return builders.cell_table(NUM_CELLS, NUM_GENES)


@pytest.fixture(scope="module")
def bins(cells):
    """Dense bins by modality, with a last row of zeros for −1."""
    return {
        name: np.vstack(
            [builders.capped_bins(name, matrix).toarray(), np.zeros(NUM_GENES)]
        )
        for name, matrix in cells.matrices.items()
    }


@pytest.fixture(scope="module", params=["store", "arrays"])
def source(request, cells, bins, tmp_path_factory):
    if request.param == "arrays":
        return ArraySource(
            *(sparse.csr_matrix(bins[name][:-1]) for name in ("rna", "atac")),
            rna_present=cells.present["rna"],
            atac_present=cells.present["atac"],
        )
    store = write_store(
        tmp_path_factory.mktemp("data") / "store",
        cells=cells,
        vocabulary=builders.gene_vocabulary(NUM_GENES),
        bin_function=builders.capped_bins,
        provenance={},
        cells_per_shard=11,
    )
    return StoreSource(store)


def test_a_source_is_what_batches_ask_for(source):
    assert isinstance(source, CellSource)
    assert (source.num_cells, source.num_genes) == (NUM_CELLS, NUM_GENES)
    assert source.modalities in (("rna", "atac"), ("atac", "rna"))
    for modality in source.modalities:
        assert source.measured(modality, np.array([0, 1])) is None


@given(chosen=st.lists(st.integers(-1, NUM_CELLS - 1), max_size=30))
@settings(max_examples=40, deadline=None)
def test_bins_of_cells_and_fillers(source, bins, chosen):
    chosen = np.array(chosen, int)
    for modality, truth in bins.items():
        dense = source.dense(modality, chosen)
        np.testing.assert_array_equal(dense, truth[chosen])
        entries = source.entries(modality, chosen)
        assert entries.lengths.tolist() == (truth[chosen] > 0).sum(1).tolist()
        assert entries.genes.tolist() == np.nonzero(truth[chosen])[1].tolist()
        assert entries.values[0].tolist() == truth[chosen][truth[chosen] > 0].tolist()
    both = nonzero_genes(source, ("rna", "atac"), chosen)
    either = (bins["rna"] + bins["atac"])[chosen]
    rows, genes = np.nonzero(either)
    assert both.genes.tolist() == genes.tolist()
    for modality, values in zip(("rna", "atac"), both.values, strict=True):
        assert values.tolist() == bins[modality][chosen[rows], genes].tolist()


def test_presence_of_cells_that_hold_something():
    ones = sparse.csr_matrix(np.ones((2, 3), np.uint8))
    with pytest.raises(InputError, match="rna: a cell marked absent has bins"):
        ArraySource(ones, None, rna_present=np.array([True, False]))
