"""Masked-6-mer pre-training of an encoder of DNA, from a FASTA (SPEC 3.5).

    python -m experiments.train genome_model.kmer_pretraining \\
        --fasta hg38.fa.gz --out runs/kmers

The end of every record is held out. Beside the held-out loss stand those of frequency
tables: a model above "unigram by GC" has learnt no more than composition, and is not
worth starting from. runs/kmers/model serves as --start of the ranking studies.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from experiments.study import GenomeStudyConfig
from scmultimodal.schemas import configs
from scmultimodal.workflows import (
    comparison,
    curves,
    dry_run,
    genome_presets,
    kmer_pretrain,
    provenance,
)
from scmultimodal.workflows.genome_presets import GenomePresetName
from scmultimodal.workflows.kmer_pretrain import KmerPretrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(GenomeStudyConfig):
    """All numbers of a masked-k-mer pre-training."""

    fasta: Path
    """The genome: plain, bgzip or gzip."""
    kmers: Annotated[KmerPretrainConfig, tyro.conf.arg(name="")]
    """The training."""
    dry_run: bool = False
    """Say what the training would take, and start nothing."""


def default(preset: GenomePresetName) -> Study:
    """The numbers of a preset; `out` and `fasta` are left to the command line."""
    return Study(
        out=tyro.MISSING,
        fasta=tyro.MISSING,
        preset=preset,
        kmers=genome_presets.GENOME_PRESETS[preset].kmers,
    )


def run(study: Study) -> None:
    """Pre-trains, and prints the losses."""
    if study.dry_run:
        print(dry_run.format_plan(kmer_pretrain.plan(study.fasta, study.kmers)))
        return
    config = configs.to_json(study)
    del config["dry_run"]
    provenance.check_config(study.out, config, resume=study.kmers.resume == "auto")
    provenance.write_config(study.out, config)
    found = kmer_pretrain.run(study.fasta, study.kmers, study.out)
    print(f"\nHidden k-mers of held-out windows of {study.fasta.name}")
    print(kmer_pretrain.format_losses(found.losses))
    curves.draw(study.out, {"masked k-mers": study.out})
    comparison.write_page(study.out)
    print(f"model   {study.out / 'model'}")
