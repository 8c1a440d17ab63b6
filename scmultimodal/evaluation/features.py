"""What the baselines see; whatever is fitted is fitted on training cells alone."""

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from scmultimodal.evaluation import extra
from scmultimodal.evaluation.depth import Sparse

with extra.required():
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

Features = np.ndarray | Sparse
"""[cells, features], dense or sparse."""


def tf_idf(counts: Sparse, train: Int[np.ndarray, " train"]) -> Sparse:
    """log1p of 10,000 · share in the cell · log(1 + cells / cells that have it).

    What peaks are usually weighed by (Signac's first method; Stuart et al. 2021,
    doi:10.1038/s41592-021-01282-5).

    Args:
        counts: [cells, peaks], non-negative. An empty cell stays empty.
        train: rows of the training cells, which say how common a peak is; one that
            none of them has counts as if one had it.
    """
    depth = np.asarray(counts.sum(axis=1), np.float64).ravel()
    having = np.bincount(counts[train].indices, minlength=counts.shape[1])
    rarity = np.log1p(len(train) / np.maximum(having, 1))
    features = counts.astype(np.float64, copy=True)
    per_cell = np.repeat(10_000 / np.where(depth > 0, depth, 1), np.diff(counts.indptr))
    features.data = np.log1p(features.data * per_cell * rarity[counts.indices])
    return features.astype(np.float32)


def of_unit_length(features: Sparse) -> Sparse:
    """Each cell's features over their length; an empty cell stays empty."""
    squares = np.asarray(features.multiply(features).sum(axis=1)).ravel()
    lengths = np.sqrt(np.where(squares > 0, squares, 1)).astype(features.dtype)
    return sparse.csr_matrix(sparse.diags(1 / lengths) @ features)


def svd_components(
    features: Features,
    train: Int[np.ndarray, " train"],
    *,
    num_components: int = 50,
    seed: int = 0,
) -> Float[np.ndarray, "cells components"]:
    """Projects all cells on the training cells' leading singular vectors.

    Each component is centred and scaled to unit variance over the training cells.
    """
    width = max(1, min(num_components, train.size - 1, features.shape[1] - 1))
    # One thread: see `baselines._fit_quietly`.
    with threadpool_limits(1):
        svd = TruncatedSVD(width, random_state=seed).fit(features[train])
        components = svd.transform(features).astype(np.float32)
    return StandardScaler().fit(components[train]).transform(components)
