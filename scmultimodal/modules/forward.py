"""Encoders with their heads, as functions of parameters and a batch: no training."""

from typing import NamedTuple

import haiku as hk
import jax.numpy as jnp
from jaxtyping import Float, Integer

from scmultimodal.modules import cell_encoder, nucleotide_transformer
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.modules.heads import accessibility, cell_vector, counts, segmentation
from scmultimodal.modules.heads.accessibility import ScorerConfig
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.modules.heads.counts import CountDecoderConfig
from scmultimodal.modules.heads.segmentation import SegmentationHeadConfig
from scmultimodal.modules.nucleotide_transformer import NucleotideTransformerConfig
from scmultimodal.schemas.batches import Array, CellBatch


class CellOutputs(NamedTuple):
    """What a cell model says of a batch; None of what it has no head for."""

    tokens: Float[Array, "cells tokens dim"] | None
    """The joint embedding of each token; None where peaks alone are shown."""
    cells: Float[Array, "cells dim"]
    """A vector for each cell."""
    logits: Float[Array, "cells classes"] | None
    """Of the cell types."""
    log_shares: dict[str, Float[Array, "cells genes"]] | None
    """By modality shown, the log of the share of its counts that each gene has."""


class GenomeOutputs(NamedTuple):
    """What a genome model says of sequences; None of what it has no head for."""

    embeddings: Float[Array, "sequences tokens dim"]
    """Of each token, PAD included."""
    scores: Float[Array, "sequences outputs"] | None
    """Accessibility; only differences of one output mean something."""
    elements: Float[Array, "sequences bases elements 2"] | None
    """Logits of no and yes, for each base and element."""


def build_cell_forward(
    encoder: CellEncoderConfig,
    *,
    head: CellTypeHeadConfig | None = None,
    decoder: CountDecoderConfig | None = None,
) -> hk.TransformedWithState:
    """`apply(params, state, rng, batch, is_training=False) -> (CellOutputs, state)`.

    The random features of FAVOR+ are state. Without `is_training` nothing is drawn, and
    rng may be None.
    """

    def forward(batch: CellBatch, is_training: bool = False) -> CellOutputs:
        encoding = cell_encoder.CellEncoder(encoder)(batch)
        logits = log_shares = None
        if head is not None:
            logits = cell_vector.logits_of(
                head, encoder, encoding, batch, is_training=is_training
            )
        if decoder is not None:
            shown = [m for m in ("rna", "atac") if getattr(batch, m) is not None]
            told = counts.CountDecoder(decoder, encoder.num_genes)
            log_shares = told(encoding, batch, shown)
        return CellOutputs(encoding.tokens, encoding.cells, logits, log_shares)

    return hk.transform_with_state(forward)


def build_genome_forward(
    encoder: NucleotideTransformerConfig,
    *,
    scorer: ScorerConfig | None = None,
    segmenter: SegmentationHeadConfig | None = None,
    k: int = 6,
) -> hk.Transformed:
    """`apply(params, None, token_ids) -> GenomeOutputs`.

    A scorer reads sequences of one length, that of its training; a segmenter those
    whose tokens, without CLS, every level of its U-Net can halve. For sequences longer
    than the encoder was trained on give `encoder.for_length(tokens)`.
    """

    def forward(token_ids: Integer[Array, "sequences tokens"]) -> GenomeOutputs:
        network = nucleotide_transformer.NucleotideTransformer(encoder)
        embeddings = network(token_ids.astype(jnp.int32)).embeddings
        read = embeddings.astype(jnp.float32)
        scores = elements = None
        if scorer is not None:
            _, tokens, dim = embeddings.shape
            head = accessibility.build_scorer(
                **vars(scorer), num_tokens=tokens, dim=dim
            )
            scores = head(read)
        if segmenter is not None:
            elements = segmentation.SegmentationHead(segmenter, k)(read)
        return GenomeOutputs(embeddings, scores, elements)

    return hk.transform(forward)
