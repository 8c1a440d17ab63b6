"""Four heads, encoder trained and frozen, cross-validated (the study's Fig. 3.3).

    python -m experiments.train genome_model.ranking_grid --out runs/grid

The regions are dealt into folds; every span is judged by models that saw nothing of
its region. In each fold the encoder is first trained on the signal of windows at random
places (`--signal.steps 0` goes without, `--start` takes an encoder), then once more
with each head. Intervals resample regions. The run goes on where it stopped.

Expected with `small` on DNase over 65 regions: see README.
"""

import dataclasses
import io
import itertools
import json
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from jaxtyping import Float, Integer

from experiments.genome_model import data, stages
from experiments.genome_model.data import RIDGE, DataConfig, Loaded
from scmultimodal.data import atomic
from scmultimodal.data.region_store import RegionStore
from scmultimodal.evaluation import ranking as evaluation
from scmultimodal.evaluation import ranking_summary
from scmultimodal.evaluation.ranking_summary import RankerResult
from scmultimodal.modules.heads.accessibility import ScorerName
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights.genome_model import StoredGenomeModel
from scmultimodal.workflows import genome_presets, provenance, ranking
from scmultimodal.workflows.presets import PresetName
from scmultimodal.workflows.ranking_config import (
    EncoderTraining,
    RankingConfig,
    SignalConfig,
)
from scmultimodal.workflows.stages import stage

Scores = Float[np.ndarray, "spans 3"]

LINES = ("length", "gc", "cpg", RIDGE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """All numbers of a grid."""

    out: Path
    """Run folder."""
    preset: PresetName = "small"
    """Whose numbers to start from."""
    heads: tuple[ScorerName, ...] = ("linear", "transformer", "unet", "convolutional")
    """Scorers."""
    encoders: tuple[EncoderTraining, ...] = ("trained", "frozen")
    """What becomes of the encoder."""
    folds: int = 5
    """Parts that the regions (or chromosomes) are dealt into."""
    seeds: tuple[int, ...] = (0,)
    """Of heads and batches; every one is a run of its own. Folds are the same."""
    start: Path | None = None
    """Encoder to start from; it must have seen no label of any fold."""
    data: DataConfig
    """Which spans."""
    signal: SignalConfig
    """Training on windows at random places, before."""
    ranking: Annotated[RankingConfig, tyro.conf.arg(name="")]
    """Training by ranking."""
    debug: bool = False
    """Show a traceback with an error."""


def default(preset: PresetName) -> Study:
    """The numbers of a preset; `out` is left to the command line."""
    numbers = genome_presets.GENOME_PRESETS[preset]
    return Study(
        out=tyro.MISSING,
        preset=preset,
        data=DataConfig(),
        signal=numbers.signal,
        ranking=numbers.ranking,
    )


def run(study: Study) -> None:
    """Trains whatever is not trained yet, judges, draws and prints the table."""
    from scmultimodal.evaluation.figures import ranking as figures

    config = configs.to_json(study)
    provenance.check_config(study.out, config, resume=True)
    start = data.load_start(study.start)
    loaded = data.load(
        study.data, study.out / "data", with_signal=study.signal.steps > 0
    )
    provenance.write_config(study.out, config)
    rankers = _out_of_fold(study, loaded, start)
    results = ranking_summary.judge(
        rankers, loaded.spans.values, loaded.spans.group, over=("gc", RIDGE)
    )
    by_name = {result.name: result for result in results}
    print(f"\n{loaded.spans.num_spans:,} spans of {study.data.name}, out of fold")
    print(ranking_summary.format_table(results))
    rows = [result.as_row() for result in results]
    atomic.write_text(study.out / "summary.json", json.dumps(rows, indent=1) + "\n")
    picture = figures.ranker_bars(
        _bars(study, by_name),
        study.out / "grid.png",
        lines=[by_name[name] for name in LINES],
        title=f"Spans of {study.data.name} in the right order",
    )
    print(f"\nfigure  {picture}\nsummary {study.out / 'summary.json'}")


def _out_of_fold(
    study: Study, loaded: Loaded, start: StoredGenomeModel | None
) -> dict[str, Scores]:
    """Scores of every span by rankers that saw nothing of its region."""
    fold_of = _deal(loaded.spans, study.folds)
    scores: dict[str, Scores] = {}
    for fold in range(study.folds):
        held_out = np.flatnonzero(fold_of == fold)
        shown = np.flatnonzero(fold_of != fold)
        found = data.baselines(loaded.spans, fit_on=shown, score_on=held_out)
        for seed in study.seeds:
            folder = study.out / f"fold_{fold}" / f"seed_{seed}"
            encoder = _before(study, loaded, start, shown, folder / "signal", seed)
            for head, training in itertools.product(study.heads, study.encoders):
                name = _name(study, head, training, seed)
                with stage(f"fold {fold}: {name}") as said:
                    found[name] = _train(
                        stages.with_head(study.ranking, head, training, seed),
                        loaded.spans,
                        encoder,
                        shown,
                        held_out,
                        folder / f"{head}_{training}",
                    )
                    share = evaluation.full_order_accuracy(
                        found[name], loaded.spans.values[held_out]
                    )
                    said.append(f"{share:.3f} of {len(held_out):,} spans in order")
        for name, values in found.items():
            scores.setdefault(name, np.zeros(loaded.spans.values.shape, np.float32))
            scores[name][held_out] = values
    return scores


def _deal(spans: RegionStore, folds: int) -> Integer[np.ndarray, " spans"]:
    """The fold of every span; regions are shuffled and dealt in turn."""
    groups, where = np.unique(spans.group, return_inverse=True)
    if not 2 <= folds <= len(groups):
        raise InputError(
            "--folds", f"is {folds}", f"Give 2 to {len(groups)}, one a region at most"
        )
    return (np.random.default_rng(0).permutation(len(groups)) % folds)[where]


def _before(
    study: Study,
    loaded: Loaded,
    start: StoredGenomeModel | None,
    shown: Integer[np.ndarray, " rows"],
    out: Path,
    seed: int,
) -> StoredGenomeModel | None:
    """The encoder that every head starts from, trained on signal if there is any."""
    if loaded.signal is None:
        return start
    seen = np.isin(loaded.signal.group, np.unique(loaded.spans.group[shown]))
    with stage(f"{out.parent.parent.name}: signal"):
        return ranking.run(
            loaded.signal,
            study.signal.ranking(stages.with_head(study.ranking, "linear", seed=seed)),
            out,
            start=start,
            train=np.flatnonzero(seen),
            validation=np.flatnonzero(~seen)[::16],
            describe="train on signal",
        )


def _train(
    config: RankingConfig,
    spans: RegionStore,
    encoder: StoredGenomeModel | None,
    shown: Integer[np.ndarray, " rows"],
    held_out: Integer[np.ndarray, " held"],
    out: Path,
) -> Scores:
    """Scores of the held-out spans; kept, so that a grid goes on where it stopped."""
    kept = out / "scores.npy"
    if kept.is_file():
        return np.load(kept, allow_pickle=False)
    # No model is chosen by the fold that judges it: nothing is validated.
    model = ranking.run(
        spans, config, out, start=encoder, train=shown, validation=held_out[:0]
    )
    found = ranking.scores(model, ranking.make_builder(spans, config, model), held_out)
    buffer = io.BytesIO()
    np.save(buffer, found, allow_pickle=False)
    atomic.write_bytes(kept, buffer.getvalue())
    return found


def _name(study: Study, head: str, training: str, seed: int) -> str:
    name = f"{head}, {training}"
    return name if len(study.seeds) == 1 else f"{name}, seed {seed}"


def _bars(
    study: Study, by_name: dict[str, RankerResult]
) -> dict[str, dict[str, RankerResult]]:
    """A group for each head; a bar for each treatment of the encoder and seed."""
    return {
        head: {
            _name(study, "", training, seed).removeprefix(", "): by_name[
                _name(study, head, training, seed)
            ]
            for training, seed in itertools.product(study.encoders, study.seeds)
        }
        for head in study.heads
    }
