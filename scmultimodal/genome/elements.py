"""The fourteen genomic elements of segmentation, base by base (SPEC 3.4).

The labels that SegmentNT was trained on were never released. These are our rules; each
base may have any number of elements, of genes and transcripts of either strand.

- protein_coding_gene, lncRNA: from the first to the last base of a gene of that
  biotype. All biotypes that GENCODE has since merged into lncRNA count as such.
- exon: the exons of every transcript of those genes.
- intron: what lies between two exons that follow each other in a transcript.
- splice_donor, splice_acceptor: the first and the last two bases of an intron, in the
  direction of the strand. Gaps of less than four bases hold neither.
- 5UTR, 3UTR: exonic bases of a transcript before the first and behind the last base of
  its coding sequence, in the direction of the strand. The stop codon is coding.
- polyA_signal: the signals (AATAAA and the like) of GENCODE's polyA track.
- CTCF-bound: elements that are said to be bound by CTCF, whatever else they are. The
  registry V4 of ENCODE says so of those alone that are nothing else.
- promoter and enhancer: regulatory elements of these kinds; tissue-invariant where they
  touch a region known as such or are open in enough samples, else tissue-specific.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int64, UInt16

from scmultimodal.genome import intervals
from scmultimodal.schemas.errors import InputError

ELEMENTS = (
    "protein_coding_gene",
    "lncRNA",
    "exon",
    "intron",
    "splice_donor",
    "splice_acceptor",
    "5UTR",
    "3UTR",
    "CTCF-bound",
    "polyA_signal",
    "enhancer_Tissue_specific",
    "enhancer_Tissue_invariant",
    "promoter_Tissue_specific",
    "promoter_Tissue_invariant",
)
"""In the order, and by the names, of the published models. A bit of a label each."""

OF_GENES = ELEMENTS[:8]
"""Those that a GTF tells."""
OF_GENE_BODIES = ELEMENTS[:2]
"""Those that genes tell without their exons."""
FAMILIES = (OF_GENES, ("CTCF-bound", *ELEMENTS[10:]), ("polyA_signal",))
"""Those that one file tells, or tells nothing of."""

LNCRNA = frozenset(
    {
        "lncRNA",
        "lincRNA",
        "antisense",
        "antisense_RNA",
        "sense_intronic",
        "sense_overlapping",
        "processed_transcript",
        "bidirectional_promoter_lncRNA",
        "3prime_overlapping_ncRNA",
        "macro_lncRNA",
        "non_coding",
    }
)
"""Biotypes that are lncRNA in GENCODE from release 31 on."""

_PLACE = ["chrom", "start", "end"]
_GENE_CLASSES = {"protein_coding": "protein_coding_gene"} | dict.fromkeys(
    LNCRNA, "lncRNA"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ElementRules:
    """What the rules leave open.

    Attributes:
        basic_only: takes exons, introns, splice sites and UTRs from transcripts that
            are tagged "basic" alone.
        splice_bp: bases of a splice site, within the intron.
        invariant_share: share of the samples in which an element must be open to be
            tissue-invariant, where no regions are known as such.
    """

    basic_only: bool = False
    splice_bp: int = 2
    invariant_share: float = 0.5

    def __post_init__(self):
        if self.splice_bp < 1:
            raise InputError("splice_bp", f"is {self.splice_bp}", "Give 1 or more")
        if not 0 < self.invariant_share <= 1:
            problem = f"is {self.invariant_share}"
            raise InputError("invariant_share", problem, "Give a share in (0, 1]")


def of_gene_bodies(genes: pd.DataFrame) -> pd.DataFrame:
    """Protein-coding genes and lncRNA.

    Args:
        genes: chrom, start, end, biotype; other biotypes are left out.

    Returns:
        chrom, start, end, element.
    """
    element = genes["biotype"].map(_GENE_CLASSES)
    return genes[_PLACE].assign(element=element)[element.notna()]


def of_transcripts(
    features: pd.DataFrame, rules: ElementRules | None = None
) -> pd.DataFrame:
    """All eight elements that genes and their transcripts tell.

    Args:
        features: as `transcripts.read_transcripts` returns them.
        rules: what is left open.

    Returns:
        chrom, start, end, element; they overlap.
    """
    rules = rules or ElementRules()
    known = features[features["biotype"].isin(list(_GENE_CLASSES))]
    parts = known if not rules.basic_only else known[known["basic"]]
    exons = parts[parts["feature"] == "exon"]
    coding = parts[parts["feature"].isin(["CDS", "stop_codon"])]
    introns = _introns(exons)
    return pd.concat(
        [
            of_gene_bodies(known[known["feature"] == "gene"]),
            exons[_PLACE].assign(element="exon"),
            introns[_PLACE].assign(element="intron"),
            *_splice_sites(introns, rules.splice_bp),
            *_untranslated(exons, coding),
        ],
        ignore_index=True,
    )


def of_regulation(
    regulatory: pd.DataFrame, *, invariant: pd.Series | None
) -> pd.DataFrame:
    """CTCF sites, promoters and enhancers.

    Args:
        regulatory: chrom, start, end, kind ("promoter", "enhancer", "CTCF"; others are
            left out) as `regulatory.read_regulatory` returns them.
        invariant: which rows are tissue-invariant; None where that is not known:
            promoters and enhancers are left out.
    """
    kind = regulatory["kind"]
    element = kind.map({"CTCF": "CTCF-bound"})
    if invariant is not None:
        breadth = invariant.map({True: "_Tissue_invariant", False: "_Tissue_specific"})
        split = kind.isin(["promoter", "enhancer"])
        element = element.where(~split, kind + breadth)
    return regulatory[_PLACE].assign(element=element)[element.notna()]


def touches(elements: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
    """Which elements share a base with any of the others (chrom, start, end)."""
    rows, _ = intervals.overlapping(elements[_PLACE], others[_PLACE])
    found = np.zeros(len(elements), bool)
    found[rows] = True
    return pd.Series(found, elements.index)


def open_in(
    elements: pd.DataFrame, samples: Sequence[pd.DataFrame], share: float
) -> pd.Series:
    """Which elements share a base with open regions in enough of the samples.

    Args:
        elements: chrom, start, end.
        samples: the open regions (chrom, start, end) of each.
        share: of the samples that is enough.

    Raises:
        InputError: there is no sample.
    """
    if not samples:
        raise InputError("samples", "there is none", "Give open regions of several")
    count = sum(touches(elements, sample).astype(int) for sample in samples)
    # 7 of 25 are .28 of them, whatever floating point makes of it.
    return count >= math.ceil(share * len(samples) - 1e-9)


class Painter:
    """Elements of a genome as labels of its bases.

    A label is a number of 14 bits; bit i says whether the base is of `ELEMENTS[i]`.
    """

    def __init__(self, elements: pd.DataFrame):
        """Sorts the elements and joins what overlaps.

        Args:
            elements: chrom, start, end (0-based, half-open, bp) and element.
        """
        self._merged = {
            (chrom, number): merge(group["start"].to_numpy(), group["end"].to_numpy())
            for number, name in enumerate(ELEMENTS)
            for chrom, group in elements[elements["element"] == name].groupby("chrom")
        }

    def paint(self, chrom: str, start: int, end: int) -> UInt16[np.ndarray, " bases"]:
        """Labels of the bases from `start` to `end`."""
        labels = np.zeros(end - start, np.uint16)
        for number in range(len(ELEMENTS)):
            places = self._merged.get((chrom, number))
            if places is None:
                continue
            first = np.searchsorted(places[:, 1], start, side="right")
            last = np.searchsorted(places[:, 0], end, side="left")
            for low, high in np.clip(places[first:last] - start, 0, len(labels)):
                labels[low:high] |= np.uint16(1 << number)
        return labels


def merge(
    start: Int64[np.ndarray, " places"], end: Int64[np.ndarray, " places"]
) -> Int64[np.ndarray, "merged 2"]:
    """Disjoint places that cover the same bases, in order."""
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(end[order])
    begins = np.flatnonzero(np.append(True, start[1:] > reach[:-1]))
    ends = np.append(begins[1:], len(start)) - 1
    return np.stack([start[begins], reach[ends]], axis=1).astype(np.int64)


def bits(names: Iterable[str]) -> int:
    """The label of a base that is of all these elements.

    Raises:
        InputError: a name that is none of `ELEMENTS`.
    """
    label = 0
    for name in names:
        if name not in ELEMENTS:
            problem = f"{name!r} is no element"
            raise InputError("elements", problem, f"Name some of {', '.join(ELEMENTS)}")
        label |= 1 << ELEMENTS.index(name)
    return label


def names(label: int) -> tuple[str, ...]:
    """The elements of a label, in order; other bits do not matter."""
    return tuple(name for i, name in enumerate(ELEMENTS) if label >> i & 1)


def _introns(exons: pd.DataFrame) -> pd.DataFrame:
    """Gaps between exons of one transcript that follow each other.

    A transcript on two chromosomes (the pseudo-autosomal regions of X and Y) is two.
    """
    exons = exons.sort_values(["chrom", "transcript", "start", "end"])
    follows = exons[["chrom", "transcript"]].eq(exons[["chrom", "transcript"]].shift())
    start = exons.groupby(["chrom", "transcript"])["end"].cummax().shift()
    gaps = exons.assign(start=start, end=exons["start"])
    found = follows.all(axis=1) & (start < exons["start"])
    return gaps[found].astype({"start": np.int64})


def _splice_sites(introns: pd.DataFrame, size: int) -> list[pd.DataFrame]:
    """Donors and acceptors of the introns that are long enough for both."""
    enough = introns["end"] - introns["start"] >= 2 * size
    first = introns[_PLACE].assign(end=introns["start"] + size)[enough]
    last = introns[_PLACE].assign(start=introns["end"] - size)[enough]
    forward = introns["strand"][enough] == "+"
    return [
        pd.concat([first[forward], last[~forward]]).assign(element="splice_donor"),
        pd.concat([last[forward], first[~forward]]).assign(element="splice_acceptor"),
    ]


def _untranslated(exons: pd.DataFrame, coding: pd.DataFrame) -> list[pd.DataFrame]:
    """5' and 3' UTRs of the transcripts that have coding sequence."""
    key = ["chrom", "transcript"]
    span = coding.groupby(key).agg(low=("start", "min"), high=("end", "max"))
    exons = exons.join(span, on=key, how="inner").astype({"low": int, "high": int})
    before = exons.assign(end=exons["end"].clip(upper=exons["low"]))
    behind = exons.assign(start=exons["start"].clip(lower=exons["high"]))
    forward = exons["strand"] == "+"
    ends = {
        "5UTR": pd.concat([before[forward], behind[~forward]]),
        "3UTR": pd.concat([behind[forward], before[~forward]]),
    }
    return [
        part.loc[part["start"] < part["end"], _PLACE].assign(element=name)
        for name, part in ends.items()
    ]
