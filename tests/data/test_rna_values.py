"""RNA as values: those that the evaluation has, whichever cells are asked for."""

import dataclasses

import numpy as np
import pytest

from scmultimodal.data.loading import BatchBuilder
from scmultimodal.data.rna_values import RnaValues
from scmultimodal.data.sampling import Share
from scmultimodal.data.sources import StoreSource
from scmultimodal.evaluation.depth import log1p_at_median_depth
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from tests import builders


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return builders.peak_store(tmp_path_factory.mktemp("values") / "data")


def test_values_are_at_the_median_depth_of_training_cells(store):
    counts = store.rows("rna", np.arange(store.num_cells), "counts")
    expected = log1p_at_median_depth(counts, store.split("train")).toarray()
    values = RnaValues.at_median_depth(store)
    depths = np.asarray(counts[store.split("train")].sum(1)).ravel()
    assert values.depth == np.median(depths)
    chosen = np.array([7, 3, 190])
    np.testing.assert_allclose(values.dense(chosen), expected[chosen], rtol=1e-6)
    assert values.rows(chosen).nnz == (counts[chosen] > 0).sum()
    assert not values.dense(np.array([-1, 3]))[0].any()


def test_batches_of_atac_bring_the_values_of_their_cells(store):
    values = RnaValues.at_median_depth(store)
    builder = BatchBuilder(
        StoreSource(store), store.num_genes, atac_path="peak", values=values
    )
    cells = np.array([5, 2, -1, 11])
    batch = builder.build(cells, Regime.ATAC)
    assert batch.rna is None
    np.testing.assert_array_equal(batch.values, values.dense(cells))
    part = builder.build(cells, Regime.ATAC, share=Share(index=1, count=2))
    np.testing.assert_array_equal(part.values, batch.values[2:])


def test_cells_without_rna(store):
    nobody = {**store._present, "rna": np.zeros(store.num_cells, bool)}
    alone = dataclasses.replace(store, _present=nobody)
    with pytest.raises(InputError, match="no training cell with counts of RNA"):
        RnaValues.at_median_depth(alone)
