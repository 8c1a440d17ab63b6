"""What is every base of: genes, exons, promoters … (SPEC 3.4, SegmentNT).

    python -m experiments.train genome_model.segmentation \\
        --encoder runs/ranking --out runs/segmentation
    python -m experiments.train genome_model.segmentation --preset study \\
        --encoder nt-v2-50m/ --labels.elements runs/elements --out runs/segmentation

--encoder is a run of region ranking or of masked k-mers, a model folder, or a published
Nucleotide Transformer; without it the encoder is random. What becomes of every
parameter is printed, and kept in parameters.txt. Without --labels.elements the labels
are made of what is at hand of hg38 (see labels.py there); the table at the end says
which elements it can judge.

`small` takes some ten minutes on two CPU cores. `study` has the published numbers:
Adam 5e-5, batches of 256 windows of 3 kb, focal loss γ = 2. The study reached a mean
MCC of .32 with NT-v2 50M and .17 with a random encoder, on all of GENCODE and ENCODE.
"""

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from experiments.genome_model import data, labels
from experiments.genome_model.labels import LabelsConfig
from experiments.study import GenomeStudyConfig
from scmultimodal.data import atomic
from scmultimodal.data.element_store import ElementStore, format_report
from scmultimodal.evaluation import segmentation as evaluation
from scmultimodal.schemas import configs
from scmultimodal.training import hosts
from scmultimodal.workflows import (
    comparison,
    curves,
    dry_run,
    genome_presets,
    judged,
    provenance,
    segmentation,
)
from scmultimodal.workflows.genome_presets import GenomePresetName
from scmultimodal.workflows.segmentation_config import SegmentationTrainingConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(GenomeStudyConfig):
    """All numbers of a training in segmentation."""

    segmentation: Annotated[SegmentationTrainingConfig, tyro.conf.arg(name="")]
    """The training."""
    encoder: Path | None = None
    """Encoder to start from: a run, a model folder, or a published one."""
    labels: LabelsConfig = dataclasses.field(default_factory=LabelsConfig)
    """Which bases, and what they are of."""
    dry_run: bool = False
    """Say what the training would take, and start none."""


def default(preset: GenomePresetName) -> Study:
    """The numbers of a preset; `out` is left to the command line."""
    return Study(
        out=tyro.MISSING,
        preset=preset,
        segmentation=genome_presets.GENOME_PRESETS[preset].segmentation,
    )


def run(study: Study) -> None:
    """Trains, judges on the validation and test parts, and prints the tables."""
    start = data.load_start(study.encoder)
    numbers = study.segmentation
    if study.dry_run:
        with tempfile.TemporaryDirectory() as folder:
            store = labels.load(study.labels, Path(folder))
            print(dry_run.format_plan(segmentation.plan(store, numbers, start=start)))
        return
    config = configs.to_json(study) | provenance.of_start(start)
    config |= labels.identity(study.labels)
    del config["dry_run"]
    provenance.check_config(study.out, config, resume=numbers.resume == "auto")

    def load() -> ElementStore:
        return labels.load(study.labels, study.out / "labels")

    store = hosts.made_by_main(load, load)
    provenance.write_config(study.out, config)
    print(f"\n{format_report(store.manifest['report'])}")
    model = segmentation.run(
        store, numbers, study.out, start=start, source=study.encoder or "none"
    )
    summary = {
        split: _report(split, segmentation.judge(model, store, store.split(split)))
        for split in ("validation", "test")
        if len(store.split(split))
    }
    if hosts.is_main() and "test" in summary:
        counts = labels.judge_baseline(store)
        summary["test, baseline"] = _report("test", counts, labels.BASELINE)
    if hosts.is_main():
        text = json.dumps(summary, indent=1) + "\n"
        atomic.write_text(study.out / "summary.json", text)
    parts = {split: store.split(split) for split in ("validation", "test")}
    judged.write(study.out, {n: judged.bases(store, p) for n, p in parts.items()})
    curves.draw(study.out, {"segmentation": study.out})
    comparison.write_page(study.out)
    print(f"\nmodel   {study.out / 'model'}\nsummary {study.out / 'summary.json'}")


def _report(
    split: str, counts: Mapping[int, Mapping[str, Any]], name: str = "the model"
) -> list[dict[str, Any]]:
    """Prints what was counted, and gives it as JSON has it."""
    results = evaluation.judge(
        *(
            np.sum([c[name] for c in counts.values()], axis=0)
            for name in evaluation.COUNTS
        )
    )
    table = evaluation.format_table(results)
    print(f"\n{split} part, every base once, {name.replace('_', ' ')}\n{table}")
    return evaluation.as_rows(results)
