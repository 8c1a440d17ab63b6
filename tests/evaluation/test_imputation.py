"""Imputation: scores beside scipy and scikit-learn, baselines by hand."""

import numpy as np
import pytest
from scipy import sparse, stats
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from scmultimodal.evaluation import imputation
from scmultimodal.schemas.errors import InputError


def made_up(num_cells=80, num_genes=300, seed=0):
    """Values with zeros, and predictions that know something of them."""
    rng = np.random.default_rng(seed)
    measured = np.log1p(rng.poisson(0.8, (num_cells, num_genes))).astype(np.float32)
    predicted = measured * 0.3 + rng.normal(size=measured.shape)
    return predicted.round(2).astype(np.float32), measured


def test_scores_are_scipys_and_scikit_learns():
    predicted, measured = made_up()
    found = imputation.score(predicted, measured)
    for gene in (0, 7, 299):  # In different parts, too.
        pearson = stats.pearsonr(predicted[:, gene], measured[:, gene]).statistic
        np.testing.assert_allclose(found.gene_pearson[gene], pearson, atol=1e-5)
        auroc = roc_auc_score(measured[:, gene] > 0, predicted[:, gene])
        np.testing.assert_allclose(found.gene_auroc[gene], auroc)
    pearson = stats.pearsonr(predicted[3], measured[3]).statistic
    np.testing.assert_allclose(found.cell_pearson[3], pearson, atol=1e-5)
    means = found.means()
    np.testing.assert_allclose(means["gene_pearson"], np.mean(found.gene_pearson))


def test_what_says_nothing_of_a_gene_gets_nothing():
    _, measured = made_up()
    profile = imputation.mean_profile(measured, len(measured))
    found = imputation.score(profile, measured)
    assert (found.gene_pearson == 0).all()
    assert (found.gene_auroc == 0.5).all()
    assert found.means()["cell_pearson"] > 0


def test_genes_with_too_few_cells_are_not_judged():
    predicted, measured = made_up()
    measured[:, 0] = 0
    measured[:9, 0] = 1
    measured[:, 1] = 1
    measured[:9, 1] = 0
    measured[:, 2] = 0
    measured[:10, 2] = 1
    measured[4] = 0.5
    found = imputation.score(predicted, measured)
    for values in (found.gene_pearson, found.gene_auroc):
        assert np.isnan(values[:2]).all()
        assert np.isfinite(values[2:]).all()
    assert np.isnan(found.cell_pearson[4])
    assert np.isfinite(np.delete(found.cell_pearson, 4)).all()


def test_type_means_by_hand():
    measured = np.array([[1.0, 0.0], [3.0, 2.0], [5.0, 7.0]], np.float32)
    found = imputation.type_means(measured, np.array([0, 0, 2]), np.array([2, 0, 1, 3]))
    assert found.tolist() == [[5, 7], [2, 1], [3, 3], [3, 3]]


def test_likely_means_by_hand():
    measured = np.array([[1.0, 0.0], [3.0, 2.0], [5.0, 7.0]], np.float32)
    chances = np.array([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])
    found = imputation.likely_means(measured, np.array([0, 0, 2]), chances)
    assert found.tolist() == [[3.5, 4], [3, 3]]


def test_models_are_added_up_by_what_they_are_worth():
    """One has the truth at half its size, one the opposite, one noise."""
    rng = np.random.default_rng(0)
    profile, truth = rng.normal(size=20), rng.normal(size=(2, 50, 20))
    noise = rng.normal(size=(2, 50, 20))
    half, opposite, guessed = (
        [profile + share * part for part in parts]
        for share, parts in ((0.5, truth), (-1, truth), (1, noise))
    )
    models = list(zip(half, opposite, guessed, strict=True))
    found = imputation.combine(
        models[0], profile + truth[0], models[1], profile=profile
    )
    assert np.corrcoef((found - profile).ravel(), truth[1].ravel())[0, 1] > 0.99
    exact = imputation.combine(
        models[0][:2], profile + truth[0], models[1][:2], profile=profile
    )
    np.testing.assert_allclose(exact, profile + truth[1], atol=1e-6)
    # Where none knows anything, the profile is left.
    alone = imputation.combine(
        models[0][1:2], profile + truth[0], models[1][1:2], profile=profile
    )
    np.testing.assert_allclose(alone, np.broadcast_to(profile, alone.shape))


def test_ridge_tells_what_is_linear_and_takes_the_best_penalty():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(6, 20))
    components = rng.normal(size=(300, 6))
    values = components @ weights + rng.normal(scale=0.5, size=(300, 20))
    parts = np.split(np.arange(300), [150, 220])
    train, validation, test = parts
    found = imputation.ridge(
        components[train],
        values[train],
        (components[validation], values[validation]),
        components[test],
    )
    assert np.abs(found - components[test] @ weights).mean() < 0.15
    # Where nothing is to be told, it shrinks to the mean.
    noise = rng.normal(size=(300, 20))
    found = imputation.ridge(
        components[train],
        noise[train],
        (components[validation], noise[validation]),
        components[test],
    )
    assert np.abs(found - noise[train].mean(0)).max() < 0.05


@pytest.mark.parametrize(
    ("predicted", "message"),
    [(np.zeros((2, 3)), r"has shape \(2, 3\)"), (np.full((2, 2), np.nan), "NaN")],
)
def test_what_cannot_be_scored(predicted, message):
    with pytest.raises(InputError, match=message):
        imputation.score(predicted, np.zeros((2, 2)))


def test_kernel_ridge_is_ridge_on_all_features():
    """About the mean of the training cells; the penalty by validation cells."""
    rng = np.random.default_rng(0)
    features = sparse.random(160, 300, 0.1, "csr", rng=rng, dtype=np.float32)
    weights = rng.normal(size=(300, 4))
    values = (features @ weights + 2 * rng.normal(size=(160, 4)) + 2).astype("f4")
    train, held, test = slice(0, 100), slice(100, 130), slice(130, 160)
    found = imputation.kernel_ridge(
        features[train], values[train], (features[held], values[held]), features[test]
    )
    mean, told = values[train].mean(0), []
    for penalty in imputation.PENALTIES:
        model = Ridge(alpha=penalty, fit_intercept=False)
        model.fit(features[train].toarray(), values[train] - mean)
        error = np.square(model.predict(features[held].toarray()) + mean - values[held])
        told.append((error.mean(), model.predict(features[test].toarray()) + mean))
    best = min(told, key=lambda one: one[0])
    assert best is not told[0]
    np.testing.assert_allclose(found, best[1], atol=2e-3)
