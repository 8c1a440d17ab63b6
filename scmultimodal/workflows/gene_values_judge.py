"""Values of genes told from open peaks, beside what is simple, on the same cells."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int64
from scipy import sparse

from scmultimodal.data.loading import BatchBuilder
from scmultimodal.data.sources import StoreSource
from scmultimodal.data.store import Store
from scmultimodal.evaluation import gene_values, naive_bayes, text_table
from scmultimodal.evaluation.gene_values import Line, ValueScores
from scmultimodal.schemas.modality import Regime
from scmultimodal.weights import export
from scmultimodal.workflows import expression, inference, trained
from scmultimodal.workflows.gene_values import cells_of

PARTS = ("validation", "test")
MEAN, DEPTH, TYPE = "gene_mean", "gene_mean_and_depth", "type_mean_and_depth"
RIVALS = (MEAN, DEPTH, TYPE)
"""The gene's mean; it, and a line in the cell's open peaks; both, and what the type
adds that naive Bayes on peaks gives the cell."""

Told = dict[str, np.ndarray]
"""float32 [cells, genes], by part of the cells."""


def run(
    store: Store, builder: BatchBuilder, models: Mapping[str, export.StoredModel]
) -> dict[str, dict[str, ValueScores]]:
    """Scores models and rivals on validation and test cells, by part and name.

    Args:
        store: prepared dataset.
        builder: of the training: it knows the values, and how many peaks are shown.
        models: fine-tuned to tell values.
    """
    assert builder.values is not None, "the builder tells values"
    cells = {part: cells_of(store, part) for part in ("train", *PARTS)}
    measured = {part: builder.values.rows(rows) for part, rows in cells.items()}
    lengths = builder.lengths(Regime.ATAC)
    told = {name: _told(store, model, cells) for name, model in models.items()}
    told |= _simple(store, lengths, cells, measured)
    return {
        part: {
            name: gene_values.score(of[part], measured[part])
            for name, of in told.items()
        }
        for part in PARTS
    }


def format_table(scores: Mapping[str, ValueScores]) -> str:
    """Scores of one part for a terminal; the best of a column carries a star."""
    fields = {"mse": min, "gene_pearson": max}
    best = {
        name: choose(round(getattr(one, name), 4) for one in scores.values())
        for name, choose in fields.items()
    }
    rows = [["model", "mse", "gene pearson"]]
    for model, one in scores.items():
        values = {name: round(getattr(one, name), 4) for name in fields}
        stars = {name: "*" if values[name] == best[name] else " " for name in fields}
        rows.append([model, *(f"{values[n]:.4f}{stars[n]}" for n in fields)])
    return text_table.aligned(rows, ruled=True)


def as_json(scores: Mapping[str, Mapping[str, ValueScores]]) -> dict[str, Any]:
    """The same for `summary.json`; null where nothing could be judged."""
    return {
        part: [
            {"model": name}
            | {
                field: value if np.isfinite(value) else None
                for field, value in dataclasses.asdict(one).items()
            }
            for name, one in of.items()
        ]
        for part, of in scores.items()
    }


def _told(
    store: Store,
    model: export.StoredModel,
    cells: Mapping[str, np.ndarray],
) -> Told:
    builder = trained.builder_for(StoreSource(store), model.config)
    function = expression.function(model)
    return {
        part: inference.over_cells(function, builder, cells[part], Regime.ATAC)
        for part in PARTS
    }


def _simple(
    store: Store,
    lengths: Int64[np.ndarray, " cells"],
    cells: Mapping[str, np.ndarray],
    measured: Mapping[str, sparse.csr_matrix],
) -> dict[str, Told]:
    """What is said without a network."""
    own, train = measured["train"], cells["train"]
    lines = {
        name: Line.fit(own, lengths[train], with_depth=name == DEPTH)
        for name in (MEAN, DEPTH)
    }
    found = {
        name: {part: line.predict(lengths[cells[part]]) for part in PARTS}
        for name, line in lines.items()
    }
    if (store.labels[train] >= 0).any():
        found[TYPE] = _by_type(store, lines[DEPTH], lengths, cells, measured)
    return found


def _by_type(
    store: Store,
    line: Line,
    lengths: Int64[np.ndarray, " cells"],
    cells: Mapping[str, np.ndarray],
    measured: Mapping[str, sparse.csr_matrix],
) -> Told:
    """The line, and means of types; how much these are believed, validation says."""
    train, size = cells["train"], len(store.label_names)
    labels, opened = store.labels[train], store.peak_matrix()
    model = naive_bayes.fit_em(opened.rows(train, "counts"), labels, size)
    chances = {
        part: model.predict(opened.rows(cells[part], "counts")).astype(np.float32)
        for part in PARTS
    }
    begun = {part: line.predict(lengths[cells[part]]) for part in PARTS}
    left = measured["train"].copy()
    of = np.repeat(np.arange(len(train)), np.diff(left.indptr))
    left.data = left.data - (
        line.offset[left.indices]
        + np.float32(line.depth_scale) * np.log1p(lengths[train])[of]
    )

    def told(part: str, pseudo_cells: float) -> np.ndarray:
        shifts = gene_values.type_shifts(left, labels, size, pseudo_cells)
        return begun[part] + chances[part] @ shifts

    def error(pseudo_cells: float) -> float:
        said = told("validation", pseudo_cells)
        return gene_values.score(said, measured["validation"]).mse

    best = min(gene_values.PSEUDO_CELLS, key=error)
    return {part: told(part, best) for part in PARTS}
