"""A made-up genome with its annotation: all fourteen elements, and DNA that tells them.

Every kind of stretch is written in words of its own, mixed with random letters, so that
a model can learn from little what annotation says of a real genome. Words of genes on
the reverse strand are written there. Nothing here resembles biology beyond the layout.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from scmultimodal.genome.composition import reverse_complement
from scmultimodal.schemas.errors import InputError

WORD = 8
_WORDS = 6
"""Words of each kind of stretch."""
_DENSITY = 0.5
"""Share of a stretch that its words make up."""
_KINDS = (
    *("intron", "exon", "5UTR", "3UTR", "lncRNA", "lncRNA_exon"),
    *("enhancer_specific", "enhancer_invariant"),
    *("promoter_specific", "promoter_invariant"),
    "CTCF",
)
_DONOR, _ACCEPTOR = "GTAAGTAT", "CTTTTTTTTTCAG"
_POLYA, _DOWNSTREAM = "AATAAA", "TGTTTGTGTT"
"""A signal, and what stands ten bases behind it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimulatedGenome:
    """Files of a made-up genome, as public sources publish theirs.

    Attributes:
        fasta: the sequence; chromosomes chr1, chr2 …
        gtf: genes, exons and coding sequence, as GENCODE has them.
        polya: polyA signals, as GENCODE has them.
        regulatory: cis-regulatory elements, as ENCODE has them.
        invariant: regions that are open in every tissue: BED.
    """

    fasta: Path
    gtf: Path
    polya: Path
    regulatory: Path
    invariant: Path


def simulate_genome(
    folder: Path, *, chromosomes: int = 3, length_bp: int = 60_000, seed: int = 0
) -> SimulatedGenome:
    """Writes a made-up genome into a folder.

    Args:
        folder: made if it is not there.
        chromosomes: how many.
        length_bp: about how long each is.
        seed: of everything.

    Raises:
        InputError: there would be no gene.
    """
    if chromosomes < 1 or length_bp < 10_000:
        problem = f"is asked for {chromosomes} chromosomes of {length_bp:,} bp"
        raise InputError("genome", problem, "Ask for 1 or more, of 10,000 or more")
    rng = np.random.default_rng(seed)
    letters = rng.choice(np.frombuffer(b"ACGT", np.uint8), (len(_KINDS), _WORDS, WORD))
    words = dict(zip(_KINDS, letters, strict=True))
    written = [
        _Chromosome(f"chr{number + 1}", words, rng).write(length_bp)
        for number in range(chromosomes)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "genome.fa": [line for c in written for line in c.fasta()],
        "genes.gtf": [line for c in written for line in c.gtf],
        "polya.gtf": [line for c in written for line in c.polya],
        "regulatory.bed": [line for c in written for line in c.regulatory],
        "invariant.bed": [line for c in written for line in c.invariant],
    }
    for name, lines in texts.items():
        (folder / name).write_text("".join(line + "\n" for line in lines))
    fasta, gtf, polya, regulatory, invariant = (folder / name for name in texts)
    return SimulatedGenome(
        fasta=fasta, gtf=gtf, polya=polya, regulatory=regulatory, invariant=invariant
    )


class _Chromosome:
    """Letters of one chromosome, and the lines of its annotation so far."""

    def __init__(
        self,
        name: str,
        words: dict[str, UInt8[np.ndarray, "words letters"]],
        rng: np.random.Generator,
    ):
        self.name, self._words, self._rng = name, words, rng
        self._parts: list[str] = []
        self._length = self._genes = 0
        self.gtf: list[str] = []
        self.polya: list[str] = []
        self.regulatory: list[str] = []
        self.invariant: list[str] = []

    def write(self, length_bp: int) -> "_Chromosome":
        """Genes of both kinds and strands in turn, and what lies between them."""
        while self._length < length_bp:
            self._between_genes()
            coding, forward = self._genes % 3 < 2, self._rng.random() < 0.5
            if forward:
                self._element("promoter", "PLS")
            self._gene(coding, forward)
            if not forward:
                self._element("promoter", "PLS")
        self._add(self._noise(400))
        return self

    def fasta(self) -> list[str]:
        """Lines of the sequence."""
        text = "".join(self._parts)
        return [f">{self.name}", *(text[i : i + 60] for i in range(0, len(text), 60))]

    def _between_genes(self) -> None:
        for _ in range(self._rng.integers(1, 3)):
            self._add(self._noise(self._size(150, 500)))
            self._element("enhancer", "dELS")
            self._add(self._noise(self._size(150, 500)))
            start = self._add(self._written("CTCF", self._size(60, 120)))
            self._regulatory_line(start, "CTCF-only,CTCF-bound")
        self._add(self._noise(self._size(150, 500)))

    def _element(self, kind: str, label: str) -> None:
        breadth = "invariant" if self._rng.random() < 0.5 else "specific"
        text = self._written(f"{kind}_{breadth}", self._size(200, 400))
        start = self._add(text)
        self._regulatory_line(start, label)
        if breadth == "invariant":
            middle = (start + self._length) // 2
            self.invariant.append(f"{self.name}\t{middle - 30}\t{middle + 30}")

    def _regulatory_line(self, start: int, label: str) -> None:
        name = f"{self.name}E{len(self.regulatory)}"
        fields = (self.name, start, self._length, f"D{name}", f"E{name}", label)
        self.regulatory.append("\t".join(map(str, fields)))

    def _gene(self, coding: bool, forward: bool) -> None:
        """A gene in the direction of its strand, then turned where it is reversed."""
        exon, intron = ("exon", "intron") if coding else ("lncRNA_exon", "lncRNA")
        text, exons, coded = "", [], (0, 0)
        count = int(self._rng.integers(3, 7))
        for number in range(count):
            start = len(text)
            if coding and number == 0:
                text += self._written("5UTR", self._size(60, 140))
                coded = (len(text), 0)
            text += self._written(exon, self._size(60, 150))
            if number == count - 1:
                if coding:
                    coded = (coded[0], len(text))
                    text += self._written("3UTR", self._size(80, 180))
                signal = len(text)
                text += _POLYA + self._noise(10) + _DOWNSTREAM
            exons.append((start, len(text)))
            if number < count - 1:
                middle = self._written(intron, self._size(80, 200))
                text += _DONOR + middle + _ACCEPTOR
        size = len(text)
        start = self._add(text if forward else reverse_complement(text))

        def place(low: int, high: int) -> tuple[int, int]:
            low, high = (low, high) if forward else (size - high, size - low)
            return start + low, start + high

        self._gene_lines(coding, forward, place, exons, coded, size)
        self._gff(self.polya, "polyA_signal", place(signal, signal + 6), forward, "")

    def _gene_lines(
        self,
        coding: bool,
        forward: bool,
        place: Callable[[int, int], tuple[int, int]],
        exons: Sequence[tuple[int, int]],
        coded: tuple[int, int],
        size: int,
    ) -> None:
        """Lines of the GTF; `place` tells where letters of the gene ended up."""
        self._genes += 1
        gene = f"{self.name}G{self._genes}"
        biotype = "protein_coding" if coding else "lncRNA"
        of_gene = f'gene_id "{gene}"; gene_type "{biotype}"; gene_name "{gene}";'
        of_transcript = f'{of_gene} transcript_id "{gene}T1"; tag "basic";'
        self._gff(self.gtf, "gene", place(0, size), forward, of_gene)
        self._gff(self.gtf, "transcript", place(0, size), forward, of_transcript)
        for low, high in exons:
            self._gff(self.gtf, "exon", place(low, high), forward, of_transcript)
            low, high = max(low, coded[0]), min(high, coded[1])
            if low < high:
                self._gff(self.gtf, "CDS", place(low, high), forward, of_transcript)

    def _gff(
        self,
        lines: list[str],
        feature: str,
        place: tuple[int, int],
        forward: bool,
        attributes: str,
    ) -> None:
        strand = "+" if forward else "-"
        fields = (self.name, "made up", feature, place[0] + 1, place[1], ".")
        lines.append("\t".join([*map(str, fields), strand, ".", attributes]))

    def _add(self, text: str) -> int:
        """Appends letters; returns where they begin."""
        start = self._length
        self._parts.append(text)
        self._length += len(text)
        return start

    def _size(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high))

    def _noise(self, size: int) -> str:
        return (
            self._rng.choice(np.frombuffer(b"ACGT", np.uint8), size).tobytes().decode()
        )

    def _written(self, kind: str, size: int) -> str:
        """Words of a kind at random places, the first of them at the beginning."""
        parts, length = [], 0
        while length < size:
            word = self._words[kind][self._rng.integers(_WORDS)].tobytes().decode()
            gap = int(self._rng.exponential(WORD * (1 - _DENSITY) / _DENSITY))
            parts += [word, self._noise(gap)]
            length += WORD + gap
        return "".join(parts)[:size]
