"""Pre-training of the encoder of DNA: predict hidden 6-mers."""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from scmultimodal.modules import nucleotide_transformer
from scmultimodal.ops import losses, masking, metrics
from scmultimodal.schemas.batches import Array, TokenBatch
from scmultimodal.tasks import task


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedKmersConfig:
    """What is hidden from the encoder.

    Attributes:
        encoder: shape of the encoder of DNA.
        first_kmer: id of the first k-mer. k-mers alone are predicted: no padding,
            CLS, single base or N.
        num_kmers: k-mers, with ids from there on (the defaults are v2's 6-mers).
        mask_share: of the k-mers, the share to predict.
        replaced_share: of those, the share that becomes the mask token.
        random_share: of those, the share that becomes a random k-mer; what is left
            keeps its own.
    """

    encoder: nucleotide_transformer.NucleotideTransformerConfig
    first_kmer: int = 6
    num_kmers: int = 4096
    mask_share: float = 0.15
    replaced_share: float = 0.8
    random_share: float = 0.1

    def __post_init__(self):
        if not 0 < self.mask_share <= 1:
            raise ValueError(f"mask_share must be in (0, 1], got {self.mask_share}")
        shares = (self.replaced_share, self.random_share)
        if min(shares) < 0 or sum(shares) > 1:
            raise ValueError(
                "replaced_share and random_share must not be negative nor exceed 1 "
                f"together, got {shares}"
            )
        last = self.first_kmer + self.num_kmers
        if self.num_kmers < 1 or last > self.encoder.vocabulary_size:
            raise ValueError(
                f"num_kmers must be positive and fit the encoder's vocabulary of "
                f"{self.encoder.vocabulary_size}, got {self.num_kmers} from "
                f"{self.first_kmer} on"
            )


class MaskedKmers:
    """Mean cross-entropy, in nats, of the k-mers to predict, over the whole batch."""

    def __init__(self, config: MaskedKmersConfig):
        self.config = config
        self._forward = hk.transform_with_state(self._logits)

    def _logits(
        self, token_ids: Int[Array, "sequences tokens"]
    ) -> Float[Array, "sequences tokens vocabulary"]:
        encoder = nucleotide_transformer.NucleotideTransformer(self.config.encoder)
        return encoder(token_ids, with_logits=True).logits.astype(jnp.float32)

    def init(
        self, rng: jax.Array, batch: TokenBatch
    ) -> tuple[task.Params, task.Params]:
        """Fresh parameters of the encoder and its LM head."""
        return self._forward.init(rng, jnp.asarray(batch.token_ids, jnp.int32))

    def predict(
        self, params: task.Params, network_state: task.Params, batch: TokenBatch
    ) -> Float[Array, "sequences tokens vocabulary"]:
        """Logits of every token of the vocabulary at each position."""
        token_ids = jnp.asarray(batch.token_ids, jnp.int32)
        return self._forward.apply(params, network_state, None, token_ids)[0]

    def mask(
        self, rng: jax.Array, batch: TokenBatch
    ) -> tuple[TokenBatch, Bool[Array, "sequences tokens"]]:
        """Hides k-mers: returns what the encoder may see, and where it must predict."""
        config = self.config
        token_ids, row = jnp.asarray(batch.token_ids, jnp.int32), jnp.asarray(batch.row)
        rank = token_ids - config.first_kmer
        is_kmer = (rank >= 0) & (rank < config.num_kmers)
        choose, replace, draw = jax.random.split(rng, 3)
        num_tokens = token_ids.shape[1]
        where = masking.draw(choose, row, num_tokens, config.mask_share) & is_kmer
        keys = masking.per_cell_keys(replace, row)
        fate = jax.vmap(lambda key: jax.random.uniform(key, (num_tokens,)))(keys)
        masked = fate < config.replaced_share
        swapped = fate < config.replaced_share + config.random_share
        other = self._random_kmers(draw, row, num_tokens)
        seen = jnp.where(
            masked, config.encoder.mask_id, jnp.where(swapped, other, token_ids)
        )
        return batch.replace(token_ids=jnp.where(where, seen, token_ids)), where

    def _random_kmers(
        self, rng: jax.Array, row: Int[Array, " sequences"], num_tokens: int
    ) -> Int[Array, "sequences tokens"]:
        first = self.config.first_kmer
        stop = first + self.config.num_kmers
        return jax.vmap(
            lambda key: jax.random.randint(key, (num_tokens,), first, stop)
        )(masking.per_cell_keys(rng, row))

    def loss(
        self,
        params: task.Params,
        network_state: task.Params,
        rng: jax.Array,
        batch: TokenBatch,
        *,
        is_training: bool,
    ) -> task.LossOutput:
        """See `Task.loss`.

        Metrics: hidden_loss and hidden_accuracy, where the mask token stood. The loss
        includes k-mers that were left as they are, which a model may copy: it cannot
        be compared with what another makes of the context alone.
        """
        del is_training  # The network has no dropout.
        visible, where = self.mask(rng, batch)
        where &= jnp.asarray(batch.sequence_mask)[:, None]
        logits = self.predict(params, network_state, visible)
        values = losses.token_cross_entropy(logits=logits, labels=batch.token_ids)
        correct = logits.argmax(-1) == batch.token_ids
        hidden = where & (visible.token_ids == self.config.encoder.mask_id)
        accuracy = metrics.share_true(values=correct, where=hidden)
        hidden_loss = jnp.where(hidden, values, 0).sum(), accuracy[1]
        total = jnp.where(where, values, 0).sum(), where.sum().astype(jnp.float32)
        measured = {"hidden_loss": hidden_loss, "hidden_accuracy": accuracy}
        return total, (network_state, measured)
