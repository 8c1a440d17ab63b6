"""Labelled DNA of hg38 for segmentation, from what is public and small.

65 regions of 131 kb with protein-coding genes all along; and over their central 65 kb,
where DNase was measured, promoters and enhancers of Ensembl's Regulatory Build:
tissue-invariant where they are open in half of the ten DNase tracks. Beside them the
first million bases of chr9 with both kinds of genes, exons, introns, splice sites and
UTRs. CTCF sites and polyA signals are known nowhere, lncRNA on chr9 alone: the table of
genes has few of them. The Regulatory Build is a sample: bases that are labelled as no
promoter may be one.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.genome_model.examples import ExamplesConfig, peaks_of_track
from scmultimodal import datasets
from scmultimodal.data import atomic
from scmultimodal.data.element_store import ElementStore
from scmultimodal.datasets import AccessibleGenome, HumanAnnotation
from scmultimodal.evaluation import element_baseline
from scmultimodal.genome import elements
from scmultimodal.genome.elements import ELEMENTS, ElementRules
from scmultimodal.genome.fasta import Genome
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import element_inputs, prepare_segmentation
from scmultimodal.workflows.element_inputs import LabelFiles
from scmultimodal.workflows.prepare_segmentation import PrepareSegmentationConfig
from scmultimodal.workflows.stages import stage

BASELINE = "logistic_regression"
"""Beside every model in tables and pictures."""

_CODING = "protein_coding_gene"
_REGULATION = tuple(name for name in ELEMENTS if "_Tissue_" in name)
_CHR9 = {
    "test": (0, 205_000),
    "train": (205_000, 800_000),
    "validation": (800_000, 1_000_000),
}
"""Cut between genes: DOCK8 and KANK1 are learned from, DMRT1 and DMRT3 chosen by, and
WASHC1, FOXD4 and CBWD1 judged by."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelsConfig:
    """How the labels are made.

    Attributes:
        elements: a folder that `scmultimodal prepare-segmentation` wrote; None makes
            the labels of hg38 that are described above.
        rules: of the elements that are made here; a folder has its own.
        peaks: how the DNase tracks become open regions.
    """

    elements: Path | None = None
    rules: ElementRules = dataclasses.field(default_factory=ElementRules)
    peaks: ExamplesConfig = dataclasses.field(default_factory=ExamplesConfig)

    def __post_init__(self):
        """Raises InputError for rules that nothing would follow."""
        if self.elements is not None and self.rules != ElementRules():
            raise InputError(
                "labels.rules",
                f"would not be followed: {self.elements} is labelled",
                "Give them to scmultimodal prepare-segmentation",
            )


def judge_baseline(store: ElementStore) -> dict[int, dict[str, np.ndarray]]:
    """Counts of the test part by a logistic regression, see `element_baseline`."""
    with stage(BASELINE.replace("_", " ")):
        fitted = element_baseline.fit(
            store, store.split("train"), store.split("validation")
        )
        return fitted.judge(store, store.split("test"))


def identity(config: LabelsConfig) -> dict[str, Any]:
    """What stands behind the path that is given."""
    if config.elements is None:
        return {}
    return {"elements_files": ElementStore.open(config.elements).manifest["files"]}


def load(config: LabelsConfig, out: Path) -> ElementStore:
    """Opens the labels of a study, or makes those of hg38 in `out`.

    What stands there and is the same is kept.
    """
    if config.elements is not None:
        return ElementStore.open(config.elements)
    # As JSON has it: read back, tuples are lists.
    made_with = json.loads(
        json.dumps({"name": "hg38", "labels": configs.to_json(config)})
    )
    if (out / "elements" / "manifest.json").is_file():
        found = ElementStore.open(out / "elements")
        given = found.manifest["provenance"]
        if {name: given.get(name) for name in made_with} == made_with:
            return found
    data, known = datasets.dnase_regions(), datasets.human_annotation()
    out.mkdir(parents=True, exist_ok=True)
    fasta = _write_fasta(data, known, out / "genome.fa")
    open_in = tuple(
        _write_peaks(data, track, config.peaks, out / f"open_{track}.bed")
        for track in range(len(data.tracks))
    )
    annotation = element_inputs.read(
        LabelFiles(
            gtf=(known.transcripts,),
            genes=(known.genes,),
            regulatory=(known.regulatory,),
            open_in=open_in,
        ),
        config.rules,
    )
    with Genome.open(fasta) as genome:
        return prepare_segmentation.run(
            annotation,
            genome,
            PrepareSegmentationConfig(rules=config.rules),
            out / "elements",
            regions=_regions(data),
            provenance=made_with,
            overwrite=True,
        )


def _write_fasta(data: AccessibleGenome, known: HumanAnnotation, out: Path) -> Path:
    """The 65 regions and chr9's first million bases, as pieces of chromosomes."""
    lines = []
    with Genome.open(data.fasta) as genome:
        for piece in genome.pieces:
            lines += _record(genome, piece.chrom, piece.start, piece.end)
    with Genome.open(known.fasta) as genome:
        lines += _record(genome, "chr9", 0, _CHR9["validation"][1])
    atomic.write_text(out, "\n".join(lines) + "\n")
    return out


def _record(genome: Genome, chrom: str, start: int, end: int) -> list[str]:
    return [f">{chrom}:{start}-{end}", genome.fetch(chrom, start, end)]


def _write_peaks(
    data: AccessibleGenome, track: int, config: ExamplesConfig, out: Path
) -> Path:
    peaks = peaks_of_track(data, track, config)
    text = peaks[["chrom", "start", "end"]].to_csv(sep="\t", header=False, index=False)
    atomic.write_text(out, text)
    return out


def _regions(data: AccessibleGenome) -> pd.DataFrame:
    """Territories with what is known in each: a region is three of them."""
    bodies = _CODING
    within = ",".join((_CODING, *_REGULATION))
    rows = []
    for group, region in enumerate(data.regions.itertuples()):
        edges = (region.start, region.target_start, region.target_end, region.end)
        for low, high, named in zip(
            edges, edges[1:], (bodies, within, bodies), strict=False
        ):
            rows.append((region.chrom, low, high, region.split, named, group))
    of_genes = ",".join(elements.OF_GENES)
    for number, (split, (low, high)) in enumerate(_CHR9.items(), len(data.regions)):
        rows.append(("chr9", low, high, split, of_genes, number))
    columns = ["chrom", "start", "end", "split", "elements", "group"]
    return pd.DataFrame(rows, columns=columns)
