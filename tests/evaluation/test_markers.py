"""Marker genes, against scipy and by hand."""

import numpy as np
import pytest
from scipy import sparse, stats

from scmultimodal.evaluation import markers
from scmultimodal.evaluation.markers import Marker


def of(values, classes, count=None):
    """Moments of values in two blocks."""
    classes = np.asarray(classes)
    blocks = (
        (sparse.csr_matrix(values[part]), classes[part])
        for part in (slice(0, 3), slice(3, None))
    )
    return markers.moments(blocks, count or int(classes.max()) + 1, values.shape[1])


def test_scores_are_those_of_welch():
    rng = np.random.default_rng(0)
    values, classes = rng.poisson(1.0, (40, 6)).astype(float), rng.integers(0, 3, 40)
    found = markers.welch(of(values, classes))
    for kind in range(3):
        own = classes == kind
        expected = stats.ttest_ind(values[own], values[~own], equal_var=False)
        assert found[kind] == pytest.approx(expected.statistic)


def test_classes_take_turns_and_a_gene_speaks_for_one():
    """Genes 0 and 1 are of class 0, 2 of class 1; 3 is the same in all."""
    noise = np.tile([[0.0], [0.1]], (6, 4))
    own = np.zeros((12, 4))
    own[:6, 0], own[:6, 1], own[6:, 2] = 1, 2, 1
    values, classes = own + noise, np.repeat([0, 1], 6)
    chosen = markers.choose(of(values, classes), 200)
    assert chosen == [Marker(gene=g, type=t) for g, t in ((1, 0), (0, 0), (2, 1))]
    best = markers.choose(of(values, classes), 2)
    assert best == [Marker(gene=1, type=0), Marker(gene=2, type=1)]


def test_a_gene_that_never_varies_within_can_still_tell():
    values = np.array([[1.0, 5], [1, 5], [1, 0], [1, 0]])
    assert markers.choose(of(values, [0, 0, 1, 1]), 9) == [Marker(gene=1, type=0)]


def test_a_class_of_one_cell_has_no_marker():
    values = np.array([[1.0], [3], [4], [0], [0]])
    chosen = markers.choose(of(values, [2, 0, 0, 1, 1]), 9)
    assert [marker.type for marker in chosen] == [0]


def test_without_classes_the_most_varying_genes_are_taken():
    values = np.array([[0.0, 1, 3], [2, 1, -3], [0, 1, 3], [2, 1, -3]])
    chosen = markers.choose(of(values, [0, 0, 0, 0]), 2)
    assert chosen == [Marker(gene=2, type=-1), Marker(gene=0, type=-1)]


def test_without_cells_there_is_no_marker():
    nothing = markers.moments(iter(()), 1, 4)
    assert markers.choose(nothing, 9) == []
