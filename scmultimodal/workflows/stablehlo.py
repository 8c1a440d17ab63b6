"""What a model computes as programs that run without this package (`jax.export`).

A program takes the tensors of `model.safetensors` by their names there, and a batch;
numbers of cells or sequences are left open. The weights are no part of it: they would
be in the folder once for each program.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as programs
from jaxtyping import Shaped

from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.schemas.batches import Array, CellBatch, PeakTokens
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import MODALITIES
from scmultimodal.weights import export, genome_model
from scmultimodal.weights import folder as folders
from scmultimodal.workflows import expression, genome_inference, trained

PLATFORMS = ("cpu", "cuda", "tpu")
SUFFIX = ".jax_export"
TOKENS_AT_ONCE = 128
"""Cells are padded to a multiple of so many tokens: what a program works on at once."""

Function = Callable[[Mapping[str, Array], Any], Array]
"""Tensors by name, and a batch."""


def of_cells(model: export.StoredModel) -> dict[str, bytes]:
    """Programs of a cell model: `embed`, and what it tells, `annotate` and `express`.

    A batch is {name: array}: of each modality of the model its bins, uint8
    [cells, tokens], and `…_present`, bool [cells]; `gene_ids`, int32 [cells, tokens];
    `token_mask`, bool [cells, tokens]; ATAC that is read by peaks alone has no bins,
    and peaks alone no tokens of genes. Where peaks are read there are `peak_ids`, int32
    [cells, peaks], places in peaks.json, and `peak_mask`, bool [cells, peaks].
    `annotate` gives logits; `express`, where genes are told from open peaks, what
    `expression.values` says.

    Raises:
        InputError: a setting by which a cell depends on its place in the data.
    """
    config = model.config
    if config.feature_order != "fixed":
        raise InputError(
            "model",
            f"shows genes in an order that is {config.feature_order!r}",
            "Export a model that was trained with feature_order 'fixed'",
        )
    shape = _in_chunks(config.encoder)
    chunked = dataclasses.replace(
        model, config=dataclasses.replace(config, encoder=shape)
    )
    made = {"embed": trained.embed_function}
    if config.head is not None:
        made["annotate"] = trained.logits_function
    if expression.tells_genes(config):
        made["express"] = expression.function
    tensors = folders.flatten("params", model.params)
    tensors |= folders.flatten("state", model.network_state)
    batch = _shapes(model)
    return {
        name: _serialize(_of_model(chunked, make), tensors, batch)
        for name, make in made.items()
    }


def program_batch(batch: CellBatch) -> dict[str, np.ndarray]:
    """A batch of a builder as a program takes it: multiples of `TOKENS_AT_ONCE`."""
    found = {}
    of_genes = {m: v for m in MODALITIES if (v := getattr(batch, m)) is not None}
    if of_genes:
        shape = next(iter(of_genes.values())).shape
        ids, mask = batch.gene_ids, batch.token_mask
        every = np.broadcast_to(np.arange(shape[1], dtype=np.int32), shape)
        found["gene_ids"] = _filled(every if ids is None else ids)
        found["token_mask"] = _filled(np.ones(shape, bool) if mask is None else mask)
    for modality, values in of_genes.items():
        found[modality] = _filled(values)
        found[f"{modality}_present"] = np.asarray(getattr(batch, f"{modality}_present"))
    if batch.peaks is not None:
        found["peak_ids"] = _filled(batch.peaks.ids)
        found["peak_mask"] = _filled(batch.peaks.mask)
    return found


def _filled(values: Shaped[Array, "cells tokens"]) -> Shaped[np.ndarray, "cells wide"]:
    """Zeros up to the width that programs take."""
    missing = -values.shape[1] % TOKENS_AT_ONCE or TOKENS_AT_ONCE * (not values.size)
    return np.pad(values, ((0, 0), (0, missing)))


def _in_chunks(encoder: CellEncoderConfig) -> CellEncoderConfig:
    """The same encoder, in chunks that the tokens of a program fill."""
    path = dataclasses.replace(encoder.path, chunk=TOKENS_AT_ONCE)
    peaks = encoder.peaks
    if peaks is not None:
        own = dataclasses.replace(peaks.path, chunk=TOKENS_AT_ONCE)
        peaks = dataclasses.replace(peaks, path=own)
    return dataclasses.replace(encoder, path=path, peaks=peaks)


def _shapes(model: export.StoredModel) -> dict[str, jax.ShapeDtypeStruct]:
    """Of a batch: cells, tokens and peaks are left open."""
    encoder = model.config.encoder
    cells, blocks, more = programs.symbolic_shape("cells, blocks, peak_blocks")
    tokens, peaks = ((cells, TOKENS_AT_ONCE * number) for number in (blocks, more))
    batch = {}
    for modality in model.config.modalities:
        if modality == "atac" and encoder.atac_path == "peak":
            continue
        batch["gene_ids"] = _array(tokens, np.int32)
        batch["token_mask"] = _array(tokens, bool)
        batch[modality] = _array(tokens, np.uint8)
        batch[f"{modality}_present"] = _array((cells,), bool)
    if encoder.peaks is not None:
        batch["peak_ids"] = _array(peaks, np.int32)
        batch["peak_mask"] = _array(peaks, bool)
    return batch


def _of_model(
    model: export.StoredModel,
    make: Callable[[export.StoredModel], Callable[[CellBatch], Array]],
) -> Function:
    """What a model computes, by the tensors that it is given."""

    def function(tensors: Mapping[str, Array], batch: Mapping[str, Array]) -> Array:
        params, state = _trees(tensors)
        given = dataclasses.replace(model, params=params, network_state=state)
        return make(given)(_cell_batch(batch, model.peaks))

    return function


def of_genome(model: genome_model.StoredGenomeModel) -> dict[str, bytes]:
    """Programs of a genome model by name: see `genome_inference.functions`.

    A batch is token IDs, int32 [sequences, tokens], PAD where a row is shorter.
    """
    tensors = folders.flatten("params", model.params)
    (sequences,) = programs.symbolic_shape("sequences")
    found = {}
    for name, (function, length) in genome_inference.functions(model).items():
        batch = _array((sequences, length), np.int32)
        found[name] = _serialize(_of_tensors(function), tensors, batch)
    return found


def run(program: bytes, tensors: Mapping[str, Array], batch: Any) -> np.ndarray:
    """What a program makes of a batch, on the default device."""
    return np.asarray(programs.deserialize(bytearray(program)).call(tensors, batch))


def _of_tensors(function: Callable[..., Array]) -> Function:
    return lambda tensors, ids: function(folders.unflatten("params", tensors), ids)


def _trees(tensors: Mapping[str, Array]) -> tuple[folders.Tree, folders.Tree]:
    return folders.unflatten("params", tensors), folders.unflatten("state", tensors)


def _cell_batch(batch: Mapping[str, Array], peaks: PeakVocabulary | None) -> CellBatch:
    """The batch of a program; whatever it lacks, no network reads."""
    absent = jnp.zeros(next(iter(batch.values())).shape[:1], bool)
    return CellBatch(
        rna=batch.get("rna"),
        atac=batch.get("atac"),
        rna_present=batch.get("rna_present", absent),
        atac_present=batch.get("atac_present", absent),
        gene_ids=batch.get("gene_ids"),
        token_mask=batch.get("token_mask"),
        cell_mask=~absent,
        row=jnp.zeros(absent.shape, np.int32),
        label=None,
        cell_index=jnp.zeros(absent.shape, np.int32),
        peaks=None if peaks is None else _peak_tokens(batch, peaks),
    )


def _peak_tokens(batch: Mapping[str, Array], peaks: PeakVocabulary) -> PeakTokens:
    """Where peaks lie is a part of the program."""
    ids, mask = batch["peak_ids"], batch["peak_mask"]
    middles = (peaks.starts + peaks.ends) // 2
    chroms, positions = (
        jnp.where(mask, jnp.asarray(of, jnp.int32)[ids], 0)
        for of in (peaks.chrom, middles)
    )
    return PeakTokens(ids=ids, chroms=chroms, positions=positions, mask=mask)


def _array(shape: tuple[Any, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)


def _serialize(function: Function, tensors: Mapping[str, Array], batch: Any) -> bytes:
    shapes = {n: _array(np.shape(a), np.asarray(a).dtype) for n, a in tensors.items()}
    exported = programs.export(jax.jit(function), platforms=PLATFORMS)
    return bytes(exported(shapes, batch).serialize())
