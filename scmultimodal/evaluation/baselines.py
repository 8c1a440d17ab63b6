"""The simple classifiers that stand beside every transformer result.

Whatever is fitted, the preprocessing included, is fitted on training cells; the one
free parameter is chosen on validation cells (accuracy, then macro-F1; a tie keeps the
value tried first) along a grid that grows until the best value is inside it.
"""

import dataclasses
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Integer
from scipy import sparse

from scmultimodal.evaluation import classification, extra
from scmultimodal.evaluation.classification import ClassificationScores
from scmultimodal.evaluation.depth import Sparse, log1p_at_median_depth
from scmultimodal.evaluation.features import Features, svd_components, tf_idf
from scmultimodal.evaluation.split_indices import SplitIndices
from scmultimodal.evaluation.summary import Result
from scmultimodal.evaluation.tuning import Trial, search, stratified_subsample
from scmultimodal.schemas.errors import InputError

with extra.required():
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.neighbors import KNeighborsClassifier
    from threadpoolctl import threadpool_limits

LOGISTIC_GRID = tuple(10.0 ** (half / 2) for half in (-4, -3, -2, -1))
NEIGHBOURS_GRID = (5.0, 10.0, 20.0, 40.0)
NAIVE_BAYES_GRID = tuple(10.0 ** (half / 2) for half in (-4, -3, -2, -1, 0, 1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaselineResult:
    """A fitted baseline and what it says of the test cells.

    Attributes:
        name: "logistic_regression", "svd_logistic_regression", "nearest_neighbours" or
            "naive_bayes".
        parameter: name of the free parameter, "C", "k" or "alpha".
        value: the value chosen.
        trials: all values tried, ascending; the chosen one is not at either end.
        validation: validation scores of the final fit.
        test: its test scores.
        predictions: predicted class of each test cell.
        probabilities: probability of each class (0 for one unseen in training).
        validation_probabilities: the same, of the validation cells.
        converged: whether the final fit reached its tolerance.
        seconds: wall time of tuning and fitting.
    """

    name: str
    parameter: str
    value: float
    trials: tuple[Trial, ...]
    validation: ClassificationScores
    test: ClassificationScores
    predictions: Integer[np.ndarray, " cells"]
    probabilities: Float[np.ndarray, "cells classes"]
    validation_probabilities: Float[np.ndarray, "validation classes"]
    converged: bool
    seconds: float

    def as_result(self, modality: str) -> Result:
        """The row of this baseline in tables of results."""
        return Result(model=self.name, modality=modality, scores=self.test)


def logistic_regression(
    features: Features,
    labels: Integer[np.ndarray, " cells"],
    split: SplitIndices,
    *,
    num_classes: int,
    seed: int = 0,
    grid: Sequence[float] = LOGISTIC_GRID,
    max_tuning_cells: int = 20_000,
) -> BaselineResult:
    """Multinomial logistic regression with a ridge penalty (L-BFGS).

    C is tuned with warm starts along the grid and a loose tolerance; the final fit
    takes all training cells, and them alone, to scikit-learn's default tolerance.

    Args:
        features: [cells, features], for example of `log1p_at_median_depth`.
        labels: class of each cell; −1 is allowed outside the split.
        split: which cells train, tune and test.
        num_classes: number of classes.
        seed: draws the tuning subsample.
        grid: values of C to begin with, ascending.
        max_tuning_cells: tune on a stratified subsample of the training cells where
            there are more. C is the prior's variance and needs no rescaling.

    Raises:
        InputError: features, labels and split do not fit together, or the training
            cells are of one class.
    """
    _check(features, labels, split, num_classes)
    start = time.perf_counter()
    tuning = stratified_subsample(labels, split.train, max_tuning_cells, seed)
    model = LogisticRegression(tol=1e-3, max_iter=2_000, warm_start=True)

    def try_value(value: float) -> Trial:
        _fit_quietly(model.set_params(C=value), features[tuning], labels[tuning])
        rows = split.validation
        predictions = model.predict(features[rows])
        scores = classification.score(labels[rows], predictions, num_classes)
        return Trial(value=value, validation=scores)

    trials, best = search(try_value, grid)
    model.set_params(C=best.value, tol=1e-4, max_iter=10_000)
    _fit_quietly(model, features[split.train], labels[split.train])
    return _judge(
        model,
        features,
        labels,
        split,
        num_classes,
        name="logistic_regression",
        parameter="C",
        value=best.value,
        trials=trials,
        converged=bool(np.all(model.n_iter_ < model.max_iter)),
        start=start,
    )


def svd_logistic_regression(
    features: Features,
    labels: Integer[np.ndarray, " cells"],
    split: SplitIndices,
    *,
    num_classes: int,
    seed: int = 0,
    num_components: int = 50,
    **options: Any,
) -> BaselineResult:
    """Logistic regression on standardised SVD components of the training cells."""
    start = time.perf_counter()
    components = svd_components(
        features, split.train, num_components=num_components, seed=seed
    )
    result = logistic_regression(
        components,
        labels,
        split,
        num_classes=num_classes,
        seed=seed,
        **options,
    )
    seconds = time.perf_counter() - start
    return dataclasses.replace(result, name="svd_logistic_regression", seconds=seconds)


def nearest_neighbours(
    features: Features,
    labels: Integer[np.ndarray, " cells"],
    split: SplitIndices,
    *,
    num_classes: int,
    seed: int = 0,
    num_components: int = 50,
    grid: Sequence[float] = NEIGHBOURS_GRID,
) -> BaselineResult:
    """Vote of the nearest training cells on SVD components; their number is tuned."""
    start = time.perf_counter()
    components = svd_components(
        features, split.train, num_components=num_components, seed=seed
    )
    result = vote_of_neighbours(
        components, labels, split, num_classes=num_classes, grid=grid
    )
    return dataclasses.replace(result, seconds=time.perf_counter() - start)


def vote_of_neighbours(
    vectors: Float[np.ndarray, "cells dim"],
    labels: Integer[np.ndarray, " cells"],
    split: SplitIndices,
    *,
    num_classes: int,
    grid: Sequence[float] = NEIGHBOURS_GRID,
) -> BaselineResult:
    """Vote of the nearest training cells on vectors as they are; see `compare`."""

    def fit(value: float) -> KNeighborsClassifier:
        number = min(max(1, round(value)), split.train.size)
        model = KNeighborsClassifier(number)
        return model.fit(vectors[split.train], labels[split.train])

    with threadpool_limits(1):
        return _tune(
            fit,
            vectors,
            labels,
            split,
            num_classes,
            grid=grid,
            name="nearest_neighbours",
            parameter="k",
        )


def naive_bayes(
    counts: Features,
    labels: Integer[np.ndarray, " cells"],
    split: SplitIndices,
    *,
    num_classes: int,
    grid: Sequence[float] = NAIVE_BAYES_GRID,
) -> BaselineResult:
    """Multinomial naive Bayes on counts; the smoothing alpha is tuned."""

    def fit(value: float) -> MultinomialNB:
        model = MultinomialNB(alpha=value)
        return model.fit(counts[split.train], labels[split.train])

    return _tune(
        fit,
        counts,
        labels,
        split,
        num_classes,
        grid=grid,
        name="naive_bayes",
        parameter="alpha",
    )


def compare(
    counts: Sequence[Sparse],
    labels: Integer[np.ndarray, " cells"],
    split: SplitIndices,
    *,
    num_classes: int,
    seed: int = 0,
) -> list[BaselineResult]:
    """Fits all baselines on what was measured, joined where there are two modalities.

    Args:
        counts: [cells, features] counts of each modality (gene-level values for ATAC).
        labels: class of each cell; −1 is allowed outside the split.
        split: which cells train, tune and test.
        num_classes: number of classes.
        seed: seed of the run.
    """
    scaled = [log1p_at_median_depth(block, split.train) for block in counts]
    joint, features = (sparse.hstack(m, format="csr") for m in (counts, scaled))
    known = {"labels": labels, "split": split, "num_classes": num_classes}
    return [
        logistic_regression(features, **known, seed=seed),
        svd_logistic_regression(features, **known, seed=seed),
        nearest_neighbours(features, **known, seed=seed),
        naive_bayes(joint, **known),
    ]


def compare_peaks(
    counts: Sparse,
    labels: Integer[np.ndarray, " cells"],
    split: SplitIndices,
    *,
    num_classes: int,
    seed: int = 0,
) -> list[BaselineResult]:
    """Fits what is simple on the peaks themselves: naive Bayes, and TF-IDF + SVD.

    Args:
        counts: [cells, peaks] fragments.
        labels, split, num_classes, seed: as `compare`.
    """
    known = {"labels": labels, "split": split, "num_classes": num_classes}
    found = [
        naive_bayes(counts, **known),
        svd_logistic_regression(tf_idf(counts, split.train), **known, seed=seed),
    ]
    return [dataclasses.replace(r, name=f"peaks_{r.name}") for r in found]


def _check(
    features: Features, labels: np.ndarray, split: SplitIndices, num_classes: int
) -> None:
    if features.shape[0] != len(labels):
        raise InputError(
            "features",
            f"{features.shape[0]} rows for {len(labels)} labels",
            "Give one row per cell",
        )
    for name, rows in vars(split).items():
        used = labels[rows]
        if used.min() < 0 or used.max() >= num_classes:
            wrong = used[(used < 0) | (used >= num_classes)][0]
            raise InputError(
                f"labels of the {name} cells",
                f"class {wrong} lies outside 0…{num_classes - 1}",
                "Leave unlabelled cells out of the split",
            )
    if np.unique(labels[split.train]).size < 2:
        raise InputError(
            "labels", "the training cells are of one class", "Choose another column"
        )


def _fit_quietly(model: Any, features: Features, labels: np.ndarray) -> None:
    """Fits without a warning: whether a fit converged stands in its result.

    One thread: these products are small, and threads that wait for each other on a
    busy machine make them seven times slower.
    """
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)


def _tune(
    fit: Callable[[float], Any],
    features: Features,
    labels: np.ndarray,
    split: SplitIndices,
    num_classes: int,
    *,
    grid: Sequence[float],
    **fields: Any,
) -> BaselineResult:
    """Fits with each value that is tried, and judges the best."""
    _check(features, labels, split, num_classes)
    start = time.perf_counter()

    def try_value(value: float) -> Trial:
        predictions = fit(value).predict(features[split.validation])
        truth = labels[split.validation]
        scores = classification.score(truth, predictions, num_classes)
        return Trial(value=value, validation=scores)

    trials, best = search(try_value, grid)
    return _judge(
        fit(best.value),
        features,
        labels,
        split,
        num_classes,
        value=best.value,
        trials=trials,
        converged=True,
        start=start,
        **fields,
    )


def _judge(
    model: Any,
    features: Features,
    labels: np.ndarray,
    split: SplitIndices,
    num_classes: int,
    *,
    start: float,
    **fields: Any,
) -> BaselineResult:
    """Scores the final fit on validation and test cells."""

    def chances(rows: np.ndarray) -> np.ndarray:
        found = np.zeros((rows.size, num_classes))
        found[:, model.classes_] = model.predict_proba(features[rows])
        return found

    tuned, tested = chances(split.validation), chances(split.test)
    predictions = tested.argmax(1)
    return BaselineResult(
        validation=classification.score(
            labels[split.validation], tuned.argmax(1), num_classes
        ),
        test=classification.score(labels[split.test], predictions, num_classes),
        predictions=predictions,
        probabilities=tested,
        validation_probabilities=tuned,
        seconds=time.perf_counter() - start,
        **fields,
    )
