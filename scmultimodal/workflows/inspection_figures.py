"""The study's two diagnostic pictures of prepared data: its Fig. B.4 and B.5."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tqdm
from jaxtyping import Float64, Int64

from scmultimodal.data.store import Store
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell.binning import Strategy
from scmultimodal.workflows import inspection, prepare_shards

SAMPLE = 2_000
"""Training cells that ways of binning are compared on."""
ROWS_AT_ONCE = 256
STRATEGIES: tuple[Strategy, ...] = ("absolute", "quantile", "gene_normalized")
EDGES = np.linspace(0, 15, 151)
"""Of classes of log1p values; 15 is log1p of three million."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Binnings:
    """The values of some cells, binned in each way.

    Attributes:
        cells: how many cells.
        edges: of classes of values before binning, log1p.
        counts: by strategy, how many values of each class are in bins 1, 2, ….
    """

    cells: int
    edges: Float64[np.ndarray, " edges"]
    counts: Mapping[str, Int64[np.ndarray, "classes bins"]]


def check_figures() -> None:
    """Raises InputError where nothing can be drawn, before work is done for it."""
    from scmultimodal.evaluation import figures  # noqa: F401


def draw(store: Store, found: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draws the distances of peaks by dataset and the bins by modality.

    Args:
        store: the prepared dataset.
        found: its facts. Datasets that were prepared before links were counted have
            no picture of them.
        folder: for the PNG files.

    Returns:
        The files.
    """
    from scmultimodal.evaluation.figures import binning, links

    folder.mkdir(parents=True, exist_ok=True)
    note = "simulated data" if found["simulated"] else ""
    drawn = []
    for name, facts in found["datasets"].items():
        if "links" in facts:
            path = folder / f"links_{name.replace('/', '_')}.png"
            anchor = facts["peak_aggregation"]["anchor"]
            drawn.append(
                links.link_counts(
                    facts["links"], path, anchor=anchor, name=name, note=note
                )
            )
    for modality in store.modalities:
        compared = compare_binnings(store, modality)
        if compared.cells:
            drawn.append(
                binning.strategies(
                    compared.edges,
                    compared.counts,
                    folder / f"binning_{modality}.png",
                    name=f"{modality.upper()} of {compared.cells:,} training cells",
                    note=note,
                )
            )
    return drawn


def compare_binnings(
    store: Store, modality: Modality, *, most_cells: int = SAMPLE, seed: int = 0
) -> Binnings:
    """Bins the stored counts of a sample of training cells anew, in each way.

    Args:
        store: the prepared dataset.
        modality: which counts.
        most_cells: size of the sample.
        seed: of the sample.
    """
    vocabulary = store.vocabulary
    fitted = {
        strategy: dataclasses.replace(
            vocabulary, recipe={**vocabulary.recipe, "strategy": strategy}
        )
        for strategy in STRATEGIES
    }
    cells = _sample(store, modality, most_cells, seed)
    shape = (len(EDGES) - 1, vocabulary.recipe["num_bins"])
    counts = {strategy: np.zeros(shape, np.int64) for strategy in STRATEGIES}
    starts = range(0, len(cells), ROWS_AT_ONCE)
    for start in tqdm.tqdm(
        starts, f"ways to bin {modality}", delay=1, leave=False, disable=None
    ):
        some = store.rows(modality, cells[start : start + ROWS_AT_ONCE], "counts")
        values = inspection.log_values(store, modality, some).data
        place = np.searchsorted(EDGES, values, side="right") - 1
        place = np.minimum(place, shape[0] - 1) * shape[1]
        for strategy, found in counts.items():
            bins = prepare_shards.bin_counts(fitted[strategy], modality, some).data
            both = np.bincount(place + bins - 1, minlength=found.size)
            found += both.reshape(shape)
    return Binnings(cells=len(cells), edges=EDGES, counts=counts)


def _sample(
    store: Store, modality: Modality, most_cells: int, seed: int
) -> Int64[np.ndarray, " chosen"]:
    training = inspection.training_cells(store) & store.present(modality)
    cells = np.flatnonzero(training)
    size = min(most_cells, len(cells))
    return np.sort(np.random.default_rng(seed).choice(cells, size, replace=False))
