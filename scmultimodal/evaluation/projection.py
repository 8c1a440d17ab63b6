"""Embeddings on a plane."""

import importlib.util

import numpy as np
from jaxtyping import Float

from scmultimodal.evaluation import extra
from scmultimodal.schemas.errors import InputError

WIDEST = 50
"""Wider embeddings are cut to so many principal components first."""


def umap(
    embeddings: Float[np.ndarray, "cells dim"],
    *,
    seed: int = 0,
    num_neighbors: int = 15,
    min_distance: float = 0.3,
) -> Float[np.ndarray, "cells 2"]:
    """Lays cells out on a plane with UMAP; the same seed gives the same picture.

    Args:
        embeddings: a vector for each cell.
        seed: seed of the layout.
        num_neighbors: neighbours that count as near, fewer where cells are few.
        min_distance: how tightly neighbours may be packed.

    Raises:
        InputError: there are fewer than 3 cells or a value is not finite.
    """
    if len(embeddings) < 3:
        raise InputError("embeddings", f"{len(embeddings)} cells", "Give 3 or more")
    if not np.all(np.isfinite(embeddings)):
        raise InputError("embeddings", "a value is not finite", "Check the model")
    with extra.required():
        from sklearn.decomposition import PCA
        from umap import UMAP
    vectors = embeddings
    width = min(WIDEST, len(vectors) - 1)
    if vectors.shape[1] > width:
        vectors = PCA(width, random_state=seed).fit_transform(vectors)
    layout = UMAP(
        n_neighbors=min(num_neighbors, len(vectors) - 1),
        min_dist=min_distance,
        # The spectral start needs more cells than it has neighbours.
        init="spectral" if len(vectors) > 2 * num_neighbors else "random",
        random_state=seed,
        n_jobs=1,
    )
    return np.asarray(layout.fit_transform(vectors), np.float32)


def lay_out(
    embeddings: Float[np.ndarray, "cells dim"],
) -> tuple[Float[np.ndarray, "cells 2"], str]:
    """Places by UMAP, and the word for it; by PCA where it is missing or cells are few.

    Raises:
        InputError: a value is not finite.
    """
    if len(embeddings) < 3:
        return pca(embeddings), "PCA"
    if importlib.util.find_spec("umap") is None:
        return pca(embeddings), "PCA (UMAP needs the extra `eval`)"
    return umap(embeddings), "UMAP"


def pca(embeddings: Float[np.ndarray, "cells dim"]) -> Float[np.ndarray, "cells 2"]:
    """The first two principal components, each pointing to its largest loading.

    Raises:
        InputError: a value is not finite.
    """
    if not np.all(np.isfinite(embeddings)):
        raise InputError("embeddings", "a value is not finite", "Check the model")
    places = np.zeros((len(embeddings), 2), np.float32)
    if not len(embeddings):
        return places
    centred = embeddings.astype(np.float64)
    centred -= centred.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :2]
    largest = np.abs(axes).argmax(0)
    axes = axes * np.sign(axes[largest, np.arange(axes.shape[1])])
    places[:, : axes.shape[1]] = centred @ axes
    return places
