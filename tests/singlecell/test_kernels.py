"""Compiled loops against scipy and numpy."""

import numpy as np
import scipy.sparse as sp

from scmultimodal.singlecell import kernels


def test_many_blocks_are_put_one_after_the_other(monkeypatch):
    left = sp.random(50, 40, 0.3, "csr", np.int32, np.random.default_rng(0))
    left.data[:] = np.arange(left.nnz) % 5
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    values = kernels.log_values(left, np.arange(50.0))
    expected = np.log1p(left.data * np.repeat(np.arange(50.0), np.diff(left.indptr)))
    assert values.tolist() == expected.astype(np.float32).tolist()


def test_logarithms_of_large_counts():
    counts = sp.csr_matrix([[1, 255, 256, 2**31 - 1], [0, 7, 7, 0]], dtype=np.int32)
    values = kernels.log_values(counts, np.array([0.5, 2.0]))
    expected = np.log1p([0.5, 127.5, 128, (2**31 - 1) / 2, 14, 14])
    assert values.tolist() == expected.astype(np.float32).tolist()
