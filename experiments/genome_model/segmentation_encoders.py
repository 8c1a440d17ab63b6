"""Does an encoder that knows open chromatin segment better (the study's Fig. 3.4)?

    python -m experiments.train genome_model.segmentation_encoders --out runs/encoders
    python -m experiments.train genome_model.segmentation_encoders --preset study \\
        --start nt-v2-50m/ --labels.elements runs/elements \\
        --spans-v1 runs/spans_v1 --spans-v2 runs/spans_v2 --out runs/encoders

Four encoders with the same U-Net, the same windows and the same seeds:

- random: as it begins;
- pretrained: masked 6-mers of the training part, or --start;
- atac_v1, atac_v2: the pretrained one, fine-tuned by ranking DNase regions with the
  convolutional scorer; padded at the end, and on both sides with no region used twice.
  `small` first trains both on the signal of windows at random places.

Without --start none of them saw a label or a letter of the test part; what --start has
read is for those to say who trained it. Every element of the test part is judged by MCC
and AUPRC, beside a logistic regression on the k-mers around a base; intervals resample
the regions, and are of the mean over the seeds. "Converged" is the first validation
with 95 % of the best of that run, by the metric that chooses what is kept. The run goes
on where it stopped.

The study: mean MCC .32 for the last three and .17 for the random one, which took four
times the iterations; v1 ahead on tissue-invariant promoters, v2 on -specific ones.
"""

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
import tyro

from experiments.genome_model import data, examples, labels, variants
from experiments.genome_model.labels import LabelsConfig
from experiments.study import GenomeStudyConfig
from scmultimodal import datasets
from scmultimodal.data import atomic
from scmultimodal.data.element_store import ElementStore
from scmultimodal.data.region_store import RegionStore
from scmultimodal.data.sequence_windows import Stretch
from scmultimodal.evaluation import element_summary
from scmultimodal.evaluation import segmentation as evaluation
from scmultimodal.evaluation.element_summary import Counts, EncoderResult
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.training.metrics import FILE, read_metrics
from scmultimodal.weights.genome_model import StoredGenomeModel
from scmultimodal.workflows import (
    comparison,
    genome_presets,
    judged,
    kmer_pretrain,
    provenance,
    ranking,
    segmentation,
)
from scmultimodal.workflows.genome_presets import GenomePresetName
from scmultimodal.workflows.kmer_pretrain import KmerPretrainConfig
from scmultimodal.workflows.ranking_config import RankingConfig, SignalConfig
from scmultimodal.workflows.segmentation_config import SegmentationTrainingConfig
from scmultimodal.workflows.stages import stage

EncoderName = Literal["random", "pretrained", "atac_v1", "atac_v2"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(GenomeStudyConfig):
    """All numbers of the comparison."""

    segmentation: Annotated[SegmentationTrainingConfig, tyro.conf.arg(name="")]
    """The training in segmentation; its seed is one of --seeds."""
    kmers: KmerPretrainConfig
    """Masked k-mers, where no encoder is given."""
    signal: SignalConfig
    """Training on windows at random places, before ranking."""
    ranking: RankingConfig
    """Training by ranking."""
    encoders: tuple[EncoderName, ...] = ("random", "pretrained", "atac_v1", "atac_v2")
    """Which encoders."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of heads, windows, strands and the random encoder; the others are the same."""
    start: Path | None = None
    """The pretrained encoder: a run, a model folder, or a published one."""
    labels: LabelsConfig = dataclasses.field(default_factory=LabelsConfig)
    """Which bases, and what they are of."""
    spans_v1: Path | None = None
    """Spans that `scmultimodal prepare-ranking --version v1` wrote, in place of DNase;
    there is no training on signal before them."""
    spans_v2: Path | None = None
    """The same with --version v2."""


def default(preset: GenomePresetName) -> Study:
    """The numbers of a preset; `out` is left to the command line."""
    numbers = genome_presets.GENOME_PRESETS[preset]
    return Study(
        out=tyro.MISSING,
        preset=preset,
        segmentation=numbers.segmentation,
        kmers=numbers.kmers,
        signal=numbers.signal,
        ranking=variants.with_head(numbers.ranking, "convolutional"),
    )


def run(study: Study) -> None:
    """Trains whatever is not trained yet, judges, draws and prints the table."""
    from scmultimodal.evaluation.figures import elements as figures

    start = data.load_start(study.start)
    _refuse_what_would_leak(study)
    config = configs.to_json(study) | provenance.of_start(start) | _identity(study)
    provenance.check_config(study.out, config, resume=True)
    store = labels.load(study.labels, study.out / "labels")
    provenance.write_config(study.out, config)
    encoders = _encoders(study, store, start)
    results = []
    for name in study.encoders:
        runs = [_run(study, store, name, encoders[name], seed) for seed in study.seeds]
        results.append(
            EncoderResult(
                name=name,
                counts=[counts for counts, _ in runs],
                converged=[step for _, step in runs],
            )
        )
    results.append(
        EncoderResult(name=labels.BASELINE, counts=[_baseline(store)], converged=[])
    )
    summary = element_summary.judge(results)
    print(f"\ntest part, {len(study.seeds)} seeds\n")
    print(element_summary.format_table(summary))
    picture = figures.encoder_bars(
        summary,
        study.out / "encoders.png",
        title=f"Test part, {len(study.seeds)} seeds; lines: 95 % by test region",
    )
    text = json.dumps(element_summary.as_json(summary), indent=1) + "\n"
    atomic.write_text(study.out / "summary.json", text)
    judged.write(study.out, {"test": judged.bases(store, store.split("test"))})
    comparison.write_page(study.out)
    print(f"\nfigure  {picture}\nsummary {study.out / 'summary.json'}")


def _refuse_what_would_leak(study: Study) -> None:
    """DNase's regions have a split of their own, which labels that are given have not.

    Raises:
        InputError: an encoder would be trained on DNase, and labels are given.
    """
    given = {"atac_v1": study.spans_v1, "atac_v2": study.spans_v2}
    for name, spans in given.items():
        if study.labels.elements is not None and name in study.encoders and not spans:
            raise InputError(
                f"--{'spans-' + name.removeprefix('atac_')}",
                f"is missing: {name} would train on DNase over regions that may be in "
                "the test part of --labels.elements",
                "Prepare spans of its training part: scmultimodal prepare-ranking",
            )


def _identity(study: Study) -> dict[str, Any]:
    """What stands behind the paths that are given."""
    found = labels.identity(study.labels)
    for name in ("spans_v1", "spans_v2"):
        if (path := getattr(study, name)) is not None:
            found[f"{name}_files"] = RegionStore.open(path).manifest["files"]
    return found


def _encoders(
    study: Study, store: ElementStore, start: StoredGenomeModel | None
) -> Mapping[EncoderName, StoredGenomeModel | None]:
    """What each training in segmentation starts from."""
    found: dict[EncoderName, StoredGenomeModel | None] = {"random": None}
    if set(study.encoders) == {"random"}:
        return found
    if start is None:
        start = _pretrain(study, store)
    found["pretrained"] = start
    wanted = [name for name in study.encoders if name.startswith("atac")]
    if not wanted:
        return found
    given = {"atac_v1": study.spans_v1, "atac_v2": study.spans_v2}
    begin = start
    if any(given[name] is None for name in wanted) and study.signal.steps:
        begin = _on_signal(study, start)
    for name in wanted:
        folder = given[name]
        spans = _spans(study, name) if folder is None else RegionStore.open(folder)
        with stage(name) as said:
            found[name] = ranking.run(
                spans,
                study.ranking,
                study.out / "encoders" / name,
                start=begin if folder is None else start,
                describe=name,
            )
            said.append(f"{len(spans.split('train')):,} spans to train on")
    return found


def _on_signal(study: Study, start: StoredGenomeModel) -> StoredGenomeModel:
    signal = examples.prepare(
        datasets.dnase_regions(),
        "signal",
        study.labels.peaks,
        study.out / "spans" / "signal",
    )
    return ranking.run(
        signal,
        study.signal.ranking(variants.with_head(study.ranking, "linear")),
        study.out / "encoders" / "signal",
        start=start,
        describe="train on signal",
    )


def _spans(study: Study, name: EncoderName) -> RegionStore:
    """DNase peaks as they were called, two and a gap within 3 kb."""
    version = cast(Literal["v1", "v2"], name.removeprefix("atac_"))
    config = dataclasses.replace(
        study.labels.peaks, version=version, fixed_length=False
    )
    folder = study.out / "spans" / version
    return examples.prepare(datasets.dnase_regions(), "near", config, folder)


def _pretrain(study: Study, store: ElementStore) -> StoredGenomeModel:
    """Masked k-mers of the training part; nothing of the test part is read."""
    parts: dict[str, list[Stretch]] = {"train": [], "validation": []}
    fasta = study.out / "encoders" / "genome.fa"
    with atomic.file(fasta) as temporary, temporary.open("wb") as file:
        for place in store.territories:
            if place.split not in parts:
                continue
            parts[place.split].append(Stretch(place.chrom, place.start, place.end))
            file.write(f">{place.chrom}:{place.start}-{place.end}\n".encode())
            letters, _ = store.interval(place.chrom, place.start, place.end)
            letters.tofile(file)
            file.write(b"\n")
    found = kmer_pretrain.run(
        fasta,
        study.kmers,
        study.out / "encoders" / "pretrained",
        train=parts["train"],
        validation=parts["validation"],
    )
    print(kmer_pretrain.format_losses(found.losses))
    return found.model


def _run(
    study: Study,
    store: ElementStore,
    name: EncoderName,
    start: StoredGenomeModel | None,
    seed: int,
) -> tuple[Counts, int]:
    """Counts of the test part by region, and when the training had converged."""
    folder = study.out / name / f"seed_{seed}"
    kept = folder / "counts.npz"
    if not kept.is_file():
        with stage(f"{name}, seed {seed}"):
            model = segmentation.run(
                store,
                dataclasses.replace(study.segmentation, seed=seed),
                folder,
                start=start,
                source=name,
                describe=f"{name}, seed {seed}",
            )
            by_group = segmentation.judge(model, store, store.split("test"))
        stacked = _stack(by_group)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **stacked)
        atomic.write_bytes(kept, buffer.getvalue())
    with np.load(kept, allow_pickle=False) as arrays:
        counts = Counts(**{name: arrays[name] for name in arrays.files})
    records = read_metrics(folder / FILE)
    chosen_by = study.segmentation.keep_best or "mcc"
    return counts, element_summary.converged(records, chosen_by)


def _baseline(store: ElementStore) -> Counts:
    return Counts(**_stack(labels.judge_baseline(store)))


def _stack(by_group: Mapping[int, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Counts with an axis of the groups in front, in their order."""
    return {
        name: np.stack([by_group[group][name] for group in sorted(by_group)])
        for name in evaluation.COUNTS
    }
