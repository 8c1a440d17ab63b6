"""The 1-D U-Net that reads tokens of DNA (SPEC 3.2 and 3.4)."""

import dataclasses
from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Float

from scmultimodal.schemas.batches import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Shape of a U-Net.

    Attributes:
        channels: widths of the levels, from the finest down; None means (D, 2D).
        kernel: tokens that a convolution sees.
        block_size: convolutions of a block.
    """

    channels: tuple[int, ...] | None = None
    kernel: int = 3
    block_size: int = 2

    def __post_init__(self):
        if self.channels is not None and not (self.channels and min(self.channels) > 0):
            raise ValueError(
                f"channels must be positive, one per level, got {self.channels}"
            )
        for field in ("kernel", "block_size"):
            if getattr(self, field) < 1:
                raise ValueError(
                    f"{field} must be positive, got {getattr(self, field)}"
                )


class UNet(hk.Module):
    """Halves the tokens level by level and doubles them back, adding what was there.

    A block is convolution and swish, twice. On the way down a block is followed by
    average pooling, on the way up it is of transposed convolutions and followed by
    repetition, to which the block's output on the same level is added. The last of the
    final convolutions has no swish.

    A length that 2^levels does not divide is filled up with zeros and cut again.
    """

    def __init__(self, config: UNetConfig, name: str = "unet"):
        super().__init__(name=name)
        self.config = config

    def __call__(
        self, x: Float[Array, "sequences tokens dim"]
    ) -> Float[Array, "sequences tokens dim"]:
        """Returns as many channels as came in."""
        num_tokens, dim = x.shape[1:]
        channels = self.config.channels or (dim, 2 * dim)
        x = jnp.pad(x, ((0, 0), (0, -num_tokens % 2 ** len(channels)), (0, 0)))
        skipped = []
        for level, width in enumerate(channels):
            x = jax.nn.swish(self._block(hk.Conv1D, f"down_{level}", width, x))
            skipped.append(x)
            x = _halve(x)
        for level, width in reversed(list(enumerate(channels))):
            x = jax.nn.swish(self._block(hk.Conv1DTranspose, f"up_{level}", width, x))
            x = jnp.repeat(x, 2, axis=1) + skipped[level]
        return self._block(hk.Conv1D, "final", dim, x)[:, :num_tokens]

    @hk.transparent
    def _block(
        self, convolution: Callable[..., hk.Module], name: str, width: int, x: Array
    ) -> Array:
        """Convolutions with swish between them."""
        for i in range(self.config.block_size):
            x = jax.nn.swish(x) if i else x
            x = convolution(width, self.config.kernel, name=f"{name}_{i}")(x)
        return x


def _halve(
    x: Float[Array, "sequences tokens channels"],
) -> Float[Array, "sequences half channels"]:
    """Average of neighbours."""
    return x.reshape(x.shape[0], -1, 2, x.shape[-1]).mean(2)
