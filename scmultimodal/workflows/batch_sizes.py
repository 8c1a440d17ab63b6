"""How many cells are computed at a time, where nobody says."""

import jax

from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import export
from scmultimodal.workflows import memory

MOST = 256
"""More are no faster on a CPU, and models were trained with these."""
_SHARE = 1 / 4
"""Of the memory of the device, what a batch may take."""


def check(batch_size: int | None) -> None:
    """Raises InputError for a number that is given and below 1."""
    if batch_size is not None and batch_size < 1:
        raise InputError("batch_size", f"is {batch_size}", "Choose one from 1 on")


def choose(
    config: export.ModelConfig,
    tokens: int,
    cells: int,
    *,
    with_gradient: bool = False,
    further: int = 0,
) -> int:
    """Cells of a batch that a quarter of the device's memory has room for.

    A power of two, 256 at most, and no more than there are cells.

    Args:
        config: of the model.
        tokens: of the longest cell.
        cells: how many there are.
        with_gradient: what every layer computed is kept for the way back.
        further: bytes that a cell takes beside the trunk.
    """
    each = bytes_per_cell(config, tokens)
    if with_gradient:
        each *= 2 + config.encoder.path.num_layers
    room = _SHARE * _device_memory() / (each + further)
    most = min(MOST, 2 ** (max(cells, 1) - 1).bit_length())
    return max(1, min(most, 2 ** (max(int(room), 1).bit_length() - 1)))


def bytes_per_cell(config: export.ModelConfig, tokens: int) -> int:
    """What a cell takes while it is computed, rounded up: activations of a layer.

    Args:
        config: of the model.
        tokens: of the cell.
    """
    encoder, path = config.encoder, config.encoder.path
    if encoder.tokens == "all":
        tokens = encoder.num_genes
    # Padded to a bucket, which may hold half as many again.
    of_token = 6 * path.dim + 4 * path.num_heads * path.key_size
    return 4 * (tokens * 3 // 2 * of_token + 4 * encoder.num_genes + of_token)


def _device_memory() -> int:
    """Bytes of the first device; a CPU has those of the machine."""
    facts = jax.local_devices()[0].memory_stats() or {}
    return facts.get("bytes_limit") or memory.total()
