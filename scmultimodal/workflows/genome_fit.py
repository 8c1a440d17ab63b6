"""Trainings of the genome model on prepared data: one call, one run folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scmultimodal.data.element_store import ElementStore
from scmultimodal.data.region_store import RegionStore
from scmultimodal.schemas import configs
from scmultimodal.weights.genome_model import StoredGenomeModel
from scmultimodal.workflows import provenance, ranking, segmentation
from scmultimodal.workflows.ranking_config import RankingConfig
from scmultimodal.workflows.segmentation_config import SegmentationTrainingConfig


def fit_ranking(
    spans: Path,
    config: RankingConfig,
    out: Path,
    *,
    start: StoredGenomeModel | None = None,
) -> StoredGenomeModel:
    """Trains on spans that `prepare-ranking` wrote; see `ranking.run`.

    Raises:
        InputError: there are none, or `out` holds another run.
    """
    store = RegionStore.open(spans)
    _begin(out, {"spans": spans}, store, config, start)
    return ranking.run(store, config, out, start=start)


def fit_segmentation(
    elements: Path,
    config: SegmentationTrainingConfig,
    out: Path,
    *,
    start: StoredGenomeModel | None = None,
) -> StoredGenomeModel:
    """Trains on labels that `prepare-segmentation` wrote; see `segmentation.run`.

    Raises:
        InputError: there are none, or `out` holds another run.
    """
    store = ElementStore.open(elements)
    _begin(out, {"elements": elements}, store, config, start)
    return segmentation.run(store, config, out, start=start)


def _begin(
    out: Path,
    data: Mapping[str, Path],
    store: RegionStore | ElementStore,
    config: RankingConfig | SegmentationTrainingConfig,
    start: StoredGenomeModel | None,
) -> None:
    """Keeps what the run depends on, or finds that it is the run in the folder."""
    written: dict[str, Any] = {
        **data,
        **provenance.of_start(start),
        "data_files": store.manifest["files"],
        "training": configs.to_json(config),
    }
    provenance.check_config(out, written, resume=config.resume == "auto")
    provenance.write_config(out, written)
