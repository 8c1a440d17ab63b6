"""The table of the cells that are kept: labels, batches, and the split."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from scmultimodal.data import splits
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality
from scmultimodal.singlecell.inputs import Dataset
from scmultimodal.workflows.prepare_config import PrepareConfig
from scmultimodal.workflows.prepare_shards import Part, Written


def gather_cells(
    datasets: Sequence[Dataset], written: Sequence[tuple[Part, Written]]
) -> tuple[pd.DataFrame, dict[Modality, np.ndarray]]:
    """The cells that were kept, and which modalities they have."""
    tables, present = [], {m: [] for m in written[0][1].depth}
    for dataset in datasets:
        keep = np.concatenate([w.keep for p, w in written if p.dataset == dataset.name])
        table = dataset.obs[keep].copy()
        if len(datasets) > 1:
            table = table.rename(columns={"dataset": "dataset_in_file"})
            table["dataset"] = dataset.name
            table.index = f"{dataset.name}:" + table.index.astype(str)
        tables.append(table)
        for modality, masks in present.items():
            row = dataset.row.get(modality, np.full(len(keep), -1))
            masks.append((row >= 0)[keep])
    obs = pd.concat(tables)
    if len(datasets) > 1:
        names = [dataset.name for dataset in datasets]
        obs["dataset"] = pd.Categorical(obs["dataset"], names)
    return obs, {m: np.concatenate(masks) for m, masks in present.items()}


def check_columns(
    datasets: Sequence[Dataset], config: PrepareConfig, source: str
) -> None:
    """Checks what `annotate` will need, before hours of work.

    Raises:
        InputError: no dataset has a column that is asked for, or there are fewer than
            two cell types.
    """
    wanted = [n for n in (config.batch, config.split_by, config.label) if n is not None]
    if not wanted:
        return
    obs = pd.concat([dataset.obs for dataset in datasets])
    for name in wanted:
        _column(obs, name, source)
    if config.label is not None:
        _labels(obs, config.label, source)


def annotate(
    obs: pd.DataFrame, config: PrepareConfig, source: str
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Adds label, batch and split; says what was left out."""
    obs = obs.copy()
    if config.batch is not None:
        batch = _column(obs, config.batch, source)
        obs["batch"] = batch.map(str, na_action="ignore")
    labels = None
    if config.label is not None:
        labels = obs["label"] = _labels(obs, config.label, source)
    if config.split_by is not None:
        groups = _column(obs, config.split_by, source)
        obs["split"] = splits.grouped_split(
            groups, seed=config.seed, fractions=config.fractions
        )
        if labels is None:
            return obs, {}
        small, left_out = splits.find_small_classes(
            labels, min_cells=config.min_cells_per_class
        )
        obs.loc[small, "split"] = "left_out"
        return obs, left_out
    if labels is None:
        obs["split"] = splits.random_split(
            len(obs), seed=config.seed, fractions=config.fractions
        )
        return obs, {}
    obs["split"], left_out = splits.stratified_split(
        labels,
        seed=config.seed,
        fractions=config.fractions,
        min_cells=config.min_cells_per_class,
    )
    return obs, left_out


def _labels(obs: pd.DataFrame, name: str, source: str) -> pd.Series:
    labels = _column(obs, name, source)
    known = labels.dropna().astype(str)
    if known[known != ""].nunique() < 2:
        raise InputError(
            source,
            f"column {name!r} of obs has {known.nunique()} class"
            f" ({', '.join(known.unique()[:1])})",
            "name a column with at least two cell types by --label",
        )
    return labels


def _column(obs: pd.DataFrame, name: str, source: str) -> pd.Series:
    if name not in obs:
        raise InputError(
            source,
            f"obs has no column {name!r}",
            f"name one of {', '.join(map(str, obs.columns[:12]))}",
        )
    return obs[name]
