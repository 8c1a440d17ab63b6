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

from scmultimodal.modules import cell_encoder
from scmultimodal.schemas.batches import Array, CellBatch
from scmultimodal.schemas.errors import InputError
from scmultimodal.tasks.cell_type import CellTypeClassification, CellTypeConfig
from scmultimodal.weights import export, genome_model
from scmultimodal.weights import folder as folders
from scmultimodal.workflows import genome_inference

PLATFORMS = ("cpu", "cuda", "tpu")
SUFFIX = ".jax_export"
TOKENS_AT_ONCE = 128
"""Cells are padded to a multiple of so many tokens: what a program works on at once."""

Function = Callable[[Mapping[str, Array], Any], Array]
"""Tensors by name, and a batch."""


def of_cells(model: export.StoredModel) -> dict[str, bytes]:
    """Programs of a cell model by name: `embed`, and `annotate` where it tells types.

    A batch is {name: array}: of each modality of the model its bins, uint8
    [cells, tokens], and `…_present`, bool [cells]; `gene_ids`, int32 [cells, tokens];
    `token_mask`, bool [cells, tokens]. `annotate` gives logits.

    Raises:
        InputError: a setting by which a cell depends on its place in the data, or a
            trunk that reads open peaks.
    """
    config = model.config
    if config.feature_order != "fixed":
        raise InputError(
            "model",
            f"shows genes in an order that is {config.feature_order!r}",
            "Export a model that was trained with feature_order 'fixed'",
        )
    if config.encoder.atac_path != "gene":
        raise InputError(
            "model",
            f"reads open peaks (atac_path {config.encoder.atac_path!r})",
            "Export a model of gene-level ATAC; for this one there is no program yet",
        )
    path = dataclasses.replace(config.encoder.path, chunk=TOKENS_AT_ONCE)
    shape = dataclasses.replace(config.encoder, path=path)
    encoder = cell_encoder.build_encoder(shape)

    def embed(tensors: Mapping[str, Array], batch: Mapping[str, Array]) -> Array:
        return encoder.apply(*_trees(tensors), None, _cell_batch(batch))[0].cells

    functions: dict[str, Function] = {"embed": embed}
    if config.head is not None:
        task = CellTypeClassification(CellTypeConfig(encoder=shape, head=config.head))
        functions["annotate"] = lambda tensors, batch: task.predict(
            *_trees(tensors), _cell_batch(batch)
        )
    tensors = folders.flatten("params", model.params)
    tensors |= folders.flatten("state", model.network_state)
    cells, blocks = programs.symbolic_shape("cells, blocks")
    tokens = (cells, TOKENS_AT_ONCE * blocks)
    batch = {"gene_ids": _array(tokens, np.int32), "token_mask": _array(tokens, bool)}
    for modality in config.modalities:
        batch[modality] = _array(tokens, np.uint8)
        batch[f"{modality}_present"] = _array((cells,), bool)
    return {name: _serialize(f, tensors, batch) for name, f in functions.items()}


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


def _cell_batch(batch: Mapping[str, Array]) -> CellBatch:
    """The batch of a program; whatever it lacks, no network reads."""
    absent = jnp.zeros(batch["gene_ids"].shape[:1], bool)
    return CellBatch(
        rna=batch.get("rna"),
        atac=batch.get("atac"),
        rna_present=batch.get("rna_present", absent),
        atac_present=batch.get("atac_present", absent),
        gene_ids=batch["gene_ids"],
        token_mask=batch["token_mask"],
        cell_mask=~absent,
        row=jnp.zeros(absent.shape, np.int32),
        label=None,
        cell_index=jnp.zeros(absent.shape, np.int32),
    )


def _array(shape: tuple[Any, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)


def _serialize(function: Function, tensors: Mapping[str, Array], batch: Any) -> bytes:
    shapes = {n: _array(np.shape(a), np.asarray(a).dtype) for n, a in tensors.items()}
    exported = programs.export(jax.jit(function), platforms=PLATFORMS)
    return bytes(exported(shapes, batch).serialize())
