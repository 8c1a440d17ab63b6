"""Nucleotide Transformer: an encoder of DNA as tokens of k letters (SPEC 3.5).

Version 2 has rotary positions and a gated feed-forward block without biases, version 1
learned positions and a plain one; both are fields of one configuration. Beside the
reference, `instadeepai/nucleotide-transformer`, of which nothing is copied:

- parameters have their own names and shapes; `weights.nucleotide_transformer` knows
  the published ones;
- attention maps come whole, so that head 3 is head 3 (there, asking for 3 gives 4);
- logits at PAD are left as they are (there, PAD in front zeroes all of a sequence);
- a sequence of PAD alone is a number everywhere, and so is bfloat16 with padding.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Bool, Float, Int

from scmultimodal.ops import favor, precision, transformer
from scmultimodal.schemas.batches import Array

UNROLLED = 4
"""Up to so many layers the scan is unrolled: faster, and still quick to compile."""

_SIZES = ("vocabulary_size", "dim", "num_layers", "num_heads", "hidden", "max_tokens")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NucleotideTransformerConfig:
    """Shape of a Nucleotide Transformer; defaults are those of version 2, 50M.

    Attributes:
        vocabulary_size: tokens, special ones included.
        dim: width of the residual stream.
        num_layers: layers.
        num_heads: attention heads.
        key_size: width of a head; None means dim / num_heads.
        hidden: width of the feed-forward block, behind the gate if there is one.
        gated: the feed-forward block is gated.
        activation: of the feed-forward block.
        feed_forward_biases: the feed-forward block has biases.
        rotary: queries and keys are turned by their positions.
        rescaling: how many times longer than in training sequences may be: changes
            the base of rotary positions. None leaves it alone.
        learned_positions: a vector for each position is added to the embedding.
            Positions count the tokens that are not PAD.
        max_tokens: what the model was trained on; learned positions end there.
        embedding_scale: factor of the token embedding.
        embedding_norm: a LayerNorm before the first layer.
        token_dropout: mask tokens embed as zero, and the embeddings are scaled by the
            share that was not masked: in training (`mask_share`) over here.
        mask_share: share of tokens that training masked.
        pad_id: id of PAD.
        mask_id: id of the mask token.
        remat: recompute each layer in the backward pass instead of storing it.
        dtype: of the products.
    """

    vocabulary_size: int = 4107
    dim: int = 512
    num_layers: int = 12
    num_heads: int = 16
    key_size: int | None = None
    hidden: int = 2048
    gated: bool = True
    activation: str = "swish"
    feed_forward_biases: bool = False
    rotary: bool = True
    rescaling: float | None = None
    learned_positions: bool = False
    max_tokens: int = 2048
    embedding_scale: float = 1.0
    embedding_norm: bool = False
    token_dropout: bool = False
    mask_share: float = 0.12
    pad_id: int = 1
    mask_id: int = 2
    remat: bool = False
    dtype: precision.Precision = "float32"

    def __post_init__(self):
        for field in _SIZES:
            if getattr(self, field) < 1:
                raise ValueError(
                    f"{field} must be positive, got {getattr(self, field)}"
                )
        if self.key_size is None and self.dim % self.num_heads:
            raise ValueError(
                f"key_size must be given where num_heads ({self.num_heads}) does not "
                f"divide dim ({self.dim})"
            )
        if self.head_size < 1 or (self.rotary and self.head_size % 2):
            raise ValueError(
                "key_size must be positive, and even for rotary positions, "
                f"got {self.head_size}"
            )
        if self.rescaling is not None and (self.rescaling <= 0 or self.head_size < 3):
            raise ValueError(
                "rescaling must be positive and needs a key_size above 2, got "
                f"{self.rescaling} with {self.head_size}"
            )
        if self.activation not in transformer.ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {sorted(transformer.ACTIVATIONS)}, "
                f"got {self.activation!r}"
            )
        if self.dtype not in precision.PRECISIONS:
            raise ValueError(f"dtype must be float32 or bfloat16, got {self.dtype!r}")
        if not 0 <= self.mask_share < 1:
            raise ValueError(f"mask_share must be in [0, 1), got {self.mask_share}")

    @property
    def head_size(self) -> int:
        """Width of an attention head."""
        return self.dim // self.num_heads if self.key_size is None else self.key_size

    @property
    def reach(self) -> int:
        """Tokens that positions are good for: more where they are rescaled already."""
        return int(self.max_tokens * max(1.0, self.rescaling or 1.0))

    def for_length(self, num_tokens: int) -> "NucleotideTransformerConfig":
        """The same model for longer sequences than it was trained on.

        Beyond `reach`, rotary positions are rescaled by how many times `max_tokens`
        there are (SPEC 3.5). A model without rotary positions stays as it is.
        """
        if not self.rotary or num_tokens <= self.reach:
            return self
        return dataclasses.replace(self, rescaling=num_tokens / self.max_tokens)


class Encoding(NamedTuple):
    """What the encoder says of a batch of sequences."""

    embeddings: Float[Array, "sequences tokens dim"]
    """After the final LayerNorm, PAD rows included: what the heads read."""
    logits: Float[Array, "sequences tokens vocabulary"] | None
    """Of every token at each position; None unless asked for."""
    layers: dict[int, Float[Array, "sequences tokens dim"]]
    """Embedding after each layer that was asked for."""
    attention: dict[int, Float[Array, "sequences heads tokens tokens"]]
    """Attention, [from query, to key], of each layer that was asked for."""


class NucleotideTransformer(hk.Module):
    """A stack of layers, scanned, a final LayerNorm, and an LM head on demand."""

    def __init__(
        self, config: NucleotideTransformerConfig, name: str = "nucleotide_transformer"
    ):
        super().__init__(name=name)
        self.config = config

    def __call__(
        self,
        token_ids: Int[Array, "sequences tokens"],
        *,
        with_logits: bool = False,
        layers: Sequence[int] = (),
        attention: Sequence[int] = (),
    ) -> Encoding:
        """Encodes sequences.

        Args:
            token_ids: tokens, and PAD in front, behind or on both sides.
            with_logits: also apply the LM head; without it, it has no parameters.
            layers: embeddings to return besides the last. Layers count from 1, as in
                the reference; 0 is what enters the first. The last one is taken after
                the final LayerNorm, as there.
            attention: layers whose attention to return, counted from 1.

        Raises:
            ValueError: a layer that there is not, or more tokens than learned
                positions.
        """
        config = self.config
        _check_layers("layers", layers, 0, config.num_layers)
        _check_layers("attention", attention, 1, config.num_layers)
        token_mask = token_ids != config.pad_id
        x = self._embed(token_ids, token_mask)
        between, maps = self._apply_layers(x, token_mask, {*layers}, {*attention})
        scale, offset = _norm_parameters("norm", config.dim)
        embeddings = favor.layer_norm(between[config.num_layers], scale, offset)
        between[config.num_layers] = embeddings
        return Encoding(
            embeddings=embeddings,
            logits=LanguageModelHead(config)(embeddings) if with_logits else None,
            layers={i: between[i] for i in layers},
            attention=maps,
        )

    @hk.transparent
    def _embed(self, token_ids: Array, token_mask: Array) -> Array:
        config = self.config
        init = hk.initializers.TruncatedNormal(config.dim**-0.5)
        table = hk.get_parameter(
            "token_embedding", (config.vocabulary_size, config.dim), init=init
        )
        x = jnp.take(table, token_ids, 0)
        if config.token_dropout:
            x = scale_for_masks(
                x, token_ids == config.mask_id, token_mask, config.mask_share
            )
        x = config.embedding_scale * x
        if config.learned_positions:
            if token_ids.shape[1] > config.max_tokens:
                raise ValueError(
                    f"{token_ids.shape[1]} tokens for {config.max_tokens} learned "
                    "positions"
                )
            # Row pad_id is that of PAD; those before it are never used, and published.
            rows = config.max_tokens + config.pad_id + 1
            table = hk.get_parameter(
                "position_embedding", (rows, config.dim), init=init
            )
            position = jnp.cumsum(token_mask, 1) * token_mask + config.pad_id
            x = x + jnp.take(table, position, 0)
        if config.embedding_norm:
            x = favor.layer_norm(x, *_norm_parameters("embedding_norm", config.dim))
        return x

    @hk.transparent
    def _apply_layers(
        self, x: Array, token_mask: Array, layers: set[int], attention: set[int]
    ) -> tuple[dict[int, Array], dict[int, Array]]:
        """{layer: embedding} of at least the last layer, and {layer: attention}."""
        config = self.config
        stack = _stack(
            [EncoderLayer(config, f"layer_{i}")() for i in range(config.num_layers)]
        )
        by = None
        if config.rotary:
            by = transformer.rotation(
                x.shape[1], config.head_size, rescaling=config.rescaling
            )

        def apply(x, parameters, chunk):
            return transformer.layer(
                parameters,
                x,
                token_mask,
                by,
                activation=config.activation,
                gated=config.gated,
                dtype=config.dtype,
                chunk=chunk,
            )

        step = functools.partial(apply, chunk=transformer.queries_at_once())
        if config.remat:
            step = jax.checkpoint(step)
        between, maps, done = {0: x}, {}, 0
        for stop in sorted({*layers, *attention, config.num_layers} - {0}):
            # A layer whose attention is wanted runs by itself.
            end = stop - (stop in attention)
            part = jax.tree.map(lambda leaf: leaf[done:end], stack)  # noqa: B023
            x, _ = lax.scan(
                lambda x, layer: (step(x, layer)[0], None),
                x,
                part,
                unroll=config.num_layers <= UNROLLED,
            )
            if stop in attention:
                last = jax.tree.map(lambda leaf: leaf[end], stack)  # noqa: B023
                x, maps[stop] = apply(x, last, None)
            between[stop], done = x, stop
        return between, maps


class EncoderLayer(hk.Module):
    """Declares one layer's parameters, so that they are named by layer outside."""

    def __init__(self, config: NucleotideTransformerConfig, name: str):
        super().__init__(name=name)
        self.config = config

    def __call__(self) -> transformer.LayerParameters:
        """Returns the layer's parameters."""
        config = self.config
        dim, heads, key_size = config.dim, config.num_heads, config.head_size
        inner = config.hidden * (2 if config.gated else 1)
        parameters = {}
        for name in ("attention_norm", "feed_forward_norm"):
            scale, offset = _norm_parameters(name, dim)
            parameters |= {f"{name}_scale": scale, f"{name}_offset": offset}
        for name in ("query", "key", "value"):
            parameters[name] = _weight(name, (dim, heads, key_size), dim)
            parameters[f"{name}_bias"] = _bias(f"{name}_bias", heads, key_size)
        parameters["output"] = _weight(
            "output", (heads, key_size, dim), heads * key_size
        )
        parameters["output_bias"] = _bias("output_bias", dim)
        for name, shape in (("in", (dim, inner)), ("out", (config.hidden, dim))):
            name = f"feed_forward_{name}"
            parameters[name] = _weight(name, shape, shape[0])
            parameters[f"{name}_bias"] = (
                _bias(f"{name}_bias", shape[1]) if config.feed_forward_biases else None
            )
        return transformer.LayerParameters(**parameters)


class LanguageModelHead(hk.Module):
    """Embeddings to logits: linear, exact GELU, LayerNorm, linear; weights untied."""

    def __init__(self, config: NucleotideTransformerConfig, name: str = "lm_head"):
        super().__init__(name=name)
        self.config = config

    def __call__(
        self, embeddings: Float[Array, "sequences tokens dim"]
    ) -> Float[Array, "sequences tokens vocabulary"]:
        """Logits of every token of the vocabulary."""
        dim, size = self.config.dim, self.config.vocabulary_size

        def linear(name: str, x: Array, width: int) -> Array:
            weight = _weight(name, (dim, width), dim)
            y = precision.product("btD,DE->btE", x, weight, self.config.dtype)
            return y + _bias(f"{name}_bias", width)

        x = jax.nn.gelu(linear("dense", embeddings, dim), approximate=False)
        x = favor.layer_norm(x, *_norm_parameters("norm", dim))
        return linear("output", x, size)


def scale_for_masks(
    x: Float[Array, "sequences tokens dim"],
    is_masked: Bool[Array, "sequences tokens"],
    token_mask: Bool[Array, "sequences tokens"],
    trained_share: float,
) -> Float[Array, "sequences tokens dim"]:
    """ESM's token dropout: masked embeddings become zero, the rest make up for it."""
    share = is_masked.sum(-1) / jnp.maximum(token_mask.sum(-1), 1)
    left = jnp.where(share < 1, 1 - share, 1).astype(x.dtype)
    x = jnp.where(is_masked[..., None], 0, x)
    return x * (1 - trained_share) / left[:, None, None]


def build_encoder(
    config: NucleotideTransformerConfig,
    *,
    with_logits: bool = False,
    layers: Sequence[int] = (),
    attention: Sequence[int] = (),
) -> hk.Transformed:
    """The encoder alone: `apply(params, None, token_ids) -> Encoding`.

    The parameters of a task that contains an encoder serve as they are.
    """
    return hk.transform(
        lambda token_ids: NucleotideTransformer(config)(
            token_ids, with_logits=with_logits, layers=layers, attention=attention
        )
    )


def _check_layers(name: str, wanted: Sequence[int], first: int, last: int) -> None:
    for layer in wanted:
        if not first <= layer <= last:
            raise ValueError(f"{name} go from {first} to {last}, got {layer}")


def _weight(name: str, shape: tuple[int, ...], fan_in: int) -> Array:
    init = hk.initializers.TruncatedNormal(fan_in**-0.5)
    return hk.get_parameter(name, shape, init=init)


def _bias(name: str, *shape: int) -> Array:
    return hk.get_parameter(name, shape, init=jnp.zeros)


def _norm_parameters(name: str, dim: int) -> tuple[Array, Array]:
    scale = hk.get_parameter(f"{name}_scale", (dim,), init=jnp.ones)
    return scale, hk.get_parameter(f"{name}_offset", (dim,), init=jnp.zeros)


def _stack(
    layers: Sequence[transformer.LayerParameters],
) -> transformer.LayerParameters:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
