"""SegmentNT's head: what every base is, from embeddings of k-mers (SPEC 3.5)."""

import dataclasses

import haiku as hk
import jax
from jaxtyping import Float

from scmultimodal.modules import unet
from scmultimodal.schemas.batches import Array

NAME = "segmentation_head"
"""Where its parameters stand."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentationHeadConfig:
    """Shape of the head; with 14 elements and D = 512 it has 16,608,424 parameters.

    Attributes:
        num_elements: classes of a base; each is a question of its own.
        channels: widths of the U-Net's levels; None means (D, 2D).
    """

    num_elements: int = 14
    channels: tuple[int, ...] | None = None

    def __post_init__(self):
        if self.num_elements < 1:
            raise ValueError(f"num_elements must be positive, got {self.num_elements}")
        unet.UNetConfig(channels=self.channels)

    @property
    def num_levels(self) -> int:
        """How often the U-Net halves the tokens."""
        return 2 if self.channels is None else len(self.channels)

    def unit_bp(self, k: int) -> int:
        """Bases that the length of a window is a multiple of: 24 for 6-mers."""
        return k * 2**self.num_levels


class SegmentationHead(hk.Module):
    """U-Net, swish and a linear map: for each base and element, no and yes."""

    def __init__(self, config: SegmentationHeadConfig, k: int, name: str = NAME):
        super().__init__(name=name)
        self.config, self.k = config, k

    def __call__(
        self, embeddings: Float[Array, "sequences tokens dim"]
    ) -> Float[Array, "sequences bases elements 2"]:
        """Logits of no and yes. Token 0, which is CLS, is dropped.

        Raises:
            ValueError: what is left cannot be halved by every level.
        """
        sequences, tokens = embeddings.shape[0], embeddings.shape[1] - 1
        if tokens < 1 or tokens % 2**self.config.num_levels:
            raise ValueError(wrong_length(tokens * self.k, self.config.unit_bp(self.k)))
        network = unet.UNet(unet.UNetConfig(channels=self.config.channels))
        hidden = jax.nn.swish(network(embeddings[:, 1:]))
        elements = self.config.num_elements
        logits = hk.Linear(self.k * elements * 2, name="elements")(hidden)
        return logits.reshape(sequences, tokens * self.k, elements, 2)


def wrong_length(length: int, unit_bp: int) -> str:
    """What to say of a window whose length is no multiple, with the next that is."""
    valid = max(1, -(-length // unit_bp)) * unit_bp
    return (
        f"a window has {length:,} bp, which is no multiple of {unit_bp}; "
        f"the next that is has {valid:,}"
    )
