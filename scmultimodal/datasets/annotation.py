"""Annotation of the human genome, for the stretches whose sequence is at hand."""

import dataclasses
from pathlib import Path

from scmultimodal.datasets import files

_SHA256 = {
    ("dna_hg38_regions", "hg38_chr1_chr9_first1Mb.fa.gz"): (
        "b5992be88385d4dd28a9ad26ad0d1fb8b70e3b172a5d447a85de0ea73cf2b290"
    ),
    ("dna_hg38_regions", "GRCh38.91_chr9_1_1000000.gtf.gz"): (
        "1f92b75ba1b55bc640a153c815d237f97c548733beca6f40ed9b0dcc4c16bbb4"
    ),
    ("gene_annotation_hg38", "CollapsedGeneBounds.hg38.intGENCODEv43.bed.gz"): (
        "fc8f7914bffaa296052f6e42ffcd8b3e4100926e27387826fc3db5a4a3cefea3"
    ),
    ("regulatory_hg38", "ensembl_regulatory_genomic_benchmarks.tsv.gz"): (
        "444da95ad8767ed32b3832ab5e28a22edcc1a7e6651b9f407a5ea1a6c07b329f"
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class HumanAnnotation:
    """Files of hg38's annotation.

    Attributes:
        fasta: first million bases of chr1 and chr9.
        transcripts: genes, exons and coding sequence of chr9's: Ensembl 91.
        genes: bodies of 20,531 genes with their types, of all chromosomes.
        regulatory: 289,061 promoters, enhancers and open regions of Ensembl's
            Regulatory Build: a part of it, so that not every one is there.
    """

    fasta: Path
    transcripts: Path
    genes: Path
    regulatory: Path


def human_annotation() -> HumanAnnotation:
    """Annotation of hg38 that segmentation can be learned from.

    Sources: bambu (sequence and transcripts, GPL-3), scE2G (genes, MIT), Genomic
    Benchmarks (Regulatory Build, Apache-2.0; Gresova et al. 2023,
    doi:10.1186/s12863-023-01123-8). Found below SCMULTIMODAL_DATA.

    Raises:
        DataUnavailableError: SCMULTIMODAL_DATA is not set.
        InputError: where a file is missing there or differs from the known one.
    """
    paths = [files.known(*name, sha256) for name, sha256 in _SHA256.items()]
    fasta, transcripts, genes, regulatory = paths
    return HumanAnnotation(
        fasta=fasta, transcripts=transcripts, genes=genes, regulatory=regulatory
    )
