"""The page of a cell-type run: pictures, tables, and what was run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scmultimodal.data.store import Store
from scmultimodal.evaluation import classification, figures, projection, report
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.training.metrics import read_metrics
from scmultimodal.weights import export
from scmultimodal.workflows import judge, provenance
from scmultimodal.workflows.judge import Judgement

OURS, BASELINE = "scmultimodal", "logistic_regression"
SIMPLE = (BASELINE, "naive_bayes")


def write(
    out: Path,
    store: Store,
    *,
    judgements: Mapping[Regime, Judgement],
    models: Mapping[str, export.StoredModel],
    shown: Regime,
    summary: Mapping[str, Any],
) -> Path:
    """Draws the pictures and writes `report/index.html`.

    Args:
        out: the run folder; metrics and what was run are read from it.
        store: the prepared dataset.
        judgements: what each regime came to.
        models: whose embeddings to show, by a word for each.
        shown: the regime they are shown in.
        summary: content of `summary.json`.

    Returns:
        The path of the page.
    """
    folder = out / "report"
    folder.mkdir(exist_ok=True)
    note = "simulated data" if summary["simulated"] else ""
    results = [r for j in judgements.values() for r in j.results]
    drawn = figures.results_bars(results, folder / "results.png", note=note)
    sections = [
        report.Section(
            title="Results",
            text="Test cells, opened once. Rows of simple baselines are shaded; all "
            "models see the same training cells, and choices were made on validation.",
            tables=[report.results_table(results)],
            figures=[report.Picture(path=drawn, caption="The same as figures.")],
        ),
        _umaps(folder, store, judgements[shown], models, shown, note),
        *(_confusions(folder, store, r, j, note) for r, j in judgements.items()),
        _curves(folder, out, note),
        _data(folder, store, summary, note),
    ]
    ran = provenance.of_folder(out)
    return report.write_report(
        folder,
        title=f"Cell types of {summary['dataset']}",
        summary={
            "command": ran["command"],
            "began": ran["started"],
            "revision": ran["revision"] or "unknown",
            "scmultimodal": ran["scmultimodal"],
            **ran["environment"],
            "packages": ran["versions"],
            "seed": summary["seed"],
            "cells": summary["split"],
            "left out": summary["left_out"] or "none",
        },
        sections=sections,
        facts={**ran, **summary},
        banner="Simulated data: nothing on this page is biology." if note else "",
    )


def _umaps(
    folder: Path,
    store: Store,
    judgement: Judgement,
    models: Mapping[str, export.StoredModel],
    regime: Regime,
    note: str,
) -> report.Section:
    types = np.array(store.label_names)[judgement.labels]
    pictures = []
    for word, model in models.items():
        vectors = judge.embed(store, model, regime, judgement.cells)
        places = projection.umap(vectors)
        name = word.replace("-", "_")
        path = folder / f"umap_{name}.png"
        title = f"Test cells, {word} embedding ({regime})"
        figures.umap_scatter(places, types, path, title, note=note)
        pictures.append(report.Picture(path=path, caption=f"{title}, by cell type."))
        if "batch" in store.obs:
            batches = store.obs["batch"].to_numpy(str)[judgement.cells]
            path = folder / f"umap_{name}_batch.png"
            figures.umap_scatter(places, batches, path, title, label=False, note=note)
            pictures.append(report.Picture(path=path, caption=f"{title}, by batch."))
    text = (
        "A cell's vector is the mean of the encoder's output over its non-zero genes."
    )
    return report.Section(title="Embeddings", text=text, figures=pictures)


def _confusions(
    folder: Path, store: Store, regime: Regime, judgement: Judgement, note: str
) -> report.Section:
    names = store.label_names
    matrices = {
        model: classification.confusion_matrix(
            judgement.labels, judgement.predictions[model], len(names)
        )
        for model in (OURS, BASELINE)
    }
    ours = matrices[OURS]
    shares = ours / np.maximum(ours.sum(1, keepdims=True), 1)
    order = classification.confusion_order(shares).tolist()
    pictures = []
    for model, matrix in matrices.items():
        path = folder / f"confusion_{regime}_{model}.png"
        title = f"{model}, {regime}"
        figures.confusion(matrix, names, path, title, order=order, note=note)
        caption = f"{title}: share of each true type (row) called each type (column)."
        pictures.append(report.Picture(path=path, caption=caption))
    path = figures.calibration_curves(
        {name: judgement.probabilities[name] for name in (OURS, *SIMPLE)},
        judgement.labels,
        folder / f"calibration_{regime}.png",
        title=f"calibration, {regime}",
        note=note,
    )
    caption = (
        "Left: how often a call is right by how sure it was; on the line both are the "
        "same. Right: accuracy where the least sure cells are left unassigned."
    )
    pictures.append(report.Picture(path=path, caption=caption))
    table = classification.class_table(
        judgement.labels, judgement.predictions[OURS], names
    )
    return report.Section(
        title=f"Types from {regime}",
        text="Validation chose: "
        + "; ".join(f"{model}: {what}" for model, what in judgement.notes.items())
        + ".",
        tables=[report.Table(frame=table, caption=f"{OURS} by type.")],
        figures=pictures,
    )


def _curves(folder: Path, out: Path, note: str) -> report.Section:
    pictures = []
    pretraining = out / "pretrain" / "metrics.jsonl"
    if pretraining.exists():
        path = figures.learning_curves(
            {"pre-training": read_metrics(pretraining)},
            folder / "curves_pretraining.png",
            metrics=("loss", "rna_accuracy", "atac_accuracy"),
            note=note,
        )
        caption = "Masked-bin loss, and share of masked bins that are right."
        pictures.append(report.Picture(path=path, caption=caption))
    runs = {
        f"{kind.name.replace('_', ' ')}, {regime.parent.name}": read_metrics(regime)
        for kind in (out / "finetune", out / "from_scratch")
        for regime in sorted(kind.glob("*/metrics.jsonl"))
    }
    path = figures.learning_curves(runs, folder / "curves_finetuning.png", note=note)
    caption = "Fine-tuning; the epoch that is best on validation is kept."
    pictures.append(report.Picture(path=path, caption=caption))
    return report.Section(title="Learning curves", figures=pictures)


def peak_aggregation(store: Store) -> dict[str, Any] | None:
    """What became of the peaks of a store's first dataset that has some."""
    for facts in store.manifest["report"]["datasets"].values():
        if "peak_aggregation" in facts:
            return facts["peak_aggregation"]
    return None


def _data(
    folder: Path, store: Store, summary: Mapping[str, Any], note: str
) -> report.Section:
    found, pictures = peak_aggregation(store), []
    cells = store.split("train")
    counts = {
        str(m): np.bincount(
            store.rows(m, cells).data, minlength=store.vocabulary.recipe["num_bins"] + 1
        )[1:]
        for m in Modality
        if m in store.modalities
    }
    path = figures.bin_histogram(counts, folder / "bins.png", note=note)
    pictures.append(report.Picture(path=path, caption="Bins of the training cells."))
    if found is not None:
        path = figures.band_coverage(found, folder / "bands.png", note=note)
        caption = "What becomes of peaks and fragments at gene level."
        pictures.append(report.Picture(path=path, caption=caption))
    rows = {
        "cells": store.num_cells,
        "genes": store.num_genes,
        **{f"{s} cells": n for s, n in summary["split"].items()},
        **{f"left out: {n}": c for n, c in summary["left_out"].items()},
    }
    facts = pd.DataFrame({"count": rows}).rename_axis("what")
    tables = [report.Table(frame=facts)]
    if found is not None:
        caption = "What preprocessing found."
        tables.append(report.Table(frame=_flat(found), caption=caption))
    return report.Section(title="Data", tables=tables, figures=pictures)


def _flat(found: Mapping[str, Any]) -> pd.DataFrame:
    """Nested facts as rows "outer.inner"."""
    facts = pd.json_normalize(dict(found)).iloc[0]
    shown = {name: str(value) for name, value in facts.items()}
    return pd.DataFrame({"value": shown}).rename_axis("what")
