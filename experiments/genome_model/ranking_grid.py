"""Four heads, encoder trained and frozen, cross-validated (the study's Fig. 3.3).

    python -m experiments.train genome_model.kmer_pretraining \\
        --fasta genome.fa.gz --out runs/kmers
    python -m experiments.train genome_model.ranking_grid \\
        --start runs/kmers/model --out runs/grid

The regions are dealt into folds; every span is judged by models that saw no label of
its region. A frozen encoder is that of `--start`, untouched. A trained one is in each
fold first trained on the signal of windows at random places (`--signal.steps 0` goes
without), then once more with each head. Every head begins anew. Intervals resample
regions. The run goes on where it stopped.

Expected with `small` on DNase over 65 regions: a trained encoder ranks .37 to .40 of
the spans right with every head, a frozen one .31 to .38; chance is .167, GC .26, a
ridge on 5-mers .34.

`small`, five folds and both kinds of examples take some three hours on two CPU cores;
two processes, `--only-folds 0 2 4` and `--only-folds 1 3`, share them well.
"""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np

from experiments.genome_model import data, out_of_fold, variants
from experiments.genome_model.data import RIDGE, PeakSet
from scmultimodal.data import atomic
from scmultimodal.evaluation import ranking_summary
from scmultimodal.evaluation.ranking_summary import RankerResult
from scmultimodal.genome.composition import FEATURES
from scmultimodal.modules.heads.accessibility import ScorerName
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import comparison, judged, provenance
from scmultimodal.workflows.ranking_config import EncoderTraining

LINES = (*FEATURES, RIDGE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(variants.RankingStudyConfig):
    """All numbers of a grid."""

    heads: tuple[ScorerName, ...] = ("linear", "transformer", "unet", "convolutional")
    """Scorers."""
    encoders: tuple[EncoderTraining, ...] = ("trained", "frozen")
    """What becomes of the encoder."""
    examples: tuple[PeakSet, ...] = ("near", "wide")
    """Of those made from DNase: two peaks and a gap within 3 kb, or within 65 kb."""
    folds: int = 5
    """Parts that the regions (or chromosomes) are dealt into."""
    only_folds: tuple[int, ...] = ()
    """Train for these alone, counted from 0, and judge nothing: several processes or
    machines share a grid so. Once all are done, run it without this."""
    seeds: tuple[int, ...] = (0,)
    """Of heads and batches; every one is a run of its own. Folds are the same."""
    start: Path | None = None
    """Encoder to start from; it must have seen no label of any fold."""


default = Study.of_preset


def run(study: Study) -> None:
    """Trains whatever is not trained yet, judges, draws and prints the table."""
    from scmultimodal.evaluation.figures import ranking as figures

    variants.refuse_unread(
        study.ranking,
        default(study.preset).ranking,
        {"scorer.name": "--heads", "encoder": "--encoders", "seed": "--seeds"},
        start=study.start is not None,
    )
    if not set(study.only_folds) <= set(range(study.folds)):
        raise InputError(
            "--only-folds",
            f"is {' '.join(map(str, study.only_folds))}",
            f"name folds from 0 to {study.folds - 1}",
        )
    start = data.load_start(study.start)
    config = configs.to_json(study)
    del config["only_folds"]
    config |= data.identity(study.data, start)
    provenance.check_config(study.out, config, resume=True)
    loaded = data.load(
        study.data,
        study.out / "data",
        peaks=study.examples,
        with_signal=study.signal.steps > 0,
    )
    provenance.write_config(study.out, config)
    scores = out_of_fold.scores(study, loaded, start)
    if study.only_folds:
        print("folds trained; without --only-folds the grid is judged")
        return
    summary, examples = {}, {}
    for kind, spans in loaded.spans.items():
        results = ranking_summary.judge(
            scores[kind], spans.values, spans.group, over=("gc", RIDGE)
        )
        print(f"\n{spans.num_spans:,} spans of {study.data.name}, {kind}, out of fold")
        print(ranking_summary.format_table(results))
        by_name = {result.name: result for result in results}
        picture = figures.ranker_bars(
            _bars(study, by_name),
            study.out / f"grid_{kind}.png",
            lines=[by_name[name] for name in LINES],
            title=f"Spans of {study.data.name}, {kind}, in the right order",
        )
        print(f"figure  {picture}")
        summary[kind] = [result.as_row() for result in results]
        examples[kind] = judged.spans(spans, np.arange(spans.num_spans))
    atomic.write_text(study.out / "summary.json", json.dumps(summary, indent=1) + "\n")
    judged.write(study.out, examples)
    comparison.write_page(study.out)
    print(f"summary {study.out / 'summary.json'}")


def _bars(
    study: Study, by_name: dict[str, RankerResult]
) -> dict[str, dict[str, RankerResult]]:
    """A group for each head; a bar for each treatment of the encoder and seed."""
    bars = {}
    for head in study.heads:
        kinds = list(itertools.product(study.encoders, study.seeds))
        results = [
            by_name[variants.name_of(head, encoder, seed, study.seeds)]
            for encoder, seed in kinds
        ]
        labels = [result.name.removeprefix(f"{head}, ") for result in results]
        bars[head] = dict(zip(labels, results, strict=True))
    return bars
