"""Scores of spans by models that saw nothing of their region."""

import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Float, Integer

from experiments.genome_model import data, variants
from experiments.genome_model.data import Loaded
from scmultimodal.data import atomic
from scmultimodal.data.region_store import RegionStore
from scmultimodal.evaluation import ranking as evaluation
from scmultimodal.modules.heads.accessibility import ScorerName
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights.genome_model import StoredGenomeModel
from scmultimodal.workflows import ranking
from scmultimodal.workflows.ranking_config import (
    EncoderTraining,
    RankingConfig,
    SignalConfig,
)
from scmultimodal.workflows.stages import stage

Scores = Float[np.ndarray, "spans 3"]


class Grid(Protocol):
    """The fields of a study that are read here."""

    out: Path
    heads: Sequence[ScorerName]
    encoders: Sequence[EncoderTraining]
    folds: int
    only_folds: Sequence[int]
    seeds: Sequence[int]
    signal: SignalConfig
    ranking: RankingConfig


def scores(
    study: Grid, loaded: Loaded, start: StoredGenomeModel | None
) -> dict[str, dict[str, Scores]]:
    """{kind of spans: {ranker: scores}}, those without a network included.

    What was scored before is read again: a run goes on where it stopped.

    Raises:
        InputError: fewer than two folds, or more than there are regions.
    """
    fold_of = deal(loaded.spans, study.folds)
    found: dict[str, dict[str, Scores]] = {kind: {} for kind in loaded.spans}
    for fold in study.only_folds or range(study.folds):
        regions = np.flatnonzero(fold_of == fold)
        for kind, spans in loaded.spans.items():
            shown, held_out = _parts(spans, regions)
            parts = data.baselines(spans, fit_on=shown, score_on=held_out)
            _fill(found[kind], parts, held_out, spans)
        for seed in study.seeds:
            folder = study.out / f"fold_{fold}" / f"seed_{seed}"
            encoders = _encoders(study, loaded, start, regions, folder, seed)
            for kind, spans in loaded.spans.items():
                parts = _by_heads(study, spans, encoders, regions, folder / kind, seed)
                _fill(found[kind], parts, _parts(spans, regions)[1], spans)
    return found


def deal(
    spans: Mapping[str, RegionStore], folds: int
) -> Integer[np.ndarray, " regions"]:
    """The fold of every region (or chromosome): shuffled, and dealt in turn."""
    number = 1 + max(int(store.group.max()) for store in spans.values())
    present = np.unique(np.concatenate([store.group for store in spans.values()]))
    if not 2 <= folds <= len(present):
        raise InputError(
            "--folds", f"is {folds}", f"Give 2 to {len(present)}, one a region at most"
        )
    fold_of = np.full(number, -1)  # A region without a span is in no fold.
    fold_of[present] = np.random.default_rng(0).permutation(len(present)) % folds
    return fold_of


def _parts(
    spans: RegionStore, regions: Integer[np.ndarray, " regions"]
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the spans that are shown, and of those in the regions held out."""
    out = np.isin(spans.group, regions)
    return np.flatnonzero(~out), np.flatnonzero(out)


def _encoders(
    study: Grid,
    loaded: Loaded,
    start: StoredGenomeModel | None,
    regions: Integer[np.ndarray, " regions"],
    folder: Path,
    seed: int,
) -> dict[EncoderTraining, StoredGenomeModel | None]:
    """What the heads start from: a frozen encoder has seen no accessibility at all."""
    encoders: dict[EncoderTraining, StoredGenomeModel | None] = dict.fromkeys(
        study.encoders, start
    )
    if "trained" in encoders and loaded.signal is not None:
        shown, held_out = _parts(loaded.signal, regions)
        with stage(f"{folder.parent.name}: signal"):
            encoders["trained"] = ranking.run(
                loaded.signal,
                study.signal.ranking(
                    variants.with_head(study.ranking, "linear", seed=seed)
                ),
                folder / "signal",
                start=start,
                train=shown,
                validation=held_out[::16],
                describe="train on signal",
            )
    return encoders


def _by_heads(
    study: Grid,
    spans: RegionStore,
    encoders: Mapping[EncoderTraining, StoredGenomeModel | None],
    regions: Integer[np.ndarray, " regions"],
    folder: Path,
    seed: int,
) -> dict[str, Scores]:
    found = {}
    shown, held_out = _parts(spans, regions)
    for head, (training, encoder) in itertools.product(study.heads, encoders.items()):
        name = variants.name_of(head, training, seed, study.seeds)
        config = variants.with_head(study.ranking, head, training, seed)
        with stage(f"{folder.parent.parent.name}, {folder.name}: {name}") as said:
            found[name] = _train(
                config, spans, encoder, shown, held_out, folder / f"{head}_{training}"
            )
            share = evaluation.full_order_accuracy(found[name], spans.values[held_out])
            said.append(f"{share:.3f} of {len(held_out):,} spans in order")
    return found


def _train(
    config: RankingConfig,
    spans: RegionStore,
    encoder: StoredGenomeModel | None,
    shown: Integer[np.ndarray, " shown"],
    held_out: Integer[np.ndarray, " held"],
    out: Path,
) -> Float[np.ndarray, "held 3"]:
    kept = out / "scores.npy"
    if kept.is_file():
        return np.load(kept, allow_pickle=False)
    # No model is chosen by the fold that judges it: nothing is validated.
    model = ranking.run(
        spans, config, out, start=encoder, train=shown, validation=held_out[:0]
    )
    builder = ranking.make_builder(spans, config, model)
    found = ranking.scores(model, builder, held_out)
    buffer = io.BytesIO()
    np.save(buffer, found, allow_pickle=False)
    atomic.write_bytes(kept, buffer.getvalue())
    return found


def _fill(
    found: dict[str, Scores],
    parts: Mapping[str, np.ndarray],
    rows: Integer[np.ndarray, " held"],
    spans: RegionStore,
) -> None:
    for name, values in parts.items():
        found.setdefault(name, np.zeros(spans.values.shape, np.float32))
        found[name][rows] = values
