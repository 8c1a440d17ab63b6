"""The dual-path cell encoder: RNA and ATAC Performers, outputs averaged (SPEC 2.3)."""

import dataclasses
from typing import NamedTuple

import haiku as hk
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Integer

from scmultimodal.modules import embeddings, performer
from scmultimodal.schemas.batches import TOKENS, Array, CellBatch, Tokens
from scmultimodal.schemas.modality import MODALITIES


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellEncoderConfig:
    """Shape of the cell encoder.

    Attributes:
        num_genes: size of the vocabulary; RNA and ATAC have the same features.
        num_bins: buckets of the non-zero values; 0 is zero, num_bins + 1 the mask.
        tokens: which genes of a cell are its tokens.
        path: shape of each of the two paths.
    """

    num_genes: int
    num_bins: int = 5
    tokens: Tokens = "all"
    path: performer.PerformerConfig = dataclasses.field(
        default_factory=performer.PerformerConfig
    )

    def __post_init__(self):
        for field in ("num_genes", "num_bins"):
            if getattr(self, field) < 1:
                raise ValueError(
                    f"{field} must be positive, got {getattr(self, field)}"
                )
        if self.tokens not in TOKENS:
            raise ValueError(
                f"tokens must be one of {', '.join(TOKENS)}, got {self.tokens!r}"
            )
        if self.tokens == "static_zeros" and self.path.attention == "exact":
            raise ValueError(
                "tokens must be all or nonzero with exact attention, got static_zeros"
            )

    @property
    def mask_value(self) -> int:
        """The value that stands for "hidden"."""
        return self.num_bins + 1


class CellEncoding(NamedTuple):
    """What the encoder says of a batch of cells."""

    tokens: Float[Array, "cells rows dim"]
    """The joint embedding of each token that is asked for: what the heads read."""
    cells: Float[Array, "cells dim"] | None
    """Mean over the genes that are non-zero in a present modality (SPEC 5); None where
    some tokens alone are asked for."""


class CellEncoder(hk.Module):
    """Two paths with their own weights; tokens of genes and of peaks never overlap."""

    def __init__(self, config: CellEncoderConfig, name: str = "cell_encoder"):
        super().__init__(name=name)
        self.config = config

    def __call__(
        self, batch: CellBatch, at: Int[Array, "cells chosen"] | None = None
    ) -> CellEncoding:
        """Encodes the value bins of a batch (masked ones included).

        Args:
            batch: cells.
            at: the tokens that are asked for; None asks for all, and for the cells.
        """
        paths = {
            modality: (values, getattr(batch, f"{modality}_present"))
            for modality in MODALITIES
            if (values := getattr(batch, modality)) is not None
        }
        tokens = average_present(
            [self._path(m, values, batch, at) for m, (values, _) in paths.items()],
            [present for _, present in paths.values()],
        )
        if at is not None:
            return CellEncoding(tokens=tokens, cells=None)
        nonzero = jnp.stack([(v > 0) & p[:, None] for v, p in paths.values()]).any(0)
        if batch.token_mask is not None:
            nonzero &= batch.token_mask
        return CellEncoding(tokens=tokens, cells=mean_over_tokens(tokens, nonzero))

    @hk.name_like("__call__")
    def approximation_errors(
        self, batch: CellBatch
    ) -> dict[str, Float[Array, " layers"]]:
        """For each modality shown, how far FAVOR+ is from softmax attention by layer.

        Padding, and cells that lack the modality, do not count. Keys are the tokens
        alone, without static zeros.
        """
        config, errors = self.config, {}
        for modality in MODALITIES:
            values = getattr(batch, modality)
            if values is None:
                continue
            present = getattr(batch, f"{modality}_present")
            counted = jnp.broadcast_to(present[:, None], values.shape)
            if batch.token_mask is not None:
                counted &= batch.token_mask
            path = performer.Performer(config.path, name=f"{modality}_performer")
            errors[modality] = path.approximation_errors(
                self._embedding(modality)(values, batch.gene_ids), counted
            )
        return errors

    @hk.transparent
    def _embedding(self, modality: str) -> embeddings.GeneValueEmbedding:
        config = self.config
        return embeddings.GeneValueEmbedding(
            config.num_genes,
            config.num_bins + 2,
            config.path.dim,
            name=f"{modality}_embedding",
        )

    @hk.transparent
    def _path(
        self,
        name: str,
        values: Integer[Array, "cells tokens"],
        batch: CellBatch,
        at: Int[Array, "cells chosen"] | None,
    ) -> Float[Array, "cells rows dim"]:
        config, embed = self.config, self._embedding(name)
        silent = None
        if config.tokens == "static_zeros":
            zeros = jnp.zeros((1, config.num_genes), values.dtype)
            silent = (embed(zeros, None), batch.gene_ids)
        return performer.Performer(config.path, name=f"{name}_performer")(
            embed(values, batch.gene_ids), batch.token_mask, at, silent
        )


def average_present(
    outputs: list[Float[Array, "cells tokens dim"]],
    present: list[Bool[Array, " cells"]],
) -> Float[Array, "cells tokens dim"]:
    """Token-wise mean over the modalities a cell has; zero where it has none."""
    weights = jnp.stack(present).astype(outputs[0].dtype)
    weights /= jnp.maximum(weights.sum(0), 1)
    return sum(o * w[:, None, None] for o, w in zip(outputs, weights, strict=True))


def mean_over_tokens(
    tokens: Float[Array, "cells tokens dim"], where: Bool[Array, "cells tokens"]
) -> Float[Array, "cells dim"]:
    """Mean over the chosen tokens; zero where none is chosen."""
    weights = where / jnp.maximum(where.sum(-1, keepdims=True), 1)
    return jnp.einsum("btd,bt->bd", tokens, weights.astype(tokens.dtype))


def scatter_to_genes(
    values: Float[Array, "cells tokens *channels"],
    gene_ids: Int[Array, "cells tokens"],
    token_mask: Bool[Array, "cells tokens"] | None,
    num_genes: int,
) -> Float[Array, "cells genes *channels"]:
    """Puts each token's value at its gene; genes without a token are zero."""
    if token_mask is not None:
        mask = token_mask.reshape(token_mask.shape + (1,) * (values.ndim - 2))
        values = jnp.where(mask, values, 0)
    cells = jnp.arange(values.shape[0])[:, None]
    empty = jnp.zeros((values.shape[0], num_genes, *values.shape[2:]), values.dtype)
    return empty.at[cells, gene_ids].add(values)


def build_approximation_errors(config: CellEncoderConfig) -> hk.TransformedWithState:
    """`CellEncoder.approximation_errors` for the parameters of an encoder."""
    return hk.transform_with_state(
        lambda batch: CellEncoder(config).approximation_errors(batch)
    )


def build_encoder(config: CellEncoderConfig) -> hk.TransformedWithState:
    """The encoder alone: `apply(params, state, None, batch) -> CellEncoding`.

    The parameters of a task that contains an encoder serve as they are.
    """
    return hk.transform_with_state(lambda batch: CellEncoder(config)(batch))
