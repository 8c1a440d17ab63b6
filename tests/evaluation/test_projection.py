"""Cells on a plane."""

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from scmultimodal.evaluation import projection
from scmultimodal.schemas.errors import InputError


@pytest.fixture(scope="module")
def blobs():
    """Three groups in 80 dimensions, wider than UMAP is given."""
    random = np.random.default_rng(0)
    groups = np.repeat([0, 1, 2], 30)
    centres = random.normal(scale=3, size=(3, 80))
    return centres[groups] + random.normal(size=(90, 80)), groups


# UMAP compiles itself for most of a minute.
@pytest.mark.long
def test_the_same_seed_gives_the_same_picture_of_the_groups(blobs):
    vectors, groups = blobs
    first, again = (projection.umap(vectors, seed=4) for _ in range(2))
    assert np.array_equal(first, again)
    assert silhouette_score(first, groups) > 0.6


@pytest.mark.long
def test_few_cells_are_laid_out_too(blobs):
    places = projection.umap(blobs[0][:4])
    assert places.shape == (4, 2)
    assert np.all(np.isfinite(places))


def test_what_cannot_be_laid_out_is_refused(blobs):
    with pytest.raises(InputError, match="2 cells"):
        projection.umap(blobs[0][:2])
    broken = blobs[0].copy()
    broken[3, 3] = np.nan
    with pytest.raises(InputError, match="not finite"):
        projection.umap(broken)
