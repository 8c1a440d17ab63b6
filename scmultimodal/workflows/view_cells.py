"""The cells of a run for its page: places, fields and marker genes."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tqdm
from jaxtyping import Float32, Int
from scipy import sparse, special

from scmultimodal.data.store import Store
from scmultimodal.evaluation import markers, projection
from scmultimodal.evaluation.view.content import (
    Category,
    CellMap,
    Gene,
    Layout,
    Number,
)
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import MODALITIES, Modality, Regime
from scmultimodal.weights import export
from scmultimodal.workflows import inspection, judge, provenance, view_data
from scmultimodal.workflows.stages import stage

MOST_CELLS, MOST_GENES = 100_000, 200
ROWS_AT_ONCE = 4_096
REGIMES = (Regime.MULTIOME, Regime.RNA, Regime.ATAC)
"""In the order in which a cell is seen: by all that it has."""

Cells = Int[np.ndarray, " cells"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Part:
    """Cells of a store that the page shows."""

    store: Store
    cells: Cells

    def positions(self, regime: Regime) -> Int[np.ndarray, " some"]:
        """Which of the cells have all modalities of a regime."""
        present = [self.store.present(m)[self.cells] for m in regime.modalities]
        return np.flatnonzero(np.logical_and.reduce(present))


def of_run(path: Path, config: Mapping[str, Any]) -> CellMap:
    """The map of a run's cells, computed from its model and its prepared data.

    Args:
        path: the run folder.
        config: its settings.

    Raises:
        InputError: the data or the model are not there, or damaged.
    """
    store = Store.open(view_data.find([path / "data", _address(config)]))
    model = export.load(path)
    if not np.array_equal(model.vocabulary.gene_ids, store.vocabulary.gene_ids):
        problem = "has other genes than the model of the run"
        raise InputError(store.path, problem, "Put the run's own data back")
    part = _Part(store=store, cells=_cells(store, model))
    layouts = [_layout(part, model, _name(model))]
    if (path / "pretrain" / "model").is_dir():
        before = export.load(path / "pretrain")
        layouts.append(_layout(part, before, "pre-trained vectors"))
    with stage("predict"):
        fields = _fields(part, _classifiers(path, model))
    with stage("marker genes") as found:
        genes, chosen = _genes(part)
        found.append(f"{len(genes)} genes")
    left = store.num_cells - len(part.cells)
    return CellMap(
        cell_ids=[str(name) for name in store.obs.index[part.cells]],
        layouts=layouts,
        fields=fields,
        genes=genes,
        unit=_unit(store),
        chosen=chosen,
        note=f"{left:,} more in the data" if left else "",
    )


def _address(config: Mapping[str, Any]) -> str | None:
    """Where the cells that a run was given were."""
    data = config.get("data")  # Of a study its settings, of a command the name.
    if isinstance(data, Mapping):
        return data.get("dataset")
    return config.get(provenance.ADDRESS)


def _cells(store: Store, model: export.StoredModel) -> Cells:
    """The cells that the model can see, in order; a sample where they are many."""
    seen = [store.present(m) for m in map(Modality, model.config.modalities)]
    cells = np.flatnonzero(np.logical_or.reduce(seen))
    if len(cells) > MOST_CELLS:
        chosen = np.random.default_rng(0).choice(cells, MOST_CELLS, replace=False)
        cells = np.sort(chosen)
    return cells


def _name(model: export.StoredModel) -> str:
    """What the vectors of a run's own model are called."""
    return "model's vectors" if model.config.head is None else "fine-tuned vectors"


def _layout(part: _Part, model: export.StoredModel, name: str) -> Layout:
    """The places of the cells by the vectors of a model."""
    with stage("embed") as found:
        vectors = _vectors(part, model)
        found.append(f"{len(part.cells):,} cells, {name}")
    with stage("lay out") as found:
        places, how = projection.lay_out(vectors)
        found.append(how)
    return Layout(name=name, how=how, places=places)


def _vectors(
    part: _Part, model: export.StoredModel
) -> Float32[np.ndarray, "cells dim"]:
    """Vectors of the cells, each seen by all that it and the model have."""
    vectors = np.zeros((len(part.cells), 0), np.float32)
    known = set(map(Modality, model.config.modalities))
    left = np.ones(len(part.cells), bool)
    for regime in REGIMES:
        if not known.issuperset(regime.modalities):
            continue
        some = part.positions(regime)
        some = some[left[some]]
        left[some] = False
        if not len(some):
            continue
        found = judge.embed(part.store, model, regime, part.cells[some])
        if not vectors.shape[1]:
            vectors = np.zeros((len(part.cells), found.shape[1]), np.float32)
        vectors[some] = found
    return vectors


def _classifiers(
    path: Path, model: export.StoredModel
) -> dict[Regime, export.StoredModel]:
    """The classifiers of a run, the one for all modalities first."""
    found = {
        regime: export.load(path / "finetune" / regime)
        for regime in REGIMES
        if (path / "finetune" / regime / "model").is_dir()
    }
    if not found and model.config.head is not None:
        modalities = tuple(map(Modality, model.config.modalities))
        regime = Regime.MULTIOME if len(modalities) == 2 else Regime(modalities[0])
        return {regime: model}
    return found


def _fields(
    part: _Part, classifiers: Mapping[Regime, export.StoredModel]
) -> list[Category | Number]:
    """What cells can be coloured by, types first."""
    store, cells = part.store, part.cells
    words = [
        *store.label_names,
        *(c for m in classifiers.values() for c in m.config.classes),
    ]
    classes = tuple(dict.fromkeys(words))
    labels = store.labels[cells]
    fields: list[Category | Number] = []
    if store.label_names:
        fields.append(Category(name="type", classes=classes, codes=labels, named=True))
    for regime, model in classifiers.items():
        fields += _predicted(part, model, regime, classes, labels)
    fields += [
        Category(name=name, **_words(store.obs[name].iloc[cells]))
        for name in ("batch", "dataset", "split")
        if name in store.obs
    ]
    fields.append(_modalities(part))
    fields += [
        Number(
            name=f"genes with {modality.upper()}",
            values=store.nonzeros_per_cell(modality)[cells].astype(np.float32),
        )
        for modality in store.modalities
    ]
    return fields


def _predicted(
    part: _Part,
    model: export.StoredModel,
    regime: Regime,
    classes: tuple[str, ...],
    labels: Int[np.ndarray, " cells"],
) -> list[Category | Number]:
    """What a classifier calls the cells with its modalities, and how sure it is."""
    confidence = f"confidence, {regime}"
    some = part.positions(regime)
    codes = np.full(len(part.cells), -1)
    sure = np.full(len(part.cells), np.nan, np.float32)
    if len(some):
        logits = judge.predict(part.store, model, regime, part.cells[some])
        place_of = np.array([classes.index(name) for name in model.config.classes])
        codes[some] = place_of[logits.argmax(1)]
        sure[some] = special.softmax(logits, axis=1).max(1)
    found: list[Category | Number] = [
        Category(
            name=f"predicted type, {regime}",
            classes=classes,
            codes=codes,
            named=True,
            sure=confidence,
        )
    ]
    if part.store.label_names:
        right = np.where((codes < 0) | (labels < 0), -1, codes != labels)
        name = f"right or wrong, {regime}"
        found.append(
            Category(name=name, classes=("right", "wrong"), codes=right, told=False)
        )
    found.append(Number(name=confidence, values=sure, ends=(0.0, 1.0), told=False))
    return found


def _words(column: Any) -> dict[str, Any]:
    """Classes and codes of a column of obs; a value that is missing has none."""
    kinds = column.astype("category").cat.remove_unused_categories().cat
    return {
        "classes": list(map(str, kinds.categories)),
        "codes": kinds.codes.to_numpy(int),
    }


def _modalities(part: _Part) -> Category:
    has = [part.store.present(m)[part.cells] for m in MODALITIES]
    codes = np.where(has[0] & has[1], 2, np.where(has[0], 0, np.where(has[1], 1, -1)))
    return Category(name="modality", classes=("RNA", "ATAC", "RNA + ATAC"), codes=codes)


def _genes(part: _Part) -> tuple[list[Gene], str]:
    """Marker genes by RNA, or by ATAC where there is none, and how they were chosen."""
    store = part.store
    source = next((m for m in MODALITIES if m in store.modalities), Modality.RNA)
    training = np.zeros(store.num_cells, bool)
    training[part.cells] = inspection.training_cells(store)[part.cells]
    training &= store.present(source)
    labels = store.labels
    has_types = len(store.label_names) > 1
    if has_types:
        training &= labels >= 0
    classes = labels if has_types else np.zeros(store.num_cells, np.int32)
    blocks = (
        (values, classes[cells])
        for cells, values in _blocks(store, source, np.flatnonzero(training), "markers")
    )
    moments = markers.moments(
        blocks, max(1, len(store.label_names) * has_types), store.num_genes
    )
    chosen = markers.choose(moments, MOST_GENES)
    columns = [marker.gene for marker in chosen]
    levels = {str(m): _levels(part, m, columns) for m in store.modalities}
    genes = [
        Gene(
            symbol=str(store.vocabulary.symbols[marker.gene]),
            gene_id=str(store.vocabulary.gene_ids[marker.gene]),
            speaks_for=store.label_names[marker.type] if marker.type >= 0 else "",
            levels={m: found[:, place] for m, found in levels.items()},
        )
        for place, marker in enumerate(chosen)
    ]
    how = (
        f"{source.upper()} of each type against all others (Welch's t)"
        if has_types
        else f"{source.upper()} that differs most among the cells"
    )
    return genes, f"{how}, of {int(training.sum()):,} training cells."


def _levels(
    part: _Part, modality: Modality, columns: list[int]
) -> Float32[np.ndarray, "cells genes"]:
    """log1p values of some genes; 0 for cells without the modality."""
    levels = np.zeros((len(part.cells), len(columns)), np.float32)
    position = np.full(part.store.num_cells, -1)
    position[part.cells] = np.arange(len(part.cells))
    present = part.cells[part.store.present(modality)[part.cells]]
    for cells, values in _blocks(part.store, modality, present, f"genes, {modality}"):
        levels[position[cells]] = values[:, columns].toarray()
    return levels


def _blocks(
    store: Store, modality: Modality, cells: Cells, describe: str
) -> Iterator[tuple[Cells, sparse.csr_matrix]]:
    """Cells and their log1p values, some thousand at a time."""
    starts = range(0, len(cells), ROWS_AT_ONCE)
    for start in tqdm.tqdm(starts, describe, delay=2, leave=False, disable=None):
        some = cells[start : start + ROWS_AT_ONCE]
        counts = store.rows(modality, some, "counts")
        yield some, inspection.log_values(store, modality, counts)


def _unit(store: Store) -> str:
    totals = {m: store.vocabulary.recipe["totals"].get(m) for m in store.modalities}
    words = [f"{t:,.0f} ({m.upper()})" for m, t in totals.items() if t]
    scaled = f", scaled to {' or '.join(words)} in each cell" if words else ""
    return f"log1p of counts{scaled}"
