"""The simple classifiers that stand beside every transformer result.

Whatever is fitted, the preprocessing included, is fitted on training cells; the one
free parameter is chosen on validation cells (accuracy, then macro-F1; a tie keeps the
value tried first) along a grid that grows until the best value is inside it.
"""

import dataclasses
import itertools
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Integer
from scipy import sparse

from scmultimodal.evaluation import classification, extra
from scmultimodal.evaluation.classification import ClassificationScores
from scmultimodal.schemas.errors import InputError

with extra.required():
    from sklearn.decomposition import TruncatedSVD
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.preprocessing import StandardScaler

Features = np.ndarray | sparse.csr_matrix | sparse.csr_array
"""[cells, features]: dense, or sparse by rows."""

LOGISTIC_GRID = tuple(10.0 ** (half / 2) for half in (-4, -3, -2, -1))
NAIVE_BAYES_GRID = tuple(10.0 ** (half / 2) for half in (-4, -3, -2, -1, 0, 1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitIndices:
    """Row numbers of the cells of each split.

    Raises:
        InputError: a split is empty, or a cell is in two.
    """

    train: Int[np.ndarray, " train"]
    validation: Int[np.ndarray, " validation"]
    test: Int[np.ndarray, " test"]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if not getattr(self, field.name).size:
                raise InputError(
                    f"split {field.name!r}", "no cell", "Put cells in every split"
                )
        rows = np.concatenate([self.train, self.validation, self.test])
        if np.unique(rows).size != rows.size:
            raise InputError("split", "a cell is listed twice", "Make splits disjoint")

    @classmethod
    def from_names(cls, names: Sequence[str] | np.ndarray) -> "SplitIndices":
        """Reads one word per cell: train, validation or test; others are left out."""
        words = np.asarray(names)
        fields = (field.name for field in dataclasses.fields(cls))
        return cls(**{name: np.flatnonzero(words == name) for name in fields})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One value of the free parameter and its scores on validation cells."""

    value: float
    validation: ClassificationScores


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaselineResult:
    """A fitted baseline and what it says of the test cells.

    Attributes:
        name: "logistic_regression", "svd_logistic_regression" or "naive_bayes".
        parameter: name of the free parameter, "C" or "alpha".
        value: the value chosen.
        trials: all values tried, ascending; the chosen one is not at either end.
        validation: validation scores of the final fit.
        test: its test scores.
        predictions: predicted class of each test cell.
        probabilities: probability of each class (0 for one unseen in training).
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
    converged: bool
    seconds: float


def log1p_at_median_depth(
    counts: sparse.csr_matrix | sparse.csr_array, train: Int[np.ndarray, " train"]
) -> sparse.csr_matrix | sparse.csr_array:
    """Scales each cell to the median depth of the training cells, then log1p.

    Args:
        counts: [cells, features], non-negative. An empty cell stays empty.
        train: rows of the training cells; those with counts give the median.

    Returns:
        float32 matrix of the same shape and kind.

    Raises:
        InputError: a value is negative or not finite, or no training cell has counts.
    """
    if not np.all(np.isfinite(counts.data)) or np.any(counts.data < 0):
        raise InputError(
            "counts", "a value is negative or not finite", "Pass raw counts"
        )
    depth = np.asarray(counts.sum(axis=1), np.float64).ravel()
    depths = depth[train][depth[train] > 0]
    if not depths.size:
        raise InputError("counts", "no training cell has counts", "Check the split")
    scale = np.median(depths) / np.where(depth > 0, depth, 1)
    features = counts.astype(np.float64, copy=True)
    features.data = np.log1p(features.data * np.repeat(scale, np.diff(counts.indptr)))
    return features.astype(np.float32)


def logistic_regression(
    features: Features,
    labels: Integer[np.ndarray, " cells"],
    split: SplitIndices,
    *,
    num_classes: int,
    seed: int = 0,
    grid: Sequence[float] = LOGISTIC_GRID,
    max_tuning_cells: int = 20_000,
    name: str = "logistic_regression",
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
        name: name of the result.
    """
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
        name=name,
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
        name="svd_logistic_regression",
        **options,
    )
    return dataclasses.replace(result, seconds=time.perf_counter() - start)


def naive_bayes(
    counts: Features,
    labels: Integer[np.ndarray, " cells"],
    split: SplitIndices,
    *,
    num_classes: int,
    grid: Sequence[float] = NAIVE_BAYES_GRID,
) -> BaselineResult:
    """Multinomial naive Bayes on counts; the smoothing alpha is tuned."""
    start = time.perf_counter()

    def fit(value: float) -> MultinomialNB:
        model = MultinomialNB(alpha=value)
        return model.fit(counts[split.train], labels[split.train])

    def try_value(value: float) -> Trial:
        predictions = fit(value).predict(counts[split.validation])
        truth = labels[split.validation]
        scores = classification.score(truth, predictions, num_classes)
        return Trial(value=value, validation=scores)

    trials, best = search(try_value, grid)
    return _judge(
        fit(best.value),
        counts,
        labels,
        split,
        num_classes,
        name="naive_bayes",
        parameter="alpha",
        value=best.value,
        trials=trials,
        converged=True,
        start=start,
    )


def search(
    try_value: Callable[[float], Trial], grid: Sequence[float]
) -> tuple[tuple[Trial, ...], Trial]:
    """Tries a grid and lengthens it until the best value is not at an end.

    Args:
        try_value: fits and scores one value.
        grid: at least two values, ascending; the outer ratios lengthen it.

    Returns:
        All trials in ascending order, and the best of them.
    """
    if len(grid) < 2 or any(b <= a for a, b in itertools.pairwise(grid)):
        raise InputError("grid", f"{tuple(grid)}", "Give two or more ascending values")
    trials = [try_value(value) for value in grid]
    best = max(trials, key=_goodness)
    while best is trials[0] or best is trials[-1]:
        if best is trials[0]:
            trial = try_value(trials[0].value ** 2 / trials[1].value)
            trials.insert(0, trial)
        else:
            trial = try_value(trials[-1].value ** 2 / trials[-2].value)
            trials.append(trial)
        best = max(best, trial, key=_goodness)
    return tuple(trials), best


def stratified_subsample(
    labels: Integer[np.ndarray, " cells"],
    rows: Int[np.ndarray, " rows"],
    size: int,
    seed: int,
) -> Int[np.ndarray, " sample"]:
    """Draws about `size` of the rows, each class in proportion and at least once."""
    if rows.size <= size:
        return rows
    random = np.random.default_rng(seed)
    kept = []
    for label in np.unique(labels[rows]):
        members = rows[labels[rows] == label]
        share = max(1, round(members.size * size / rows.size))
        kept.append(random.choice(members, share, replace=False))
    return np.sort(np.concatenate(kept))


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
    width = min(num_components, min(train.size, features.shape[1]) - 1)
    svd = TruncatedSVD(width, random_state=seed).fit(features[train])
    components = svd.transform(features).astype(np.float32)
    return StandardScaler().fit(components[train]).transform(components)


def _goodness(trial: Trial) -> tuple[float, float]:
    return trial.validation.accuracy, trial.validation.macro_f1


def _fit_quietly(model: Any, features: Features, labels: np.ndarray) -> None:
    """Whether a fit converged stands in the result, so no warning besides."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)


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
    probabilities = np.zeros((split.test.size, num_classes))
    probabilities[:, model.classes_] = model.predict_proba(features[split.test])
    predictions = probabilities.argmax(1)
    tuned = model.predict(features[split.validation])
    return BaselineResult(
        validation=classification.score(labels[split.validation], tuned, num_classes),
        test=classification.score(labels[split.test], predictions, num_classes),
        predictions=predictions,
        probabilities=probabilities,
        seconds=time.perf_counter() - start,
        **fields,
    )
