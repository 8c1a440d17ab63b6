"""Commands of segmentation: `prepare-segmentation`, `segment`, `score-variants`."""

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Literal

from scmultimodal.genome.elements import ElementRules
from scmultimodal.genome.region_splits import ChromosomeSplit


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareSegmentation:
    """Label every base of a genome with fourteen elements, from public annotation.

    Genes, lncRNA, exons, introns, splice sites and UTRs come from a GTF (GENCODE,
    Ensembl); polyA signals from GENCODE's polyA track; promoters, enhancers and CTCF
    sites from ENCODE's cCREs or Ensembl's Regulatory Build. Promoters and enhancers are
    tissue-invariant where they touch a region of --invariant, or are open in enough of
    the samples of --open-in. What no file tells is not known: it is neither learned nor
    judged. Prints the bases of every element. The rules are in genome/elements.py.

    Examples:
        scmultimodal prepare-segmentation --fasta hg38.fa.gz --gtf gencode.v44.gtf.gz \\
            --polya gencode.v44.polyAs.gtf.gz --regulatory GRCh38-cCREs.bed \\
            --invariant tissue_invariant_dhs.bed --out runs/elements
        scmultimodal prepare-segmentation --fasta mm39.fa.gz --gtf mouse.gtf.gz \\
            --train 1 2 3 --validation 4 --test 5 --out runs/mouse
    """

    fasta: Path
    """The genome: plain, bgzip, or gzip; records may be named chr1:100-200."""
    out: Path
    """Folder to make."""
    gtf: tuple[Path, ...] = ()
    """Genes, exons and coding sequence."""
    genes: tuple[Path, ...] = ()
    """Tables of gene bodies (chrom, start, end, gene_type) where there is no GTF."""
    polya: tuple[Path, ...] = ()
    """PolyA signals: GENCODE's GTF, or BED."""
    regulatory: tuple[Path, ...] = ()
    """Promoters, enhancers, CTCF sites: cCREs (BED), Regulatory Build (GFF3, table)."""
    invariant: Path | None = None
    """BED of what is open in every tissue."""
    open_in: tuple[Path, ...] = ()
    """Open regions: a narrowPeak or BED per sample, or tables with a column each."""
    invariant_share: float = ElementRules.invariant_share
    """Share of the samples of --open-in that makes an element tissue-invariant."""
    basic_only: bool = False
    """Take exons from transcripts tagged "basic" alone."""
    splice_bp: int = ElementRules.splice_bp
    """Bases of a splice site, within the intron."""
    regions: Path | None = None
    """Table of chrom, start, end, split and, if not all are known everywhere, elements
    (names with commas between), in place of a split by chromosome."""
    train: tuple[str, ...] = ChromosomeSplit().train
    """Chromosomes to train on."""
    validation: tuple[str, ...] = ChromosomeSplit().validation
    """Chromosomes to choose by."""
    test: tuple[str, ...] = ChromosomeSplit().test
    """Chromosomes to judge by. Those in no part are left out."""
    overwrite: bool = False
    """Replace what was prepared at --out before."""
    debug: bool = False
    """Show a traceback with an error."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segment:
    """Write the probability of every element at every base as genome-browser tracks.

    A file for each element, and a picture of every region with the genes of --gtf under
    it. Windows overlap, and every base is written once; N has no value.

    Examples:
        scmultimodal segment --model runs/segmentation --fasta genome.fa.gz \\
            --regions loci.bed --gtf genes.gtf.gz --out tracks
        scmultimodal segment --model runs/segmentation --fasta genome.fa.gz \\
            --format bigwig --out tracks
    """

    model: Path
    """Run or model folder with a head that tells elements."""
    fasta: Path
    """The genome: plain, bgzip, or gzip."""
    out: Path
    """Folder to make."""
    regions: Path | None = None
    """BED of what to segment; everything if not given."""
    elements: tuple[str, ...] = ()
    """Some of the elements by name; all if not given."""
    format: Literal["bedgraph", "bigwig"] = "bedgraph"
    """bedgraph is gzipped; bigwig needs the extra `tracks`."""
    gtf: Path | None = None
    """Genes to draw under the pictures."""
    figures: int = 10
    """Draw so many regions at most, the first of them."""
    window_bp: int | None = None
    """Length of a window; that of training if not given."""
    margin_bp: int | None = None
    """Left out at both ends of a window; an eighth of it if not given."""
    both_strands: bool = False
    """Average what the two strands say; takes twice the time."""
    batch_size: int = 8
    """Windows computed at a time."""
    overwrite: bool = False
    """Replace what stands at --out."""
    debug: bool = False
    """Show a traceback with an error."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreVariants:
    """Say what variants change: accessibility scores, and probabilities of elements.

    For every alternative allele a line of what the model says of the sequence around it
    with either allele: its score, where the model has a scorer, and the mean
    probability of each element over the allele and --radius-bp on both sides, where it
    has a segmenter. Alleles that are no letters (<DEL>, *) are counted and left out. A
    reference allele that the genome does not have is an error.

    Examples:
        scmultimodal score-variants --model runs/segmentation --vcf variants.vcf.gz \\
            --fasta hg38.fa.gz --out effects.tsv.gz
    """

    model: Path
    """Run or model folder with a scorer, or a head that tells elements."""
    vcf: Path
    """Variants: VCF, gzipped or not; read line by line."""
    fasta: Path
    """The genome that the variants are from."""
    out: Path
    """Table to write: .tsv or .tsv.gz."""
    radius_bp: int = 50
    """Bases on both sides of an allele whose probabilities are averaged."""
    both_strands: bool = False
    """Average what the two strands say of elements."""
    batch_size: int = 8
    """Variants computed at a time."""
    overwrite: bool = False
    """Replace the table that stands at --out."""
    debug: bool = False
    """Show a traceback with an error."""


def run_prepare_segmentation(command: PrepareSegmentation) -> None:
    """`scmultimodal prepare-segmentation`."""
    from scmultimodal.cli.dna import pick
    from scmultimodal.data.element_store import format_report
    from scmultimodal.genome.fasta import Genome
    from scmultimodal.workflows import element_inputs, prepare_segmentation, provenance
    from scmultimodal.workflows.element_inputs import LabelFiles
    from scmultimodal.workflows.prepare_segmentation import PrepareSegmentationConfig

    files = pick(LabelFiles, command)
    config = PrepareSegmentationConfig(
        rules=pick(ElementRules, command), split=pick(ChromosomeSplit, command)
    )
    regions = None
    if command.regions is not None:
        regions = prepare_segmentation.read_regions(command.regions)
    annotation = element_inputs.read(files, config.rules)
    read = [*files.all(), command.fasta, *filter(None, [command.regions])]
    with Genome.open(command.fasta) as genome:
        store = prepare_segmentation.run(
            annotation,
            genome,
            config,
            command.out,
            regions=regions,
            overwrite=command.overwrite,
            provenance={
                "command": shlex.join(["scmultimodal", *sys.argv[1:]]),
                "files": [provenance.of_file(path) for path in read],
                **provenance.of_code(),
            },
        )
    print(f"\n{format_report(store.manifest['report'])}\n\nelements {command.out}")


def run_segment(command: Segment) -> None:
    """`scmultimodal segment`."""
    from scmultimodal.workflows import genome_inference, segment_genome
    from scmultimodal.workflows.segmentation_inference import StitchingConfig

    found = segment_genome.run(
        genome_inference.open_any(command.model),
        command.fasta,
        command.out,
        regions=command.regions,
        elements=command.elements,
        format=command.format,
        gtf=command.gtf,
        figures=command.figures,
        stitching=StitchingConfig(
            window_bp=command.window_bp,
            margin_bp=command.margin_bp,
            both_strands=command.both_strands,
            batch_size=command.batch_size,
        ),
        overwrite=command.overwrite,
    )
    print(f"\n{found.format_table()}\n\ntracks  {command.out}")


def run_score_variants(command: ScoreVariants) -> None:
    """`scmultimodal score-variants`."""
    from scmultimodal.workflows import genome_inference, variant_effects

    found = variant_effects.run(
        genome_inference.open_any(command.model),
        command.vcf,
        command.fasta,
        command.out,
        radius_bp=command.radius_bp,
        both_strands=command.both_strands,
        batch_size=command.batch_size,
        overwrite=command.overwrite,
    )
    print(f"\n{found.format_table()}\n\neffects {command.out}")
