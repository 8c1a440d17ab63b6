"""A cell model as a folder that needs no training code: no pickle, no Orbax.

config.json            what the model is, and the sha256 of the files beside it
vocabulary.json        genes, their places, medians, and how counts become bins
peaks.json             the peaks that it reads as tokens, where it does
model.safetensors      "params/<module>/<name>" and "state/<module>/<name>"
reference.safetensors  bins of a few cells, their open peaks where it reads them, and
                       what the model made of them
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scmultimodal.data import peak_vocabulary
from scmultimodal.data.peak_tokens import PeakTokenConfig
from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.modules.heads.counts import CountDecoderConfig
from scmultimodal.modules.heads.gene_query import GeneQueryConfig
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import folder as folders

FORMAT, FORMAT_VERSION = "scmultimodal cell model", 2
TENSORS, REFERENCE, VOCABULARY = folders.TENSORS, folders.REFERENCE, "vocabulary.json"

Tree = folders.Tree
find = folders.find


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenesTold:
    """What tells the expression of genes from a cell's open peaks.

    Attributes:
        head: its shape.
        log_odds: of a gene being expressed in a training cell, where it learned from as
            many expressed genes as silent ones, and is to be corrected; else 0.
    """

    head: GeneQueryConfig
    log_odds: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValuesTold:
    """What tells how much of a gene a cell has from its open peaks.

    Attributes:
        head: its shape; its one bin is the value.
        depth: counts of a cell that values are at, before log1p.
    """

    head: GeneQueryConfig
    depth: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What a stored model is.

    Attributes:
        encoder: shape of the trunk.
        head: shape of the cell-type head; None where the model knows no cell types.
        decoder: shape of what tells counts from a cell's vector; None where it was not
            trained.
        genes_told: what tells expression from open peaks; None where none was trained.
        classes: names of the cell types, in the order of the logits.
        modalities: the paths that were trained.
        feature_order: order of the genes where tokens are all genes.
        buckets: numbers of tokens that a batch may be padded to.
        peak_tokens: how many open peaks of a cell are shown, where any are.
        provenance: data, revision and versions; for people.
        values_told: what tells values of expression from open peaks; None where none
            was trained.
    """

    encoder: CellEncoderConfig
    head: CellTypeHeadConfig | None = None
    decoder: CountDecoderConfig | None = None
    genes_told: GenesTold | None = None
    classes: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ("rna", "atac")
    feature_order: str = "fixed"
    buckets: tuple[int, ...] | None = None
    peak_tokens: PeakTokenConfig | None = None
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    values_told: ValuesTold | None = None

    def __post_init__(self):
        if self.head is not None and self.head.num_classes != len(self.classes):
            raise ValueError(
                f"{self.head.num_classes} logits for {len(self.classes)} cell types"
            )
        if not set(self.modalities) <= {"rna", "atac"} or not self.modalities:
            raise ValueError(f"modalities must be rna, atac or both: {self.modalities}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredModel:
    """A model in memory, as it is on disk.

    Attributes:
        config: what it is.
        vocabulary: its genes and how counts become bins.
        peaks: those that it reads as tokens; None where it reads none.
        params: {module: {name: array}}.
        network_state: the same, for what was not learned.
        reference: "rna" and "atac" bins [cells, genes], "peaks" [cells, peaks], 1 where
            open, and outputs by name.
    """

    config: ModelConfig
    vocabulary: GeneVocabulary
    params: Tree
    network_state: Tree
    reference: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    peaks: PeakVocabulary | None = None

    def tells_counts(self, modality: str) -> bool:
        """Whether it was trained to tell counts of a modality; not of open peaks."""
        decodes = f"count_decoder/{modality}_genes" in self.params
        return decodes and modality in self.config.modalities


def save(
    model: StoredModel,
    folder: str | os.PathLike,
    companions: Mapping[str, bytes] | None = None,
) -> Path:
    """Writes a model folder, whole or not at all; an older model there is replaced.

    Args:
        model: what to write.
        folder: where.
        companions: further files by name; see `weights.folder`.

    Raises:
        InputError: where `folder` holds something else than such a model, or files of
            somebody's beside it.
    """
    folder = Path(folder)
    with folders.writing(
        folder,
        format=FORMAT,
        version=FORMAT_VERSION,
        config=model.config,
        companions=companions or {},
    ) as new:
        folders.write_tensors(
            new / TENSORS,
            folders.flatten("params", model.params)
            | folders.flatten("state", model.network_state),
        )
        folders.write_tensors(new / REFERENCE, model.reference)
        model.vocabulary.save(new)
        if model.peaks is not None:
            model.peaks.save(new)
    return folder


def load(folder: str | os.PathLike) -> StoredModel:
    """Reads a model folder and checks every file against its sha256.

    Args:
        folder: a model folder, a run folder with one in it, or hf://owner/name.

    Raises:
        InputError: a file that is missing, damaged or of another version.
    """
    folder = find(folder)
    files = [TENSORS, REFERENCE, VOCABULARY]
    if (folder / peak_vocabulary.FILE_NAME).exists():
        files.append(peak_vocabulary.FILE_NAME)
    fields = folders.open_checked(
        folder, format=FORMAT, version=FORMAT_VERSION, files=files
    )
    source = str(folder / "config.json")
    config = configs.from_json(ModelConfig, fields, source=source)
    vocabulary = GeneVocabulary.load(folder)
    if vocabulary.num_genes != config.encoder.num_genes:
        raise InputError(
            folder,
            f"has {vocabulary.num_genes} genes in its vocabulary and "
            f"{config.encoder.num_genes} in its encoder",
            folders.REMEDY,
        )
    peaks = PeakVocabulary.load(folder) if config.encoder.peaks else None
    if peaks is not None and peaks.num_peaks != config.encoder.peaks.num_peaks:
        raise InputError(
            folder,
            f"has {peaks.num_peaks} peaks in its vocabulary and "
            f"{config.encoder.peaks.num_peaks} in its encoder",
            folders.REMEDY,
        )
    tensors = folders.read_tensors(folder / TENSORS)
    return StoredModel(
        config=config,
        vocabulary=vocabulary,
        peaks=peaks,
        params=folders.unflatten("params", tensors),
        network_state=folders.unflatten("state", tensors),
        reference=folders.read_tensors(folder / REFERENCE),
    )
