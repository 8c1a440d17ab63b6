"""What Google Cloud says of the chips that `pod.GENERATIONS` can ask for.

Figures are those of its public pages (docs.cloud.google.com/tpu/docs/v4, …/v5e, …/v5p,
…/v6e) as stored copies had them; none was measured by us.
"""

import dataclasses
from typing import Literal

from tpu.chips import CHIPS_A_HOST, GENERATIONS

ChipName = Literal["v4", "v5e", "v5p", "v6e"]
GIB = 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """A generation of chips, as arithmetic needs it.

    Attributes:
        prefix: of its accelerator types, which names it in `pod.GENERATIONS`.
        peak: floating-point operations a second, products in bfloat16.
        memory_rate: bytes a second from and to its memory.
        ici: bytes a second that a chip can send over all its links within a slice,
            half of the bidirectional bandwidth that is published.
        axes: of the torus.
        wraps_from: chips of the smallest slice whose axes are all closed to rings.
        largest: chips of the largest slice.
        dcn: bytes a second that a chip can send to other slices: its share of the
            host's network.
        unsure: what the page of the generation does not say, and where it is from.
    """

    prefix: str
    peak: float
    memory_rate: float
    ici: float
    axes: int
    wraps_from: int
    largest: int
    dcn: float
    unsure: str = ""

    @property
    def memory(self) -> int:
        """Bytes of a chip."""
        (gib,) = (one.memory for one in GENERATIONS if one.prefix == self.prefix)
        return gib * GIB


CHIPS: dict[ChipName, Chip] = {
    "v4": Chip(
        prefix="v4-",
        peak=275e12,
        memory_rate=1_200e9,
        ici=1.1e15 / 4_096,
        axes=3,
        wraps_from=64,
        largest=4_096,
        dcn=200e9 / 8 / CHIPS_A_HOST,
        unsure="ICI: its page gives 1.1 PB/s all-reduce a pod, here shared out over "
        "4,096 chips; DCN: not on its page, 200 Gbit/s a host is what jax-ml's "
        "scaling book calls typical",
    ),
    "v5e": Chip(
        prefix="v5litepod-",
        peak=197e12,
        memory_rate=819e9,
        ici=400e9 / 2,
        axes=2,
        wraps_from=256,
        largest=256,
        dcn=200e9 / 8 / 8,
        unsure="DCN: 2 × 100 Gbit/s a host of 8 chips, shared out",
    ),
    "v5p": Chip(
        prefix="v5p-",
        peak=459e12,
        memory_rate=2_765e9,
        ici=1_200e9 / 2,
        axes=3,
        wraps_from=64,
        largest=6_144,
        dcn=50e9 / 8,
    ),
    "v6e": Chip(
        prefix="v6e-",
        peak=918e12,
        memory_rate=1_638e9,
        ici=800e9 / 2,
        axes=2,
        wraps_from=256,
        largest=256,
        dcn=800e9 / 8 / 8,
        unsure="DCN: 4 × 200 Gbit/s a host of 8 chips, shared out",
    ),
}
