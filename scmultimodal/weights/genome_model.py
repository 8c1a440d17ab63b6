"""A genome model as a folder that needs no training code: no pickle, no Orbax.

config.json            what the model is, and the sha256 of the files beside it
model.safetensors      "params/<module>/<name>"
reference.safetensors  tokens of a few sequences and what the model made of them
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scmultimodal.data.region_loading import SequenceTurner, Turning
from scmultimodal.genome.elements import ELEMENTS
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.modules.heads.accessibility import ScorerConfig
from scmultimodal.modules.heads.segmentation import SegmentationHeadConfig
from scmultimodal.modules.nucleotide_transformer import NucleotideTransformerConfig
from scmultimodal.schemas import configs
from scmultimodal.schemas.batches import Array
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import folder as folders

FORMAT, FORMAT_VERSION = "scmultimodal genome model", 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmenterConfig:
    """A head that tells which elements a base is of, and what it was trained on.

    Attributes:
        head: its shape.
        elements: their names, in its order.
        unlearned: those that no annotation told in training: the head says nothing of
            them.
        window_bp: length of the windows it was trained on.
    """

    head: SegmentationHeadConfig
    elements: tuple[str, ...] = ELEMENTS
    unlearned: tuple[str, ...] = ()
    window_bp: int = 3_000

    def __post_init__(self):
        if len(self.elements) != self.head.num_elements:
            raise ValueError(
                f"{len(self.elements)} names for {self.head.num_elements} elements"
            )
        if unknown := set(self.unlearned) - set(self.elements):
            raise ValueError(f"{sorted(unknown)} are none of {self.elements}")

    @property
    def learned(self) -> tuple[str, ...]:
        """The elements that it tells, in its order."""
        return tuple(name for name in self.elements if name not in self.unlearned)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenomeModelConfig:
    """What a stored genome model is.

    Attributes:
        encoder: shape of the encoder.
        tokens: the vocabulary, see `KmerTokenizer`.
        k: letters of a k-mer.
        scorer: shape of the accessibility head; None where there is none.
        num_tokens: tokens that the head reads.
        cell_types: names of its outputs, where it has one for each.
        turning: how training varied what the head reads of a sequence; a score is the
            mean over its views, as a judgement is.
        segmenter: the head that tells elements; None where there is none.
        provenance: where the weights come from; for people.
    """

    encoder: NucleotideTransformerConfig
    tokens: Literal["v1", "v2"] = "v2"
    k: int = 6
    scorer: ScorerConfig | None = None
    num_tokens: int | None = None
    cell_types: tuple[str, ...] = ()
    turning: Turning = dataclasses.field(default_factory=Turning)
    segmenter: SegmenterConfig | None = None
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        found, expected = self.encoder.vocabulary_size, self.tokenizer.vocabulary_size
        if found != expected:
            raise ValueError(
                f"an encoder of {found} tokens for {expected} of "
                f"{self.tokens} with k = {self.k}"
            )
        if (self.scorer is None) != (self.num_tokens is None):
            raise ValueError("scorer and num_tokens go together")
        outputs = None if self.scorer is None else self.scorer.outputs
        if len(self.cell_types) != (outputs or 0):
            raise ValueError(
                f"{len(self.cell_types)} cell types for {outputs or 0} outputs"
            )
        if self.num_tokens is not None:
            _ = self.turner  # refuses a crop that is no multiple of k

    @property
    def tokenizer(self) -> KmerTokenizer:
        """Sequences to the tokens that the encoder knows."""
        return KmerTokenizer(self.tokens, self.k)

    @property
    def turner(self) -> SequenceTurner:
        """Shows sequences to the head in every view, as judgements do.

        It pads at the end, which those who padded at random in training have seen too:
        a score depends on nothing but its sequence.

        Raises:
            ValueError: the model has no head.
        """
        if self.num_tokens is None:
            raise ValueError("a model without a scorer shows no sequences")
        return SequenceTurner(
            tokenizer=self.tokenizer,
            prepared_tokens=self.num_tokens + self.turning.crop_bp // self.k,
            turning=self.turning,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredGenomeModel:
    """A genome model in memory, as it is on disk.

    Attributes:
        config: what it is.
        params: {module: {name: array}}, of numpy or on the device.
        reference: "token_ids" [sequences, tokens], with a scorer "scored_token_ids"
            too, with a segmenter "segmented_token_ids", and outputs by name.
    """

    config: GenomeModelConfig
    params: Mapping[str, Mapping[str, Array]]
    reference: Mapping[str, np.ndarray]


def save(
    model: StoredGenomeModel,
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
        tensors = folders.flatten("params", model.params)
        folders.write_tensors(new / folders.TENSORS, tensors)
        folders.write_tensors(new / folders.REFERENCE, model.reference)
    return folder


def is_model(folder: str | os.PathLike) -> bool:
    """Whether a folder is, or holds as a run does, a model that was written here.

    Raises:
        InputError: a config.json that cannot be read.
    """
    folder = Path(folder)
    config = folder / folders.CONFIG
    if config.is_file():
        return "format" in folders.read_json(config)
    return (folder / "model" / folders.CONFIG).is_file()


def load(folder: str | os.PathLike) -> StoredGenomeModel:
    """Reads a model folder and checks every file against its sha256.

    Args:
        folder: a model folder, a run folder with one in it, or hf://owner/name.

    Raises:
        InputError: a file that is missing, damaged or of another version.
    """
    folder = folders.find(folder)
    if not is_model(folder):
        raise InputError(
            folder,
            "was not written by scmultimodal",
            "Read a published model by GenomeModel.from_nucleotide_transformer",
        )
    fields = folders.open_checked(
        folder,
        format=FORMAT,
        version=FORMAT_VERSION,
        files=(folders.TENSORS, folders.REFERENCE),
    )
    source = str(folder / folders.CONFIG)
    tensors = folders.read_tensors(folder / folders.TENSORS)
    return StoredGenomeModel(
        config=configs.from_json(GenomeModelConfig, fields, source=source),
        params=folders.unflatten("params", tensors),
        reference=folders.read_tensors(folder / folders.REFERENCE),
    )
