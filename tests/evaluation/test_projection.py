"""Cells on a plane."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
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


def test_components_are_those_of_scikit_learn(blobs):
    found = projection.pca(blobs[0])
    expected = PCA(2, svd_solver="full").fit_transform(blobs[0])
    for mine, theirs in zip(found.T, expected.T, strict=True):
        sign = np.sign(mine @ theirs)
        assert mine == pytest.approx(sign * theirs, abs=1e-4)


def test_the_direction_of_a_component_is_that_of_its_largest_loading():
    vectors = np.outer([-1.0, 0, 1], [0.6, -0.8])
    assert projection.pca(vectors)[:, 0] == pytest.approx([1, 0, -1])


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (2, 4), (5, 1)])
def test_few_cells_have_places(shape):
    vectors = np.arange(float(np.prod(shape))).reshape(shape)
    places = projection.pca(vectors)
    assert places.shape == (shape[0], 2)
    assert np.isfinite(places).all()
    if shape[0] < 3:
        assert projection.lay_out(vectors)[1] == "PCA"


def test_without_umap_it_says_so(blobs, monkeypatch):
    monkeypatch.setattr(projection.importlib.util, "find_spec", lambda name: None)
    places, how = projection.lay_out(blobs[0])
    assert how == "PCA (UMAP needs the extra `eval`)"
    assert np.array_equal(places, projection.pca(blobs[0]))
