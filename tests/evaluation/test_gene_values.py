"""Scores of values that are not 0, by hand; and what simple guesses are."""

import math

import numpy as np
import pytest
from scipy import sparse, stats

from scmultimodal.evaluation import gene_values
from scmultimodal.evaluation.gene_values import Line

CELLS, GENES = 80, 6


@pytest.fixture
def measured():
    """Gene 4 is shown by nine cells, gene 5 by none."""
    rng = np.random.default_rng(0)
    values = np.float32(1 + rng.random((CELLS, GENES)))
    shown = rng.random((CELLS, GENES)) < 0.5
    shown[:, 4] = np.arange(CELLS) < 9
    shown[:, 5] = False
    return sparse.csr_matrix(values * shown)


def test_scores_are_over_what_is_shown(measured):
    rng = np.random.default_rng(1)
    told = np.float32(rng.random((CELLS, GENES)))
    told[:, 3] = 0.1
    dense = measured.toarray()
    where = dense > 0
    found = gene_values.score(told, measured)
    assert found.mse == pytest.approx(((told - dense)[where] ** 2).mean(), rel=1e-6)
    each = [
        stats.pearsonr(told[where[:, g], g], dense[where[:, g], g])[0] for g in range(3)
    ]
    assert found.gene_pearson == pytest.approx(sum(each) / 4, abs=1e-6)


def test_nothing_to_judge():
    nothing = sparse.csr_matrix((CELLS, GENES), dtype=np.float32)
    found = gene_values.score(np.zeros((CELLS, GENES), np.float32), nothing)
    assert math.isnan(found.mse)
    assert math.isnan(found.gene_pearson)


def test_any_share_of_the_sums_tells_the_same():
    rng = np.random.default_rng(2)
    told, true = rng.normal(size=(2, 30, GENES))
    sums = {
        "number": np.full(GENES, 30.0),
        "told": told.sum(0),
        "true": true.sum(0),
        "told_squared": (told**2).sum(0),
        "true_squared": (true**2).sum(0),
        "product": (told * true).sum(0),
    }
    judged = np.arange(GENES) < 4
    expected = np.mean([stats.pearsonr(told[:, g], true[:, g])[0] for g in range(4)])
    for share in (1, 1 / 3):
        some = {name: values * share for name, values in sums.items()}
        assert gene_values.gene_pearson(some, judged) == pytest.approx(expected)


def test_a_line_is_found_again():
    rng = np.random.default_rng(3)
    num_peaks = rng.integers(50, 3_000, 4_000)
    offset = rng.normal(3, 1, GENES)
    truth = offset - 0.4 * np.log1p(num_peaks)[:, None]
    shown = rng.random(truth.shape) < np.linspace(0.2, 0.9, GENES)
    noisy = truth + rng.normal(0, 0.05, truth.shape)
    line = Line.fit(sparse.csr_matrix(noisy * shown), num_peaks)
    assert line.depth_scale == pytest.approx(-0.4, abs=0.005)
    np.testing.assert_allclose(line.predict(num_peaks), truth, atol=0.03)
    mean = Line.fit(sparse.csr_matrix(noisy * shown), num_peaks, with_depth=False)
    assert mean.depth_scale == 0
    own = (noisy * shown).sum(0) / shown.sum(0)
    np.testing.assert_allclose(mean.predict(num_peaks[:1])[0], own, atol=0.01)


def test_a_gene_that_no_cell_shows_is_the_mean_of_all(measured):
    line = Line.fit(measured, np.full(CELLS, 20))
    assert np.isfinite(line.offset).all()
    assert line.depth_scale == 0
    assert line.offset[5] == pytest.approx(measured.data.mean(), rel=1e-5)


def test_types_shift_genes_by_what_the_line_left():
    left = sparse.csr_matrix(np.float32([[1, 0], [3, 0], [0, -2], [5, 5]]))
    labels = np.array([0, 0, 1, -1])
    shifts = gene_values.type_shifts(left, labels, 3, 1.0)
    np.testing.assert_allclose(shifts, [[4 / 3, 0], [0, -1], [0, 0]], rtol=1e-6)
