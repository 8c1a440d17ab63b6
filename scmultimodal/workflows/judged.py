"""Which examples a run was judged on: two runs that tell the same can be compared."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Integer

from scmultimodal.data import atomic
from scmultimodal.data.element_store import ElementStore
from scmultimodal.data.region_store import RegionStore
from scmultimodal.data.store import Store
from scmultimodal.evaluation import classification
from scmultimodal.training import hosts
from scmultimodal.workflows import provenance

FILE = "judged.json"
BY_TYPE = ("precision", "recall", "f1", "support")


def write(out: Path, parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes `judged.json`: for each part of the data what one of these tells of it.

    One host of many does.
    """
    if hosts.is_main():
        atomic.write_text(out / FILE, json.dumps(parts, indent=1) + "\n")


def cells(store: Store, chosen: Integer[np.ndarray, " cells"]) -> dict[str, Any]:
    """Number and sha256 of cells: of their names and types, in any order."""
    labels = np.array([*store.label_names, ""])[store.labels[chosen]]
    names = store.obs.index[chosen]
    lines = sorted(f"{n}\t{label}" for n, label in zip(names, labels, strict=True))
    return {
        "examples": len(lines),
        "sha256": provenance.digest(np.array(lines)),
        "simulated": bool(store.manifest["provenance"].get("simulated")),
    }


def types(
    store: Store,
    chosen: Integer[np.ndarray, " cells"],
    predictions: Mapping[str, Integer[np.ndarray, " cells"]],
) -> dict[str, Any]:
    """What `cells` tells of the cells, how each model did by type, and its confusions.

    Args:
        store: prepared dataset with labels.
        chosen: the cells.
        predictions: by model, the class of each of them.
    """
    tables = {
        model: classification.class_table(
            store.labels[chosen], predicted, store.label_names
        )
        for model, predicted in predictions.items()
    }
    by_class = {m: t[list(BY_TYPE)].to_dict("index") for m, t in tables.items()}
    names = store.label_names
    confusion = {
        model: classification.confusion_matrix(
            store.labels[chosen], predicted, len(names)
        ).tolist()
        for model, predicted in predictions.items()
    }
    found = {"by_class": by_class, "classes": list(names), "confusion": confusion}
    return cells(store, chosen) | found


def spans(store: RegionStore, rows: Integer[np.ndarray, " spans"]) -> dict[str, Any]:
    """Number and sha256 of spans: of the places and values of their regions."""
    chosen = store.spans.take(rows)
    arrays = (chosen.intervals, chosen.values, chosen.chrom_index, chosen.sample_index)
    names = np.array(store.samples)
    return {"examples": len(rows), "sha256": provenance.digest(names, *arrays)}


def bases(
    store: ElementStore, territories: Integer[np.ndarray, " territories"]
) -> dict[str, Any]:
    """Number and sha256 of bases: of their places and labels."""
    chosen = [store.territories[number] for number in territories]
    places = np.array([f"{t.chrom}:{t.start}-{t.end} {t.known}" for t in chosen])
    sizes = [t.end - t.start for t in chosen]
    labels = (
        store.labels[first : first + size]
        for first, size in zip(store.offsets[territories], sizes, strict=True)
    )
    return {
        "examples": sum(sizes),
        "sha256": provenance.digest(places, *labels),
    }


def windows(token_ids: Int32[np.ndarray, "windows tokens"]) -> dict[str, Any]:
    """Number and sha256 of windows of DNA: of their tokens."""
    return {"examples": len(token_ids), "sha256": provenance.digest(token_ids)}
