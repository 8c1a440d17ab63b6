"""The genome model as a user meets it: sequences or tokens in, arrays out."""

import dataclasses
import os
import re
import typing
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Integer
from numpy.typing import ArrayLike

from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.genome.letters import as_letters
from scmultimodal.models import arguments
from scmultimodal.modules.heads.accessibility import ScorerName
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import genome_model
from scmultimodal.weights import nucleotide_transformer as published
from scmultimodal.workflows import genome_inference, segmentation_inference
from scmultimodal.workflows.segmentation_inference import StitchingConfig

Overflow = Literal["warn", "cut", "raise"]

_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class GenomeModel:
    """An encoder of DNA, with or without heads for accessibility and elements.

        model = GenomeModel.from_nucleotide_transformer("nt-v2-50m/")
        tokens = model.tokenizer.encode_batch(["ACGTTGCA"], length=501)
        vectors = model.encode(tokens.ids)

    It brings its tokenizer along; `score` and `segment` take letters.
    """

    def __init__(self, stored: genome_model.StoredGenomeModel):
        """Wraps a model that is in memory; see `load`."""
        self._stored = stored

    @classmethod
    def from_nucleotide_transformer(cls, source: str | os.PathLike) -> "GenomeModel":
        """Reads a published Nucleotide Transformer.

        Args:
            source: its folder; or its name ("v2-50m-multi-species"), which needs the
                `hub` extra. A pickle in the folder is read, and never executed.

        Raises:
            InputError: there is none, or it is broken or unsafe.
        """
        folder = Path(source)
        if folder.is_dir():
            name = folder.resolve().name
        elif not folder.exists() and _NAME.fullmatch(name := str(source)):
            folder = published.download(name)
        else:
            raise InputError(source, "is no folder", "Give the published folder")
        return cls(genome_inference.from_published(folder, source=name))

    @classmethod
    def load(cls, path: str | os.PathLike) -> "GenomeModel":
        """Reads a model that `save` wrote, or the model of a run folder.

        Args:
            path: the folder; or "hf://owner/name", see `CellModel.load`.

        Raises:
            InputError: no model there, or a file of it is damaged.
        """
        return cls(genome_model.load(path))

    @classmethod
    def fit_ranking(
        cls,
        spans: str | os.PathLike,
        *,
        out: str | os.PathLike,
        start: "GenomeModel | None" = None,
        preset: str = "small",
        head: str = "linear",
        frozen: bool = False,
        steps: int | None = None,
        seed: int = 0,
    ) -> "GenomeModel":
        """Trains an encoder and a scorer to order the regions of spans.

            model = GenomeModel.fit_ranking("data/spans", start=nt, out="runs/ranking")

        It is judged beside ridge and single features by the study
        `genome_model.region_ranking`.

        Args:
            spans: a folder that `scmultimodal prepare-ranking` wrote.
            out: run folder: metrics of training and validation spans, checkpoints,
                `model/`. It goes on where it was ended.
            start: whose encoder to start from; None starts afresh.
            preset: numbers: "small" or "study".
            head: "linear", "transformer", "unet" or "convolutional".
            frozen: leaves the encoder as it is.
            steps: updates; None takes the preset's.
            seed: of head and batches.

        Raises:
            InputError: an argument, data or a folder that break a rule.
        """
        # With what trains, which a model that is loaded does without.
        from scmultimodal.workflows import genome_fit, genome_presets

        arguments.check("preset", preset, genome_presets.GENOME_PRESETS)
        arguments.check("head", head, typing.get_args(ScorerName))
        numbers = genome_presets.GENOME_PRESETS[preset].ranking
        config = dataclasses.replace(
            numbers,
            scorer=dataclasses.replace(numbers.scorer, name=head),
            encoder="frozen" if frozen else "trained",
            steps=numbers.steps if steps is None else steps,
            seed=seed,
        )
        stored = None if start is None else start._stored
        return cls(genome_fit.fit_ranking(Path(spans), config, Path(out), start=stored))

    @classmethod
    def fit_segmentation(
        cls,
        elements: str | os.PathLike,
        *,
        out: str | os.PathLike,
        start: "GenomeModel | None" = None,
        preset: str = "small",
        frozen: bool = False,
        steps: int | None = None,
        seed: int = 0,
    ) -> "GenomeModel":
        """Trains an encoder and a U-Net to tell the elements of every base.

        Args:
            elements: a folder that `scmultimodal prepare-segmentation` wrote.
            out: run folder, as for `fit_ranking`; `parameters.txt` in it says what
                became of each parameter of `start`.
            start: whose encoder to start from, such as one that was ranked.
            preset: numbers: "small" or "study".
            frozen: leaves the encoder as it is.
            steps: updates; None takes the preset's.
            seed: of head and windows.

        Raises:
            InputError: an argument, data or a folder that break a rule.
        """
        from scmultimodal.workflows import genome_fit, genome_presets

        arguments.check("preset", preset, genome_presets.GENOME_PRESETS)
        numbers = genome_presets.GENOME_PRESETS[preset].segmentation
        config = dataclasses.replace(
            numbers,
            encoder_rate=0.0 if frozen else numbers.encoder_rate,
            steps=numbers.steps if steps is None else steps,
            seed=seed,
        )
        stored = None if start is None else start._stored
        return cls(
            genome_fit.fit_segmentation(Path(elements), config, Path(out), start=stored)
        )

    def save(self, path: str | os.PathLike) -> Path:
        """Writes the model as a folder of safetensors and JSON.

        An older model that stands there is replaced.

        Raises:
            InputError: the folder holds something else, or files beside the model.
        """
        return genome_model.save(self._stored, path)

    @property
    def config(self) -> genome_model.GenomeModelConfig:
        """What the model is."""
        return self._stored.config

    @property
    def tokenizer(self) -> KmerTokenizer:
        """Sequences to tokens."""
        return self.config.tokenizer

    @property
    def num_parameters(self) -> int:
        """Parameters, those of all heads included."""
        return sum(
            a.size for leaves in self._stored.params.values() for a in leaves.values()
        )

    def encode(
        self,
        token_ids: Integer[np.ndarray, "sequences tokens"],
        *,
        layer: int | None = None,
        rescale: bool = False,
        batch_size: int = 16,
        progress: bool = True,
    ) -> Float32[np.ndarray, "sequences tokens dim"]:
        """A vector for each token of each sequence, PAD rows as in the reference.

        Args:
            token_ids: as `tokenizer` makes them; PAD may stand on both sides.
            layer: take the vectors after this layer, counted from 1; 0 is what enters
                the first. None, and the last, are after the final LayerNorm.
            rescale: read rows that are longer than those of training, their rotary
                positions rescaled by how much longer, as SegmentNT does. It depends on
                the length of the rows, PAD included; no other rows change.
            batch_size: sequences per step.
            progress: shows a bar, in a terminal, where it takes long.

        Raises:
            InputError: tokens that the model does not know, more of them than it was
                trained on where `rescale` is false or positions are learned, or no
                such layer.
        """
        encoder = self.config.encoder
        if layer is not None and not 0 <= layer <= encoder.num_layers:
            raise InputError(
                "layer", f"is {layer}", f"Choose one from 0 to {encoder.num_layers}"
            )
        token_ids = self._check(token_ids)
        self._check_length(token_ids.shape[1], rescale)
        _check_batch_size(batch_size)
        return genome_inference.encode(
            self._stored,
            token_ids,
            layer=layer,
            rescale=rescale,
            batch_size=batch_size,
            describe="encode" if progress else None,
        )

    def score(
        self,
        sequences: Sequence[str],
        *,
        cell_type: str | None = None,
        overflow: Overflow = "warn",
        batch_size: int = 16,
        progress: bool = True,
    ) -> Float32[np.ndarray, "sequences ..."]:
        """How accessible each sequence is; only differences mean something.

        Of a model that scores each cell type by itself, a column for each of
        `cell_types`, or that of one.

        A score is what the accuracy of the model was measured by: the mean over every
        frame of k-mers and both strands, where training varied them; twelve passes, for
        6-mers. A sequence is padded at the end: its score does not depend on others.

        Args:
            sequences: DNA; give as many bp as the regions that the model was trained
                on, with the peak in the middle where it was there.
            cell_type: one of `cell_types`; None takes all that there are.
            overflow: what happens where sequences have more tokens than the model
                reads: "warn" leaves their ends out and says how many these are, "cut"
                says nothing, "raise" raises.
            batch_size: sequences per step.
            progress: shows a bar for each pass, in a terminal, where it takes long.

        Raises:
            InputError: the model has no scorer, or does not know the cell type; a
                sequence is no DNA, or is too long where `overflow` is "raise".
        """
        genome_inference.require_scorer(self._stored)
        _check_batch_size(batch_size)
        known = self.config.cell_types
        if cell_type is not None and cell_type not in known:
            raise InputError(
                "cell_type",
                f"is {cell_type!r}",
                f"Take one of {', '.join(known)}"
                if known
                else "The model has one score for all: leave it out",
            )
        arguments.check("overflow", overflow, typing.get_args(Overflow))
        if isinstance(sequences, str):
            raise InputError("sequences", "are one text", "Give a list of texts")
        for sequence in sequences:
            _check_text(sequence)
        length = self.config.turner.prepared_tokens
        tokens = self.tokenizer.encode_batch(sequences, length)
        if tokens.cut and overflow != "cut":
            self._report(tokens.cut, len(sequences), overflow)
        scores = genome_inference.score_views(
            self._stored, tokens.ids, batch_size=batch_size, progress=progress
        )
        if not known:
            return scores[:, 0]
        return scores if cell_type is None else scores[:, known.index(cell_type)]

    @property
    def cell_types(self) -> tuple[str, ...]:
        """Whose accessibility `score` tells apart; empty where one score is for all."""
        return self.config.cell_types

    def segment(
        self,
        sequence: str,
        *,
        window_bp: int | None = None,
        margin_bp: int | None = None,
        both_strands: bool = False,
        batch_size: int = 8,
        progress: bool = True,
    ) -> Float32[np.ndarray, "bases elements"]:
        """Probability of every element at every base; names are in `elements`.

        A column is NaN where no annotation told the element in training.

        A sequence that is longer than a window is read in windows that overlap, and
        every base is taken of one where it has context on both sides.

        Args:
            sequence: DNA, upper or lower case. Where a letter is none of A, C, G and T
                there is no probability but NaN; what is beside it stays in its place.
            window_bp: length of a window; None takes that of training. In longer ones
                positions are rescaled.
            margin_bp: left out at both ends of a window; None takes an eighth of it.
            both_strands: averages what the two strands say; takes twice the time.
            batch_size: windows per step.
            progress: shows a bar, in a terminal, where it takes long.

        Raises:
            InputError: the model has no such head, a character is no letter, or a
                length that it cannot read; says the next that it can.
        """
        _check_text(sequence)
        self.tokenizer.encode(sequence)  # raises where a character is no letter
        config = StitchingConfig(
            window_bp=window_bp,
            margin_bp=margin_bp,
            both_strands=both_strands,
            batch_size=batch_size,
        )
        return segmentation_inference.segment(
            self._stored, as_letters(sequence), config, progress=progress
        )

    @property
    def elements(self) -> tuple[str, ...]:
        """What `segment` tells, column by column.

        Raises:
            InputError: the model has no head for it.
        """
        return genome_inference.require_segmenter(self._stored).elements

    def self_check(self, *, tolerance: float = 1e-3) -> float:
        """Recomputes the stored reference; returns the largest difference.

        Raises:
            InputError: it exceeds `tolerance`: this machine or version of jax computes
                something else than the one that exported the model.
        """
        reference = self._stored.reference
        again = genome_inference.outputs(self._stored, reference)
        worst = float(np.max([np.max(np.abs(again[k] - reference[k])) for k in again]))
        if not worst <= tolerance:
            raise InputError(
                "model",
                f"its reference outputs differ by {worst:.2g} on this machine",
                "copy the model again, or convert it anew on this machine",
            )
        return worst

    def _report(self, cut: int, count: int, overflow: Overflow) -> None:
        """Says that sequences lose their end."""
        length = self.config.turner.prepared_tokens
        problem = (
            f"{cut:,} of {count:,} have more than the {length:,} tokens that the model "
            f"reads, which are {self.config.k * (length - 1):,} bp without N"
        )
        if overflow == "raise":
            raise InputError(
                "sequences", problem, "Shorten them, or let overflow='cut' do so"
            )
        warnings.warn(f"sequences: {problem}; their ends are left out.", stacklevel=3)

    def _check(self, token_ids: ArrayLike) -> np.ndarray:
        encoder = self.config.encoder
        token_ids = np.asarray(token_ids)
        if token_ids.ndim != 2 or token_ids.dtype.kind not in "iu":
            raise InputError(
                "token_ids",
                f"are {token_ids.dtype} of shape {token_ids.shape}",
                "Give integers [sequences, tokens], as tokenizer.encode_batch does",
            )
        if token_ids.size and not (
            0 <= token_ids.min() <= token_ids.max() < encoder.vocabulary_size
        ):
            raise InputError(
                "token_ids",
                f"range from {token_ids.min()} to {token_ids.max()}",
                f"Use tokenizer: ids go from 0 to {encoder.vocabulary_size - 1}",
            )
        return token_ids

    def _check_length(self, num_tokens: int, rescale: bool) -> None:
        encoder = self.config.encoder
        if encoder.learned_positions and num_tokens > encoder.max_tokens:
            problem = f"learned positions for {encoder.max_tokens:,}"
            remedy = "Give shorter rows"
        elif not rescale and encoder.for_length(num_tokens) != encoder:
            problem = f"was trained on {encoder.reach:,}"
            remedy = "Give shorter rows, or rescale=True to read them all the same"
        else:
            return
        raise InputError(
            "token_ids",
            f"has {num_tokens:,} tokens in a row, and the model {problem}",
            remedy,
        )


def _check_text(sequence: object) -> None:
    if not isinstance(sequence, str):
        problem = f"is a {type(sequence).__name__}"
        raise InputError("sequence", problem, "Give letters, as text")


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise InputError("batch_size", f"is {batch_size}", "Choose one from 1 on")
