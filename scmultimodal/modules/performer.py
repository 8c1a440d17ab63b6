"""The Performer encoder: FAVOR+ layers, scanned, and a final LayerNorm."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import haiku as hk
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Bool, Float, Int

from scmultimodal.ops import exact_attention, favor
from scmultimodal.ops.precision import PRECISIONS, Precision
from scmultimodal.schemas.batches import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerformerConfig:
    """Shape of a Performer (SPEC 2.3; defaults are the study's).

    Attributes:
        dim: width of the residual stream.
        num_layers: 0 gives the no-attention control: embeddings and LayerNorm alone.
        num_heads: attention heads.
        key_size: width of a head, independent of `dim` as in scBERT.
        num_features: random features; None means int(key_size · ln key_size).
        feed_forward_multiplier: hidden width of the feed-forward block over `dim`.
        attention: "favor" in linear time, or "exact" softmax attention in quadratic.
        chunk: tokens worked on at a time; changes time and memory only.
        approximate_gelu: tanh approximation of GELU instead of erf.
        dtype: of the products.
    """

    dim: int = 128
    num_layers: int = 6
    num_heads: int = 10
    key_size: int = 64
    num_features: int | None = None
    feed_forward_multiplier: int = 4
    attention: Literal["favor", "exact"] = "favor"
    chunk: int = 128
    approximate_gelu: bool = True
    dtype: Precision = "float32"

    def __post_init__(self):
        if self.num_layers < 0:
            raise ValueError(f"num_layers must be at least 0, got {self.num_layers}")
        for field in ("dim", "num_heads", "feed_forward_multiplier", "chunk"):
            if getattr(self, field) < 1:
                raise ValueError(
                    f"{field} must be positive, got {getattr(self, field)}"
                )
        if self.key_size < 3 and self.num_features is None:
            raise ValueError("key_size below 3 needs num_features to be given")
        for field, choices in (
            ("attention", ("favor", "exact")),
            ("dtype", PRECISIONS),
        ):
            if getattr(self, field) not in choices:
                raise ValueError(
                    f"{field} must be one of {', '.join(choices)}, "
                    f"got {getattr(self, field)!r}"
                )
        if self.num_features is not None and self.num_features < 1:
            raise ValueError(f"num_features must be positive, got {self.num_features}")

    @property
    def features(self) -> int:
        """Random features per head."""
        return self.num_features or favor.default_num_features(self.key_size)

    def flop(self, num_tokens: int) -> int:
        """Floating-point operations of a forward pass over so many tokens.

        Of the products: projections, feed-forward and attention. A backward pass takes
        twice as many.
        """
        inner = self.num_heads * self.key_size
        products = 4 * self.dim * inner
        products += 2 * self.feed_forward_multiplier * self.dim**2
        if self.attention == "favor":
            products += 2 * inner * self.features
            products += 2 * self.num_heads * self.features * (self.key_size + 1)
        else:
            products += 2 * inner * num_tokens
        return 2 * products * self.num_layers * num_tokens


class Performer(hk.Module):
    """A stack of FAVOR+ layers. Projections are state: drawn once, not trained."""

    def __init__(self, config: PerformerConfig, name=None):
        super().__init__(name=name)
        self.config = config

    def __call__(
        self,
        x: Float[Array, "cells tokens dim"],
        token_mask: Bool[Array, "cells tokens"] | None,
        at: Int[Array, "cells chosen"] | None = None,
    ) -> Float[Array, "cells rows dim"]:
        """Encodes tokens; rows at padding are meaningless.

        Args:
            x: the tokens' embeddings.
            token_mask: True at real tokens.
            at: the tokens whose rows are wanted; the last layer computes no others.
        """
        config = self.config
        layers = [
            PerformerLayer(config, f"layer_{i}")() for i in range(config.num_layers)
        ]

        def apply(x, layer, at=None):
            parameters, projection = layer
            how = {
                "at": at,
                "chunk": config.chunk,
                "approximate_gelu": config.approximate_gelu,
                "precision": config.dtype,
            }
            if projection is None:
                return exact_attention.layer(parameters, x, token_mask, **how)
            return favor.layer(parameters, projection, x, token_mask, **how)

        whole = layers if at is None else layers[:-1]
        if whole:
            x, _ = lax.scan(lambda x, layer: (apply(x, layer), None), x, _stack(whole))
        if at is not None:
            x = apply(x, layers[-1], at) if layers else favor.rows_at(x, at)
        return hk.LayerNorm(-1, create_scale=True, create_offset=True, name="norm")(x)


class PerformerLayer(hk.Module):
    """Declares one layer's parameters, so that they are named by layer outside."""

    def __init__(self, config: PerformerConfig, name: str):
        super().__init__(name=name)
        self.config = config

    def __call__(
        self,
    ) -> tuple[favor.LayerParameters, Float[Array, "features key_size"] | None]:
        """Returns the layer's parameters and, for FAVOR+, its random projection."""
        config = self.config
        dim, heads, key_size = config.dim, config.num_heads, config.key_size
        hidden = config.feed_forward_multiplier * dim

        def weight(name: str, shape: tuple[int, ...], fan_in: int) -> Array:
            init = hk.initializers.TruncatedNormal(fan_in**-0.5)
            return hk.get_parameter(name, shape, init=init)

        def vector(name: str, size: int, init=jnp.zeros) -> Array:
            return hk.get_parameter(name, (size,), init=init)

        parameters = favor.LayerParameters(
            attention_norm_scale=vector("attention_norm_scale", dim, jnp.ones),
            attention_norm_offset=vector("attention_norm_offset", dim),
            query=weight("query", (dim, heads, key_size), dim),
            key=weight("key", (dim, heads, key_size), dim),
            value=weight("value", (dim, heads, key_size), dim),
            output=weight("output", (heads, key_size, dim), heads * key_size),
            output_bias=vector("output_bias", dim),
            feed_forward_norm_scale=vector("feed_forward_norm_scale", dim, jnp.ones),
            feed_forward_norm_offset=vector("feed_forward_norm_offset", dim),
            feed_forward_in=weight("feed_forward_in", (dim, hidden), dim),
            feed_forward_in_bias=vector("feed_forward_in_bias", hidden),
            feed_forward_out=weight("feed_forward_out", (hidden, dim), hidden),
            feed_forward_out_bias=vector("feed_forward_out_bias", dim),
        )
        if config.attention == "exact":
            return parameters, None
        projection = hk.get_state(
            "projection",
            (config.features, key_size),
            init=lambda shape, _: favor.orthogonal_projection(
                hk.next_rng_key(), *shape
            ),
        )
        return parameters, projection


def _stack(layers: Sequence[tuple]) -> tuple:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
