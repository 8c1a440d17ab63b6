"""DNase-seq over 65 regions of the human genome, with their sequence."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float32

from scmultimodal.datasets import files
from scmultimodal.genome.region_splits import read_region_split

_FOLDER = "dna_hg38_regions"
_SHA256 = {
    "hg38_65x131kb.fa.gz": (
        "d8b4954f80d6d13033aba23212f5ba4d95f2a86fb6f219d5fa3ff9d0e1c302ba"
    ),
    "regions.tsv": ("3bbcb920cba7b682f2c7af5b9f9b9a890508c16343c5158b56d0feb6add97c34"),
    "targets.tsv": ("9d676dac3a31b0a65b27ae21309c52c76a9d0abc3f8aad3474e54f716d9d96e4"),
    "tracks_32bp_float16.npz": (
        "6260be2f39be7d0f1118ee1a6c50e685a4ec84122307d20e499eb23793ee33bf"
    ),
}
_BIN_BP = 32


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class AccessibleGenome:
    """Stretches of a genome whose accessibility was measured, bin by bin.

    Attributes:
        name: of the data set.
        fasta: sequence of the stretches.
        regions: chrom, start, end, split of each stretch; target_start and target_end
            of the part that was measured.
        signal: coverage.
        bin_bp: width of a bin.
        tracks: names of the samples.
    """

    name: str
    fasta: Path
    regions: pd.DataFrame
    signal: Float32[np.ndarray, "regions bins tracks"]
    bin_bp: int
    tracks: tuple[str, ...]


def dnase_regions() -> AccessibleGenome:
    """DNase-seq of ten human samples over 65 × 65,536 bp of hg38, in bins of 32 bp.

    The sequence reaches 32,768 bp beyond the measured part on either side. Split
    45 / 10 / 10. Coverage as Borzoi trains on it, squashed and clipped.

    Source: test data of calico/baskerville (Apache-2.0); cite Linder et al. 2025,
    doi:10.1038/s41588-024-02053-6. The files are decoded from TFRecords and are found
    in the folder `dna_hg38_regions` below SCMULTIMODAL_DATA.

    Raises:
        DataUnavailableError: SCMULTIMODAL_DATA is not set.
        InputError: where a file is missing there or differs from the known one.
    """
    path = {name: files.known(_FOLDER, name, _SHA256[name]) for name in _SHA256}
    targets = pd.read_csv(path["targets.tsv"], sep="\t", index_col=0)
    is_dnase = targets["description"].str.startswith("DNASE:").to_numpy()
    with np.load(path["tracks_32bp_float16.npz"], allow_pickle=False) as arrays:
        signal = arrays["tracks"][:, :, is_dnase].astype(np.float32)
    places = pd.read_csv(path["regions.tsv"], sep="\t")
    target = places[["target_start", "target_end"]]
    return AccessibleGenome(
        name=_FOLDER,
        fasta=path["hg38_65x131kb.fa.gz"],
        regions=read_region_split(path["regions.tsv"]).join(target),
        signal=signal,
        bin_bp=_BIN_BP,
        tracks=tuple(targets["description"][is_dnase].str.removeprefix("DNASE:")),
    )
