"""Paired RNA teaches peaks by linear maps: each against its definition."""

import numpy as np
import pytest
from scipy import sparse

from scmultimodal.evaluation import paired
from scmultimodal.evaluation.paired import PairedConfig
from tests import builders

CELLS, PEAKS, GENES, CLASSES = 400, 60, 40, 3


def counts(width, seed, most=4):
    return builders.sparse_counts(CELLS, width, seed=seed, most=most)


def test_components_are_the_principal_ones():
    rna = counts(GENES, 2, most=9)
    depth = np.asarray(rna.sum(1)).ravel()
    scaled = rna.toarray() * (np.median(depth) / depth)[:, None]
    values = np.log1p(scaled)
    u, s, _ = np.linalg.svd(values - values.mean(0), full_matrices=False)
    found = paired.components(rna, 4)
    np.testing.assert_allclose(np.abs(found), np.abs(u[:, :4] * s[:4]), atol=1e-6)


def test_loadings_begin_with_the_largest():
    rna = counts(GENES, 2, most=9)
    found = paired.loadings(rna, 3)
    np.testing.assert_allclose(found.T @ found, np.eye(3), atol=1e-8)
    assert (found.sum(0) >= 0).all()
    spread = paired.components(rna, 3).std(0)
    assert (np.diff(spread) < 0).all()


def linked(seed):
    """Peaks and RNA of types: each type has genes and peaks of its own, faintly."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=CELLS)
    of_type = labels[:, None] == np.arange(PEAKS) % CLASSES
    peaks = rng.random((CELLS, PEAKS)) < np.where(of_type, 0.22, 0.1)
    expressed = rng.poisson(
        np.where(labels[:, None] == np.arange(GENES) % CLASSES, 4, 1)
    )
    return (
        sparse.csr_matrix(peaks.astype(np.uint8)),
        sparse.csr_matrix(expressed),
        labels,
    )


def accuracy(weights, peaks, labels):
    logits = (peaks @ weights) / np.sqrt(np.maximum(peaks.sum(1), 1))
    return (np.asarray(logits).argmax(1) == labels).mean()


def test_peaks_tell_types_of_other_cells_by_few_labels():
    """RNA of all cells, labels of a tenth: more than by the labels alone."""
    peaks, rna, labels = linked(0)
    few = np.where(np.arange(CELLS) < 40, labels, -1)
    config = PairedConfig(num_components=2, ridge=20.0)
    weights = paired.peak_weights(peaks, rna, few, CLASSES, config)
    others, _, truth = linked(1)
    alone = paired.peak_weights(peaks[:40], rna[:40], labels[:40], CLASSES, config)
    assert accuracy(weights, others, truth) > accuracy(alone, others, truth) + 0.02
    assert accuracy(weights, others, truth) > 0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_a_class_without_a_cell_has_no_weight(seed):
    peaks, rna, labels = linked(seed)
    weights = paired.peak_weights(peaks, rna, labels, CLASSES + 1, PairedConfig())
    assert weights.shape == (PEAKS, CLASSES + 1)
    assert not weights[:, CLASSES].any()
    assert weights[:, :CLASSES].any(0).all()


def test_two_classes():
    """The weights of one are those of the other, turned."""
    peaks, rna, labels = linked(3)
    two = np.minimum(labels, 1)
    weights = paired.peak_weights(peaks, rna, two, 2, PairedConfig())
    np.testing.assert_allclose(weights[:, 0], -weights[:, 1], atol=1e-6)
    assert accuracy(weights, peaks, two) > 0.7
