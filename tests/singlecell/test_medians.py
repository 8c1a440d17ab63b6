"""Streamed medians against numpy's."""

import numpy as np
import pytest
import scipy.sparse as sp

from scmultimodal.singlecell import kernels, medians
from scmultimodal.singlecell.normalization import column_medians


def fitted(counts, factors, *, exact, cells_at_once=100):
    def blocks():
        for start in range(0, counts.shape[0], cells_at_once):
            some = counts[start : start + cells_at_once]
            yield medians.Block(
                some.indptr.astype(np.int64),
                some.indices.astype(np.uint16),
                some.data.astype(np.uint32),
                factors[start : start + cells_at_once],
            )

    return medians.fit_medians(blocks, counts.shape[1], exact=exact)


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    matrix = sp.random(
        701,
        90,
        0.2,
        "lil",
        np.int32,
        rng,
        lambda n: np.minimum(rng.geometric(0.5, n), 9),
    )
    matrix[:, 7] = 0
    matrix[:, 8] = 0
    matrix[3, 8], matrix[5, 9] = 2**20, 70_000
    return sp.csr_matrix(matrix)


@pytest.fixture
def factors():
    factors = np.random.default_rng(1).lognormal(0, 2, 701)
    factors[::3] = 0
    factors[3] = 0.25
    return factors


def by_numpy(counts, factors):
    values = kernels.log_values(counts, factors)
    logged = sp.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)
    return column_medians(logged[factors > 0])


@pytest.mark.parametrize("cells_at_once", [13, 1_000])
def test_exact_medians_are_numpys_to_the_bit(counts, factors, cells_at_once):
    found = fitted(counts, factors, exact=True, cells_at_once=cells_at_once)
    assert found.tolist() == by_numpy(counts, factors).tolist()
    assert found[7] == 1  # no cell has the gene


def test_medians_by_histogram_keep_their_bound(counts, factors):
    exact = by_numpy(counts, factors)
    found = fitted(counts, factors, exact=False)
    has_any = np.arange(90) != 7
    error = np.abs(found / exact - 1)[has_any]
    assert 0 < error.max() <= medians.RELATIVE_ERROR
    assert found[7] == 1


def test_cells_with_factor_zero_do_not_count(counts, factors):
    changed = counts.tolil()
    changed[::3] = 9
    changed[3] = counts[3]
    assert factors[0] == 0
    changed, mask = sp.csr_matrix(changed), factors > 0
    assert (changed[mask] != counts[mask]).nnz == 0
    for exact in (True, False):
        one, other = (fitted(m, factors, exact=exact) for m in (changed, counts))
        assert one.tolist() == other.tolist()


def test_no_cell_at_all(counts):
    assert fitted(counts, np.zeros(701), exact=False).tolist() == [1] * 90
