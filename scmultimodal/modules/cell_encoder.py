"""The dual-path cell encoder: RNA and ATAC Performers, outputs averaged (SPEC 2.3).

ATAC may also come by the open peaks themselves: a third path, see `peak_encoder`.
"""

import dataclasses
import functools
import typing
from typing import Literal, NamedTuple

import haiku as hk
import jax.numpy as jnp
from jaxtyping import Float, Int, Integer

from scmultimodal.modules import (
    embeddings,
    joining,
    peak_encoder,
    performer,
    token_arrays,
    token_dials,
)
from scmultimodal.modules.joining import Joint
from scmultimodal.modules.token_dials import Dials
from scmultimodal.schemas.batches import (
    ATAC_PATHS,
    TOKENS,
    Array,
    AtacPath,
    CellBatch,
    Tokens,
)
from scmultimodal.schemas.modality import MODALITIES

JOINTS = typing.get_args(Joint)
PeakJoint = Literal["mean", "cross_attention"]
PEAK_JOINTS = typing.get_args(PeakJoint)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellEncoderConfig:
    """Shape of the cell encoder.

    Attributes:
        num_genes: size of the vocabulary; RNA and ATAC have the same features.
        num_bins: buckets of the non-zero values; 0 is zero, num_bins + 1 the mask.
        tokens: which genes of a cell are its tokens.
        path: shape of each of the two paths.
        joint: how a token's outputs of the two paths become one: their "mean" (the
            study's); a linear map of both, "concatenate"; or the mean after the tokens
            of each path have attended to those of the other, "cross_attention". Where a
            cell lacks a modality, all but "concatenate" leave the other as it is.
        depth: tells every token how much the encoder sees of its cell: the logarithm
            of the sum of its values (scFoundation's source depth, Hao et al. 2024,
            doi:10.1038/s41592-024-02305-7).
        atac_path: whether ATAC is encoded by values of genes, by open peaks, or both.
        peaks: shape of the path of open peaks, where there is one; as wide as `path`.
        peak_joint: how genes and peaks become one. The cell's vector is always the
            mean of the genes' and the peaks', where it has both; by "cross_attention"
            the genes' tokens have attended to the peaks' before.
    """

    num_genes: int
    num_bins: int = 5
    tokens: Tokens = "all"
    path: performer.PerformerConfig = dataclasses.field(
        default_factory=performer.PerformerConfig
    )
    joint: Joint = "mean"
    depth: bool = False
    atac_path: AtacPath = "gene"
    peaks: peak_encoder.PeakEncoderConfig | None = None
    peak_joint: PeakJoint = "mean"

    def __post_init__(self):
        for field in ("num_genes", "num_bins"):
            if getattr(self, field) < 1:
                raise ValueError(
                    f"{field} must be positive, got {getattr(self, field)}"
                )
        for field, choices in (
            ("tokens", TOKENS),
            ("joint", JOINTS),
            ("atac_path", ATAC_PATHS),
            ("peak_joint", PEAK_JOINTS),
        ):
            if getattr(self, field) not in choices:
                raise ValueError(
                    f"{field} must be one of {', '.join(choices)}, "
                    f"got {getattr(self, field)!r}"
                )
        if self.tokens == "static_zeros" and self.path.attention == "exact":
            raise ValueError(
                "tokens must be all or nonzero with exact attention, got static_zeros"
            )
        if (self.peaks is None) != (self.atac_path == "gene"):
            raise ValueError(
                f"peaks must be given where atac_path is peak or both, and only there; "
                f"atac_path is {self.atac_path!r}"
            )
        if self.peaks is not None and self.peaks.path.dim != self.path.dim:
            raise ValueError(
                f"peaks.path.dim must be that of path, {self.path.dim}, "
                f"got {self.peaks.path.dim}"
            )

    @property
    def mask_value(self) -> int:
        """The value that stands for "hidden"."""
        return self.num_bins + 1


class CellEncoding(NamedTuple):
    """What the encoder says of a batch of cells."""

    tokens: Float[Array, "cells rows dim"] | None
    """The joint embedding of each gene's token that is asked for: what the heads read;
    None where no gene is shown, peaks alone."""
    cells: Float[Array, "cells dim"] | None
    """Mean over the genes that are non-zero in a present modality (SPEC 5), and where
    peaks are shown the mean of that and of theirs; None where some tokens alone are
    asked for."""


class CellEncoder(hk.Module):
    """Two paths with their own weights; tokens of genes and of peaks never overlap."""

    def __init__(self, config: CellEncoderConfig, name: str = "cell_encoder"):
        super().__init__(name=name)
        self.config = config

    def __call__(
        self,
        batch: CellBatch,
        at: Int[Array, "cells chosen"] | None = None,
        *,
        dials: Dials | None = None,
        shares: Float[Array, "cells peaks"] | None = None,
    ) -> CellEncoding:
        """Encodes the value bins of a batch (masked ones included).

        Args:
            batch: cells.
            at: the tokens that are asked for; None asks for all, and for the cells.
            dials: how much of each value is read: what its token counts in the mean
                that is the cell; None is all.
            shares: how much of each peak is there, as in `PeakEncoder`.
        """
        paths = {
            modality: (values, getattr(batch, f"{modality}_present"))
            for modality in MODALITIES
            if (values := self._values(modality, batch)) is not None
        }
        peaks = self._peaks(batch, shares, needed=at is None)
        if not paths:
            assert peaks is not None, "a batch shows genes or peaks"
            return CellEncoding(tokens=None, cells=peaks.cells)
        crossed = self.config.joint == "cross_attention" and len(paths) > 1
        wanted = None if crossed else at
        outputs = {m: self._path(m, v, batch, wanted) for m, (v, _) in paths.items()}
        present = {m: p for m, (_, p) in paths.items()}
        if crossed:
            outputs = joining.cross(
                self.config.path, outputs, present, batch.token_mask, at
            )
        tokens = joining.join(self.config.joint, outputs, present)
        if peaks is not None and self.config.peak_joint == "cross_attention":
            tokens = joining.attend_to_peaks(
                self.config.path, tokens, peaks.tokens, batch.peaks.mask, shares
            )
        if at is not None:
            return CellEncoding(tokens=tokens, cells=None)
        nonzero = jnp.stack([(v > 0) & p[:, None] for v, p in paths.values()]).any(0)
        if batch.token_mask is not None:
            nonzero &= batch.token_mask
        if dials is not None:
            values = {m: v for m, (v, _) in paths.items()}
            nonzero = jnp.where(nonzero, token_dials.there(values, dials), 0)
        cells = token_arrays.mean_over_tokens(tokens, nonzero)
        if peaks is not None:
            some = functools.reduce(jnp.logical_or, present.values())
            open_ = peak_encoder.has_peaks(batch.peaks)
            cells = token_arrays.average_present(
                [cells[:, None], peaks.cells[:, None]], [some, open_]
            )[:, 0]
        return CellEncoding(tokens=tokens, cells=cells)

    @hk.transparent
    def _values(
        self, modality: str, batch: CellBatch
    ) -> Integer[Array, "cells tokens"] | None:
        """The values of genes that are encoded."""
        if modality == "atac" and self.config.atac_path == "peak":
            return None
        return getattr(batch, modality)

    @hk.transparent
    def _peaks(
        self,
        batch: CellBatch,
        shares: Float[Array, "cells peaks"] | None,
        *,
        needed: bool,
    ) -> peak_encoder.PeakEncoding | None:
        """Of the open peaks, where they are shown and something depends on them."""
        crossed = self.config.peak_joint == "cross_attention"
        if self.config.peaks is None or batch.peaks is None:
            return None
        if not (needed or crossed):
            return None
        encoder = peak_encoder.PeakEncoder(self.config.peaks)
        return encoder(batch.peaks, with_tokens=crossed, shares=shares)

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
            values = self._values(modality, batch)
            if values is None:
                continue
            present = getattr(batch, f"{modality}_present")
            counted = jnp.broadcast_to(present[:, None], values.shape)
            if batch.token_mask is not None:
                counted &= batch.token_mask
            path = performer.Performer(config.path, name=f"{modality}_performer")
            tokens = self._embedding(modality)(values, batch.gene_ids)
            errors[modality] = path.approximation_errors(
                self._with_depth(modality, tokens, values, batch), counted
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
        tokens = self._with_depth(name, embed(values, batch.gene_ids), values, batch)
        return performer.Performer(config.path, name=f"{name}_performer")(
            tokens, batch.token_mask, at, silent
        )

    @hk.transparent
    def _with_depth(
        self,
        name: str,
        tokens: Float[Array, "cells tokens dim"],
        values: Integer[Array, "cells tokens"],
        batch: CellBatch,
    ) -> Float[Array, "cells tokens dim"]:
        """Tokens that know how much is seen: masked values and padding are not."""
        if not self.config.depth:
            return tokens
        seen = values <= self.config.num_bins
        if batch.token_mask is not None:
            seen &= batch.token_mask
        total = jnp.where(seen, values, 0).sum(1, dtype=jnp.float32)
        linear = hk.Linear(self.config.path.dim, name=f"{name}_depth")
        return tokens + linear(jnp.log1p(total)[:, None, None])


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
