"""The encoder of open peaks: a token each, and CLS, which is the cell (EpiFoundation).

Source: https://github.com/UCSC-VLAA/EpiFoundation.
"""

import dataclasses
import typing
from typing import Literal, NamedTuple

import haiku as hk
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from scmultimodal.modules import performer
from scmultimodal.schemas.batches import Array, PeakTokens

Pool = Literal["cls", "mean"]
POOLS = typing.get_args(Pool)
SHORTEST_BP, LONGEST_BP = 2_000.0, 1e9
"""Wavelengths of the sinusoids of position: of a gene's surroundings to beyond the
longest chromosome."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PeakEncoderConfig:
    """Shape of the encoder of peaks.

    Attributes:
        num_peaks: size of the peak vocabulary.
        num_chroms: chromosomes of it.
        path: shape of the Performer.
        position: adds sinusoids of the place within the chromosome.
        dna_dim: width of a vector for the DNA of each peak, a linear map of which is
            added; None adds none. The vectors are state, "dna" [peaks, dna_dim]: they
            are put there before training, and travel with the parameters.
        pool: what the cell's vector is: the output of CLS, or the mean of the peaks'
            outputs, which a trunk without a layer needs.
    """

    num_peaks: int
    num_chroms: int
    path: performer.PerformerConfig = dataclasses.field(
        default_factory=performer.PerformerConfig
    )
    position: bool = False
    dna_dim: int | None = None
    pool: Pool = "cls"

    def __post_init__(self):
        for field in ("num_peaks", "num_chroms", "dna_dim"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ValueError(f"{field} must be positive, got {value}")
        if self.pool not in POOLS:
            raise ValueError(
                f"pool must be one of {', '.join(POOLS)}, got {self.pool!r}"
            )
        if self.pool == "cls" and not self.path.num_layers:
            raise ValueError("pool must be mean without a layer: CLS would see no peak")


class PeakEncoding(NamedTuple):
    """What the encoder says of the peaks of a batch."""

    cells: Float[Array, "cells dim"]
    """The cells' vectors; without meaning where a cell has no peak."""
    tokens: Float[Array, "cells peaks dim"] | None
    """Of each peak, without meaning at padding; None where they are not asked for."""


class PeakEncoder(hk.Module):
    """LayerNorm of a peak's embedding, and where it lies; then a Performer."""

    def __init__(self, config: PeakEncoderConfig, name: str = "peak_encoder"):
        super().__init__(name=name)
        self.config = config

    def __call__(
        self,
        peaks: PeakTokens,
        *,
        with_tokens: bool = True,
        shares: Float[Array, "cells peaks"] | None = None,
    ) -> PeakEncoding:
        """Encodes open peaks.

        Args:
            peaks: of each cell.
            with_tokens: asks for the peaks too; without them the last layer computes
                CLS alone, where that is the cell's vector.
            shares: how much of each peak is there: what it counts in the attention of
                all tokens, and in the mean. 1 is an open peak, 0 a closed one; None is
                1 throughout.
        """
        config, num_cells = self.config, peaks.ids.shape[0]
        x = self._embed(peaks)
        mask, network = peaks.mask, performer.Performer(config.path)
        if shares is not None:
            mask = jnp.where(mask, shares, 0)
        if config.pool == "mean":
            tokens = network(x, mask)
            total = mask.sum(1, keepdims=True)
            weights = mask / jnp.where(total > 0, total, 1)
            cells = jnp.einsum("cpd,cp->cd", tokens, weights.astype(tokens.dtype))
            return PeakEncoding(cells, tokens if with_tokens else None)
        init = hk.initializers.TruncatedNormal()
        cls = hk.get_parameter("cls", (config.path.dim,), init=init)
        first = jnp.broadcast_to(cls, (num_cells, 1, config.path.dim))
        x = jnp.concatenate([first.astype(x.dtype), x], 1)
        mask = jnp.concatenate([jnp.ones((num_cells, 1), mask.dtype), mask], 1)
        if with_tokens:
            rows = network(x, mask)
            return PeakEncoding(rows[:, 0], rows[:, 1:])
        return PeakEncoding(
            network(x, mask, jnp.zeros((num_cells, 1), int))[:, 0], None
        )

    @hk.transparent
    def _embed(self, peaks: PeakTokens) -> Float[Array, "cells peaks dim"]:
        """What is open, and where; no value."""
        config, dim = self.config, self.config.path.dim
        init = hk.initializers.TruncatedNormal(dim**-0.5)
        table = hk.Embed(config.num_peaks, dim, w_init=init, name="peak").embeddings
        norm = hk.LayerNorm(-1, create_scale=True, create_offset=True, name="peak_norm")
        x = norm(jnp.take(table, peaks.ids, 0))
        x += hk.Embed(config.num_chroms, dim, w_init=init, name="chrom")(peaks.chroms)
        if config.position:
            x += sinusoids(peaks.positions, dim).astype(x.dtype)
        if config.dna_dim is not None:
            shape = (config.num_peaks, config.dna_dim)
            dna = hk.get_state("dna", shape, init=jnp.zeros)
            x += hk.Linear(dim, name="dna")(jnp.take(dna, peaks.ids, 0))
        return x


def sinusoids(
    positions: Int[Array, "cells peaks"], dim: int
) -> Float[Array, "cells peaks dim"]:
    """Sines, then cosines, of places in bp; wavelengths rise by a constant factor."""
    half = (dim + 1) // 2
    waves = np.geomspace(SHORTEST_BP, LONGEST_BP, half).astype(np.float32)
    angles = 2 * np.pi * positions[..., None].astype(jnp.float32) / waves
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)[..., :dim]


def has_peaks(peaks: PeakTokens) -> Bool[Array, " cells"]:
    """Which cells have an open peak."""
    return peaks.mask.any(1)


def build_peak_encoder(config: PeakEncoderConfig) -> hk.TransformedWithState:
    """The encoder alone: `apply(params, state, None, peaks) -> PeakEncoding`."""
    return hk.transform_with_state(
        lambda peaks, with_tokens=True: PeakEncoder(config)(
            peaks, with_tokens=with_tokens
        )
    )
