"""A toy problem for the loop.

It is apart from `builders`, whose imports every child process would wait for.
"""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from scmultimodal.data.sampling import Share


@chex.dataclass(frozen=True, kw_only=True, mappable_dataclass=False)
class RegressionBatch:
    """Rows of a least-squares problem: no gene in it."""

    x: Any
    y: Any
    weight: Any
    row: Any
    cell_index: Any
    absent: Any = None


def regression_batch(seed: int, rows: int = 8, features: int = 3) -> RegressionBatch:
    """Rows with weights that differ, some of them 0; the same for the same seed."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, features)).astype(np.float32)
    return RegressionBatch(
        x=x,
        y=(x @ np.arange(1.0, features + 1.0) + 0.5).astype(np.float32),
        weight=rng.integers(0, 4, rows).astype(np.float32),
        row=np.arange(rows, dtype=np.int32),
        cell_index=np.arange(rows, dtype=np.int32) + 100 * seed,
    )


def part_of(batch: RegressionBatch, share: Share) -> RegressionBatch:
    """The rows of one host."""
    rows = share.rows(len(batch.row))
    return jax.tree.map(lambda leaf: leaf[rows], batch)


@dataclasses.dataclass(frozen=True)
class RegressionTask:
    """A two-layer net in plain jax; its noise is keyed by the row of the batch."""

    width: int = 4
    noise: float = 0.1

    def init(self, rng, batch):
        """Random weights; a network state that counts, rests and averages."""
        one, two = jax.random.split(rng)
        params = {
            "net/first": {
                "w": jax.random.normal(one, (batch.x.shape[1], self.width)),
                "b": jnp.zeros(self.width),
            },
            "net/second": {"w": jax.random.normal(two, (self.width,))},
        }
        state = {
            "calls": jnp.zeros((), jnp.int32),
            "fixed": jnp.full(3, 0.1),
            "running_mean": jnp.zeros(()),
        }
        return params, {"net": state}

    def loss(self, params, network_state, rng, batch, *, is_training):
        """Σ weight · (prediction − y)², with noise on the input while training."""
        keys = jax.vmap(lambda row: jax.random.fold_in(rng, row))(batch.row)
        noise = jax.vmap(lambda key: jax.random.normal(key, batch.x.shape[1:]))(keys)
        x = batch.x + (self.noise if is_training else 0.0) * noise
        first, second = params["net/first"], params["net/second"]
        error = jnp.tanh(x @ first["w"] + first["b"]) @ second["w"] - batch.y
        weight = batch.weight.sum()
        old = network_state["net"]
        state = {
            "calls": old["calls"] + 1,
            "fixed": old["fixed"],
            "running_mean": 0.9 * old["running_mean"] + 0.1 * batch.x.mean(),
        }
        metrics = {
            "absolute_error": ((batch.weight * jnp.abs(error)).sum(), weight),
            "by_feature": (batch.weight @ jnp.abs(batch.x), weight),
        }
        return ((batch.weight * error**2).sum(), weight), ({"net": state}, metrics)
