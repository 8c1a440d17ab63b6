"""How many cells are computed at a time."""

import dataclasses

import jax
import pytest

from scmultimodal.modules import cell_encoder
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights.export import ModelConfig
from scmultimodal.workflows import batch_sizes, memory, presets
from tests import builders

SMALL = presets.SMALL.pretrain.path


def config(num_genes=300, **path):
    encoder = cell_encoder.CellEncoderConfig(
        num_genes=num_genes, path=dataclasses.replace(SMALL, **path), tokens="nonzero"
    )
    return ModelConfig(encoder=encoder)


@pytest.mark.parametrize(
    ("room", "cells", "expected"),
    [(1_000, 10_000, 256), (6, 10_000, 4), (0.1, 10_000, 1), (1_000, 5, 8)],
)
def test_a_quarter_of_the_memory_is_filled(monkeypatch, room, cells, expected):
    """In powers of two: 6 cells fit, 4 are taken."""
    each = batch_sizes.bytes_per_cell(config(), 200)
    monkeypatch.setattr(batch_sizes, "_device_memory", lambda: int(4 * room * each))
    assert batch_sizes.choose(config(), 200, cells) == expected


@pytest.mark.parametrize("path", [{}, {"num_layers": 0}, {"attention": "exact"}])
def test_a_cell_takes_what_the_compiler_says_or_less(path):
    """And no less than a tenth of it: else batches would be small for nothing."""
    shape, cells, tokens = config(**path), 16, 256
    encoder = cell_encoder.build_encoder(shape.encoder)
    batch = builders.cell_batch(num_cells=cells, num_genes=300, num_tokens=tokens)
    init = jax.eval_shape(encoder.init, jax.random.PRNGKey(0), batch)

    def cells_of(params, state, batch):
        return encoder.apply(params, state, None, batch)[0].cells

    compiled = jax.jit(cells_of).lower(*init, batch).compile()
    taken = compiled.memory_analysis().temp_size_in_bytes / cells
    assert taken < batch_sizes.bytes_per_cell(shape, tokens) < 10 * taken


def test_a_gradient_leaves_room_for_fewer(monkeypatch):
    """Two layers are kept, and there and back: a quarter."""
    each = batch_sizes.bytes_per_cell(config(), 200)
    monkeypatch.setattr(batch_sizes, "_device_memory", lambda: 4 * 64 * each)
    assert batch_sizes.choose(config(), 200, 999) == 64
    assert batch_sizes.choose(config(), 200, 999, with_gradient=True) == 16


@pytest.mark.parametrize("size", [0, -3])
def test_a_number_that_cannot_be(size):
    with pytest.raises(InputError, match=f"batch_size: is {size}"):
        batch_sizes.check(size)


def test_memory_of_the_process_is_within_that_of_the_machine():
    before = memory.peak()
    block = bytearray(b"x" * 2**26)
    assert memory.peak() >= before
    assert len(block) < memory.peak() < memory.total()
