"""Four heads that score how accessible a region is (SPEC 3.2).

Each ends in one linear map to the score and differs in what it makes of the tokens
before. All read padding too. Where SPEC names no nonlinearity it is swish, as in the
encoder and the U-Net.
"""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Float

from scmultimodal.modules import unet
from scmultimodal.schemas.batches import Array

NAME = "accessibility_head"
"""Where the parameters of a scorer stand, whichever it is."""

ScorerName = Literal["linear", "transformer", "unet", "convolutional"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScorerConfig:
    """Which head, and its shape. Defaults give the parameter counts of SPEC 3.2.

    Attributes:
        name: which head.
        outputs: scores, one for each cell type, each with a last map of its own; None
            gives one score for all.
        transformer_blocks: attention and feed-forward blocks of the transformer.
        transformer_heads: attention heads; they divide the width.
        transformer_hidden: hidden width of its feed-forward block.
        unet_channels: widths of the U-Net's levels; None means (D, 2D).
        convolution_channels: output channels of the 2-D convolutions.
        convolution_kernel: their width and height.
        convolution_pool: width and height of the average pooling after each.
        convolution_hidden: units between the last pooling and the score.
    """

    name: ScorerName = "convolutional"
    outputs: int | None = None
    transformer_blocks: int = 2
    transformer_heads: int = 1
    transformer_hidden: int = 128
    unet_channels: tuple[int, ...] | None = None
    convolution_channels: tuple[int, ...] = (4, 8)
    convolution_kernel: int = 5
    convolution_pool: int = 4
    convolution_hidden: int = 256

    def __post_init__(self):
        if self.name not in _SCORERS:
            raise ValueError(f"name must be one of {list(_SCORERS)}, got {self.name!r}")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            sizes = value if isinstance(value, tuple) else (value,)
            if any(isinstance(size, int) and size < 1 for size in sizes):
                raise ValueError(f"{field.name} must be positive, got {value}")


def output_name(number: int) -> str:
    """Module of one of several outputs."""
    return f"score_{number}"


class Scorer(hk.Module):
    """Scores of sequences, from embeddings of one fixed length and width."""

    def __init__(self, config: ScorerConfig, num_tokens: int, dim: int):
        super().__init__(name=NAME)
        self.config, self.num_tokens, self.dim = config, num_tokens, dim

    def __call__(
        self, embeddings: Float[Array, "sequences tokens dim"]
    ) -> Float[Array, "sequences outputs"]:
        """Scores sequences; only differences of one output mean something.

        Every output has parameters of its own name, so that others can be added.
        """
        if embeddings.shape[1:] != (self.num_tokens, self.dim):
            raise ValueError(
                f"a {self.config.name} scorer for [{self.num_tokens}, {self.dim}] "
                f"cannot read embeddings of {list(embeddings.shape[1:])}"
            )
        flat = hk.Flatten()(self._features(embeddings))
        outputs = self.config.outputs
        names = (
            ["score"] if outputs is None else [output_name(i) for i in range(outputs)]
        )
        return jnp.concatenate([hk.Linear(1, name=n)(flat) for n in names], axis=1)

    @abc.abstractmethod
    def _features(
        self, x: Float[Array, "sequences tokens dim"]
    ) -> Float[Array, "sequences ..."]:
        """What the last map reads."""


class LinearScorer(Scorer):
    """A weight for each token and channel."""

    @hk.transparent
    def _features(self, x):
        return x


class TransformerScorer(Scorer):
    """Learned positions, then attention and feed-forward, each normalised after."""

    @hk.transparent
    def _features(self, x):
        init = hk.initializers.TruncatedNormal(self.dim**-0.5)
        x = x + hk.get_parameter("positions", x.shape[1:], init=init)
        for i in range(self.config.transformer_blocks):
            x = self._norm(f"block_{i}_attention_norm", x + self._attention(i, x))
            x = self._norm(f"block_{i}_norm", x + self._feed_forward(i, x))
        return x

    @hk.transparent
    def _attention(self, i: int, x: Array) -> Array:
        heads = self.config.transformer_heads
        if self.dim % heads:
            raise ValueError(f"{heads} heads do not divide the width {self.dim}")
        attention = hk.MultiHeadAttention(
            heads,
            self.dim // heads,
            w_init=hk.initializers.VarianceScaling(),
            model_size=self.dim,
            name=f"block_{i}_attention",
        )
        return attention(x, x, x)

    @hk.transparent
    def _feed_forward(self, i: int, x: Array) -> Array:
        hidden = hk.Linear(self.config.transformer_hidden, name=f"block_{i}_in")(x)
        return hk.Linear(self.dim, name=f"block_{i}_out")(jax.nn.swish(hidden))

    @hk.transparent
    def _norm(self, name: str, x: Array) -> Array:
        return hk.LayerNorm(-1, create_scale=True, create_offset=True, name=name)(x)


class UNetScorer(Scorer):
    """The U-Net of segmentation. Token 0 is dropped, whatever stands there (SPEC 5)."""

    @hk.transparent
    def _features(self, x):
        config = unet.UNetConfig(channels=self.config.unet_channels)
        return jax.nn.swish(unet.UNet(config)(x[:, 1:]))


class ConvolutionalScorer(Scorer):
    """The embeddings as an image of one channel, tokens by width."""

    @hk.transparent
    def _features(self, x):
        config = self.config
        shrunk = config.convolution_pool ** len(config.convolution_channels)
        if min(self.num_tokens, self.dim) < shrunk:
            raise ValueError(
                f"a convolutional scorer pools [{self.num_tokens}, {self.dim}] by "
                f"{shrunk}: nothing is left; use a smaller convolution_pool"
            )
        x = x[..., None]
        for i, channels in enumerate(config.convolution_channels):
            kernel = config.convolution_kernel
            x = hk.Conv2D(channels, kernel, name=f"convolution_{i}")(x)
            pool = (config.convolution_pool, config.convolution_pool, 1)
            x = hk.avg_pool(jax.nn.swish(x), pool, pool, padding="VALID")
        hidden = hk.Linear(config.convolution_hidden, name="hidden")
        return jax.nn.swish(hidden(hk.Flatten()(x)))


_SCORERS: dict[str, type[Scorer]] = {
    "linear": LinearScorer,
    "transformer": TransformerScorer,
    "unet": UNetScorer,
    "convolutional": ConvolutionalScorer,
}


def build_scorer(
    name: ScorerName = "convolutional",
    *,
    num_tokens: int = 501,
    dim: int = 512,
    **options: Any,
) -> Scorer:
    """The module that maps [sequences, tokens, dim] to [sequences, outputs].

    Args:
        name: which head.
        num_tokens: tokens of a sequence, CLS and padding included.
        dim: width of the embeddings.
        **options: further fields of `ScorerConfig`.
    """
    config = ScorerConfig(name=name, **options)
    return _SCORERS[name](config, num_tokens, dim)


def num_layers(params: Mapping[str, Any]) -> int:
    """Layers of a scorer as the study counts them: modules that own parameters."""
    return sum(name.split("/")[0] == NAME for name in params)
