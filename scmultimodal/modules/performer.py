"""The Performer encoder: FAVOR+ layers, scanned, and a final LayerNorm."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import haiku as hk
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Bool, Float, Int

from scmultimodal.ops import exact_attention, favor, static_zeros
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
        redraw_every: training steps after which the random features are drawn anew, as
            performer-pytorch can; None keeps the first.
        chunk: tokens worked on at a time; changes time and memory only. None takes
            `favor.default_chunk`.
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
    redraw_every: int | None = None
    chunk: int | None = None
    approximate_gelu: bool = True
    dtype: Precision = "float32"

    def __post_init__(self):
        if self.num_layers < 0:
            raise ValueError(f"num_layers must be at least 0, got {self.num_layers}")
        for field in (
            "dim",
            "num_heads",
            "num_features",
            "feed_forward_multiplier",
            "redraw_every",
            "chunk",
        ):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ValueError(f"{field} must be positive, got {value}")
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

    @property
    def features(self) -> int:
        """Random features per head."""
        return self.num_features or favor.default_num_features(self.key_size)


TokenMask = Bool[Array, "cells tokens"] | Float[Array, "cells tokens"]

Layer = tuple[favor.LayerParameters, Array | None]
"""Its parameters and, for FAVOR+, its random projection."""


Silent = tuple[Float[Array, "1 genes dim"], Int[Array, "cells tokens"]]
"""For static zeros: the embedding of the cell in which all genes are silent, and the
gene of each token."""


class Performer(hk.Module):
    """A stack of FAVOR+ layers. Projections are state: drawn, not trained."""

    def __init__(self, config: PerformerConfig, name=None):
        super().__init__(name=name)
        self.config = config

    def __call__(
        self,
        x: Float[Array, "cells tokens dim"],
        token_mask: TokenMask | None,
        at: Int[Array, "cells chosen"] | None = None,
        silent: Silent | None = None,
    ) -> Float[Array, "cells rows dim"]:
        """Encodes tokens; rows at padding are meaningless.

        Args:
            x: the tokens' embeddings.
            token_mask: True at real tokens; or how much each counts in the attention
                of all, 0 for not at all.
            at: the tokens whose rows are wanted; the last layer computes no others.
            silent: what is a key beside the tokens (`ops.static_zeros`).
        """
        config, layers = self.config, self._layers()
        if config.attention == "exact":
            x = self._exact(layers, x, token_mask, at)
        else:
            x = self._favor(layers, x, token_mask, at, silent)
        return hk.LayerNorm(-1, create_scale=True, create_offset=True, name="norm")(x)

    @hk.name_like("__call__")
    def approximation_errors(
        self,
        x: Float[Array, "cells tokens dim"],
        token_mask: Bool[Array, "cells tokens"],
    ) -> Float[Array, " layers"]:
        """How far FAVOR+ is from softmax attention in each layer, on its own stream.

        See `exact_attention.approximation_error`.
        """

        def measure(x, layer):
            parameters, projection = layer
            error = exact_attention.approximation_error(
                parameters, projection, x, token_mask
            )
            y = favor.layer(
                parameters,
                projection,
                x,
                token_mask,
                approximate_gelu=self.config.approximate_gelu,
            )
            return y, error

        return lax.scan(measure, x, _stack(self._layers()))[1]

    @hk.transparent
    def _layers(self) -> list[Layer]:
        config = self.config
        return [
            PerformerLayer(config, f"layer_{i}")() for i in range(config.num_layers)
        ]

    @hk.transparent
    def _favor(
        self,
        layers: Sequence[Layer],
        x: Float[Array, "cells tokens dim"],
        token_mask: TokenMask | None,
        at: Int[Array, "cells chosen"] | None,
        silent: Silent | None,
    ) -> Float[Array, "cells rows dim"]:
        """The layers of FAVOR+; the stream stays in chunks from first to last."""
        numbers = self.config.num_heads * self.config.features
        most = self.config.chunk or favor.default_chunk(numbers)
        chunk = min(most, x.shape[1])
        if token_mask is None:
            token_mask = jnp.ones(x.shape[:2], bool)
        mask = favor.split(token_mask, chunk)
        background = silent and static_zeros.begin(*silent, chunk=most)

        def apply(streams, layer, rows=None):
            (x, background), (parameters, projection) = streams, layer
            how = {
                "rows": rows,
                "approximate_gelu": self.config.approximate_gelu,
                "precision": self.config.dtype,
            }
            if background is None:
                x = favor.chunked_layer(parameters, projection, x, mask, **how)
                return x, None
            return static_zeros.chunked_layer(
                parameters, projection, x, mask, background, **how
            )

        streams = _scan(
            apply,
            (favor.split(x, chunk), background),
            layers if at is None else layers[:-1],
        )
        if at is None:
            return favor.merge(streams[0], x.shape[1])
        rows = favor.rows_at(streams[0], at)
        if not layers:
            return rows
        chunks = favor.split(rows, min(most, rows.shape[1]))
        y, _ = apply(streams, layers[-1], chunks)
        return favor.merge(y, rows.shape[1])

    @hk.transparent
    def _exact(
        self,
        layers: Sequence[Layer],
        x: Float[Array, "cells tokens dim"],
        token_mask: TokenMask | None,
        at: Int[Array, "cells chosen"] | None,
    ) -> Float[Array, "cells rows dim"]:
        """The layers of softmax attention."""
        numbers = self.config.num_heads * x.shape[1]

        def apply(x, layer, at=None):
            return exact_attention.layer(
                layer[0],
                x,
                token_mask,
                at=at,
                chunk=self.config.chunk or favor.default_chunk(numbers),
                approximate_gelu=self.config.approximate_gelu,
                precision=self.config.dtype,
            )

        if at is None:
            return _scan(apply, x, layers)
        if not layers:
            return jnp.take_along_axis(x, at[..., None], 1)
        return apply(_scan(apply, x, layers[:-1]), layers[-1], at)


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
        return parameters, self._projection()

    @hk.transparent
    def _projection(self) -> Float[Array, "features key_size"]:
        """The random directions; where there is randomness, drawn anew in time."""
        every = self.config.redraw_every
        shape = (self.config.features, self.config.key_size)
        projection = hk.get_state(
            "projection",
            shape,
            init=lambda shape, _: favor.orthogonal_projection(
                hk.next_rng_key(), *shape
            ),
        )
        # Asked for only where it is used: other draws of the network depend on it.
        rng = None if every is None else hk.maybe_next_rng_key()
        if every is None or rng is None:
            return projection
        uses = hk.get_state("projection_uses", (), jnp.int32, init=jnp.zeros)
        projection = lax.cond(
            uses < every,
            lambda: projection,
            lambda: favor.orthogonal_projection(rng, *shape),
        )
        hk.set_state("projection", projection)
        hk.set_state("projection_uses", jnp.where(uses < every, uses, 0) + 1)
        return projection


def _scan(apply: Callable[..., Any], streams: Any, layers: Sequence[Layer]) -> Any:
    """Applies layers one after the other, compiled once."""
    if not layers:
        return streams
    return lax.scan(
        lambda streams, layer: (apply(streams, layer), None), streams, _stack(layers)
    )[0]


def _stack(layers: Sequence[Layer]) -> Layer:
    """Layers as one, with a leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
