"""What a genome model computes of sequences, batch by batch, in their order."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from jaxtyping import Float, Float32, Int32, Integer

from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.genome.letters import as_letters
from scmultimodal.modules import nucleotide_transformer
from scmultimodal.modules.heads.accessibility import ScorerConfig
from scmultimodal.modules.nucleotide_transformer import NucleotideTransformerConfig
from scmultimodal.schemas.batches import Array, RegionBatch, SegmentationBatch
from scmultimodal.schemas.errors import InputError
from scmultimodal.tasks.region_ranking import RegionRanking, RegionRankingConfig
from scmultimodal.tasks.segmentation import Segmentation, SegmentationConfig
from scmultimodal.tasks.task import Params
from scmultimodal.weights import genome_model
from scmultimodal.weights import nucleotide_transformer as published
from scmultimodal.weights.folder import Tree
from scmultimodal.weights.genome_model import (
    GenomeModelConfig,
    SegmenterConfig,
    StoredGenomeModel,
)

_Function = Callable[[Params, Array], Array]
"""Parameters and token ids to one row for each sequence; compiled."""

REFERENCE_SEQUENCES = ("ACGTTGCAAGGCTTANACCGT", "GATTACAGATTACA")
REFERENCE_TOKENS = 16
ENCODED_TOKENS = 512
"""Of a row, for those who cannot choose: see `functions`."""
_PUBLISHED = ("model*.safetensors", "jax_model", "pytree_ckpt.joblib")
"""A published folder has one of these."""


def open_any(path: Path | str) -> StoredGenomeModel:
    """Reads a model folder or run folder of ours, or a published model of any layout.

    Args:
        path: the folder.

    Raises:
        InputError: the folder holds no model, or a broken or unsafe one.
    """
    path = Path(path)
    if not genome_model.is_model(path) and any(
        next(path.glob(name), None) for name in _PUBLISHED
    ):
        return from_published(path, source=path.resolve().name)
    return genome_model.load(path)


def from_published(directory: Path | str, *, source: str) -> StoredGenomeModel:
    """Reads a published Nucleotide Transformer; see `weights.nucleotide_transformer`.

    Args:
        directory: the published folder.
        source: what its provenance shall say.

    Raises:
        InputError: the folder holds no published model, or a broken or unsafe one.
    """
    found = published.load_published(directory)
    version, k = _vocabulary(found.encoder.vocabulary_size, directory)
    config = GenomeModelConfig(
        encoder=found.encoder,
        tokens=version,
        k=k,
        segmenter=found.segmenter,
        provenance={"converted_from": source},
    )
    return with_reference(config, found.params)


def on_device(model: StoredGenomeModel) -> StoredGenomeModel:
    """The same, its parameters where they are computed with: they are copied once."""
    return dataclasses.replace(model, params=jax.device_put(model.params))


def with_reference(config: GenomeModelConfig, params: Tree) -> StoredGenomeModel:
    """A model, with what it makes of a few sequences for others to compare with."""
    encode_batch = config.tokenizer.encode_batch
    length = REFERENCE_TOKENS
    if config.encoder.learned_positions:
        length = min(length, config.encoder.max_tokens)
    reference = {"token_ids": encode_batch(REFERENCE_SEQUENCES, length).ids}
    if config.num_tokens is not None:
        scored = encode_batch(REFERENCE_SEQUENCES, config.num_tokens).ids
        reference["scored_token_ids"] = scored
    if config.segmenter is not None:
        length = config.segmenter.head.unit_bp(config.k) // config.k + 1
        reference["segmented_token_ids"] = reference_tokens(config, length)
    model = StoredGenomeModel(config=config, params=params, reference=reference)
    return dataclasses.replace(
        model, reference={**model.reference, **outputs(model, model.reference)}
    )


def reference_tokens(
    config: GenomeModelConfig, length: int
) -> Int32[np.ndarray, "sequences tokens"]:
    """Rows of so many tokens, of reference sequences that repeat themselves."""
    size = (length - 1) * config.k
    letters = [np.resize(as_letters(s), size) for s in REFERENCE_SEQUENCES]
    return config.tokenizer.encode_frame(np.stack(letters))


def outputs(
    model: StoredGenomeModel, reference: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What a model makes of the tokens in a reference."""
    found = {"embeddings": encode(model, reference["token_ids"])}
    if "scored_token_ids" in reference:
        scores = score(model, reference["scored_token_ids"])
        # As models were stored before there were cell types.
        found["scores"] = scores if model.config.cell_types else scores[:, 0]
    if "segmented_token_ids" in reference:
        found["elements"] = segment(model, reference["segmented_token_ids"])
    return found


def encode(
    model: StoredGenomeModel,
    token_ids: Integer[np.ndarray, "sequences tokens"],
    *,
    layer: int | None = None,
    rescale: bool = False,
    batch_size: int = 16,
    describe: str | None = None,
) -> Float[np.ndarray, "sequences tokens dim"]:
    """Embeddings after the final LayerNorm, or after a layer (counted from 1).

    Positions are rescaled for rows longer than those of training if `rescale` says so.
    `describe` names a progress bar.
    """
    encoder = model.config.encoder
    if rescale:
        encoder = encoder.for_length(token_ids.shape[1])
    shape = (token_ids.shape[1], encoder.dim)
    function = _encoder(encoder, layer)
    return _over_sequences(function, model, token_ids, shape, batch_size, describe)


def score(
    model: StoredGenomeModel,
    token_ids: Integer[np.ndarray, "sequences tokens"],
    *,
    batch_size: int = 16,
    describe: str | None = None,
) -> Float[np.ndarray, "sequences outputs"]:
    """Scores of a model that has a scorer; only differences of one output matter."""
    function = _scorer(model.config.encoder, model.config.scorer)
    outputs = model.config.scorer.outputs or 1
    shape = (outputs,)
    return _over_sequences(function, model, token_ids, shape, batch_size, describe)


def score_views(
    model: StoredGenomeModel,
    token_ids: Integer[np.ndarray, "sequences prepared"],
    *,
    batch_size: int = 16,
    progress: bool = False,
) -> Float32[np.ndarray, "sequences outputs"]:
    """Scores of prepared sequences, the mean over every view of the model's turning."""
    views = enumerate(model.config.turner.views(token_ids), start=1)
    found = [
        score(
            model,
            ids,
            batch_size=batch_size,
            describe=f"score, view {number}" if progress else None,
        )
        for number, ids in views
    ]
    return np.mean(found, axis=0)


def segment(
    model: StoredGenomeModel,
    token_ids: Integer[np.ndarray, "sequences tokens"],
    *,
    batch_size: int = 8,
) -> Float32[np.ndarray, "sequences bases elements"]:
    """Probability of every element at every base of windows of one frame of k-mers.

    Positions are rescaled for windows longer than those of training.

    Raises:
        InputError: the model has no segmenter.
    """
    segmenter = require_segmenter(model)
    task = segmentation_task(model, num_tokens=token_ids.shape[1])
    bases = (token_ids.shape[1] - 1) * model.config.k
    return _over_sequences(
        _segmenter(task.config),
        model,
        token_ids,
        (bases, segmenter.head.num_elements),
        batch_size,
    )


def functions(model: StoredGenomeModel) -> dict[str, tuple[_Function, int]]:
    """What a model computes, by name, and the tokens of a row that each takes.

    `encode`; `score` and `segment` where it has the heads. Rows are those that a head
    reads, or of `ENCODED_TOKENS` where none does and the model reads so many.
    """
    config = model.config
    encoder, length = config.encoder, min(config.encoder.reach, ENCODED_TOKENS)
    found = {}
    if (segmenter := config.segmenter) is not None:
        length = segmenter.window_bp // config.k + 1
        task = segmentation_task(model, num_tokens=length)
        found["segment"] = (_segmenter(task.config), length)
    if config.num_tokens is not None:
        length = config.num_tokens
        found["score"] = (_scorer(encoder, config.scorer), length)
    return {"encode": (_encoder(encoder, None), min(length, encoder.reach)), **found}


def segmentation_task(
    model: StoredGenomeModel, *, num_tokens: int | None = None
) -> Segmentation:
    """The task of a model that has a segmenter, for windows of so many tokens.

    Raises:
        InputError: it has none.
    """
    config, segmenter = model.config, require_segmenter(model)
    encoder = config.encoder
    if num_tokens is not None:
        encoder = encoder.for_length(num_tokens)
    return Segmentation(
        SegmentationConfig(encoder=encoder, head=segmenter.head, k=config.k)
    )


def require_scorer(model: StoredGenomeModel) -> None:
    """Raises InputError where a model has no head that scores accessibility."""
    if model.config.num_tokens is None:
        raise InputError(
            "model",
            "it has no head that scores accessibility",
            "train one, in a clone: "
            "python -m experiments.train genome_model.region_ranking",
        )


def require_segmenter(model: StoredGenomeModel) -> SegmenterConfig:
    """The model's segmenter.

    Raises:
        InputError: it has none.
    """
    if model.config.segmenter is None:
        raise InputError(
            "model",
            "it has no head that tells elements",
            "train one, in a clone: "
            "python -m experiments.train genome_model.segmentation",
        )
    return model.config.segmenter


# Kept from call to call: compiling takes longer than encoding a few sequences.
@functools.lru_cache(maxsize=8)
def _encoder(encoder: NucleotideTransformerConfig, layer: int | None) -> _Function:
    network = nucleotide_transformer.build_encoder(
        encoder, layers=() if layer is None else (layer,)
    )

    def function(params: Params, token_ids: Integer[Array, "sequences tokens"]):
        encoding = network.apply(params, None, token_ids)
        return encoding.embeddings if layer is None else encoding.layers[layer]

    return jax.jit(function)


@functools.lru_cache(maxsize=8)
def _scorer(encoder: NucleotideTransformerConfig, scorer: ScorerConfig) -> _Function:
    task = RegionRanking(RegionRankingConfig(encoder=encoder, scorer=scorer))

    def function(params: Params, token_ids: Integer[Array, "sequences tokens"]):
        rows = jnp.arange(token_ids.shape[0])
        batch = RegionBatch(
            token_ids=token_ids[:, None],
            values=jnp.zeros((*rows.shape, 1)),
            output=jnp.zeros_like(rows),
            span_mask=jnp.ones(rows.shape, bool),
            row=rows,
            span_index=rows,
        )
        return task.predict(params, {}, batch)[:, 0]

    return jax.jit(function)


@functools.lru_cache(maxsize=8)
def _segmenter(config: SegmentationConfig) -> _Function:
    task = Segmentation(config)

    def function(params: Params, token_ids: Integer[Array, "sequences tokens"]):
        rows = jnp.arange(token_ids.shape[0])
        bases = (token_ids.shape[1] - 1) * config.k
        batch = SegmentationBatch(
            token_ids=token_ids,
            labels=jnp.zeros((*rows.shape, bases), jnp.uint16),
            known=jnp.zeros(rows.shape, jnp.uint16),
            sequence_mask=jnp.ones(rows.shape, bool),
            row=rows,
        )
        return jax.nn.sigmoid(task.predict(params, {}, batch))

    return jax.jit(function)


def _over_sequences(
    function: _Function,
    model: StoredGenomeModel,
    token_ids: np.ndarray,
    shape: tuple[int, ...],
    batch_size: int,
    describe: str | None = None,
) -> np.ndarray:
    """Applies a function to batches of one size; the last is filled up with PAD."""
    params = jax.device_put(model.params)
    found = np.empty((len(token_ids), *shape), np.float32)
    silent = None if describe else True
    starts = range(0, len(token_ids), batch_size)
    for start in tqdm.tqdm(starts, desc=describe, delay=2, disable=silent):
        rows = token_ids[start : start + batch_size].astype(np.int32)
        filling = ((0, batch_size - len(rows)), (0, 0))
        batch = np.pad(rows, filling, constant_values=model.config.encoder.pad_id)
        found[start : start + len(rows)] = function(params, batch)[: len(rows)]
    return found


def _vocabulary(size: int, source: object) -> tuple[str, int]:
    """The version and k that have a vocabulary of this size."""
    for version in ("v1", "v2"):
        k = max(2, min(10, round(math.log(max(size, 2), 4))))
        if KmerTokenizer(version, k).vocabulary_size == size:
            return version, k
    raise InputError(
        source,
        f"has {size} tokens, which is no vocabulary of k-mers",
        "Give a published Nucleotide Transformer of version 1 or 2",
    )
