"""What a batch held, as one number that does not depend on how it was split.

Rows are hashed one by one and the hashes added, so that devices and hosts may add up
theirs. A row carries its number in the batch, so that an exchange of rows shows.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, UInt32

from scmultimodal.schemas.batches import Array

BITS = 8
"""Of a part: so small that 65,536 devices add up theirs in float32 without rounding."""
PARTS = 3


def of_rows(batch: Any) -> Float[Array, " parts"]:
    """The sum of the hashes of all rows, modulo 2^24, in parts that may be added."""
    rows = jnp.zeros((), jnp.uint32)
    for number, leaf in enumerate(jax.tree.leaves(batch)):
        words = _words(leaf).reshape(leaf.shape[0], -1)
        place = jnp.arange(words.shape[1], dtype=jnp.uint32)
        # Odd factors: no bit of a word is lost.
        factors = _mix(place + jnp.uint32(number * 0x9E3779B9 % 2**32)) | 1
        rows += (words * factors).sum(1, dtype=jnp.uint32)
    total = _mix(rows).sum(dtype=jnp.uint32)
    parts = total >> (BITS * jnp.arange(PARTS, dtype=jnp.uint32)) & (2**BITS - 1)
    return parts.astype(jnp.float32)


def combine(parts: Float[Array, " parts"]) -> Float[Array, ""]:
    """The fingerprint, 0 to 2^24 − 1, of sums of parts over devices."""
    weights = jnp.uint32(1) << (BITS * jnp.arange(PARTS, dtype=jnp.uint32))
    total = (parts.astype(jnp.uint32) * weights).sum(dtype=jnp.uint32)
    return (total % 2 ** (BITS * PARTS)).astype(jnp.float32)


def _words(leaf: Array) -> UInt32[Array, "..."]:
    """Numbers as 32 bits: floats as they stand, whole ones by value."""
    if jnp.issubdtype(leaf.dtype, jnp.floating):
        leaf = jax.lax.bitcast_convert_type(leaf.astype(jnp.float32), jnp.uint32)
    return leaf.astype(jnp.uint32)


def _mix(words: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """Spreads every bit over all (the finaliser of MurmurHash3)."""
    words = (words ^ (words >> 16)) * jnp.uint32(0x85EBCA6B)
    words = (words ^ (words >> 13)) * jnp.uint32(0xC2B2AE35)
    return words ^ (words >> 16)
