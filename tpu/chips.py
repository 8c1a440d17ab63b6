"""Generations of TPU chips, and the slices that are made of them."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generation:
    """A generation of chips.

    Attributes:
        prefix: how names of its accelerator types begin.
        per_chip: what the number in such a name counts for each chip: chips for v5e and
            v6e, else TensorCores.
        alone: chips of the largest type that is a single host; larger ones have 4 a
            host.
        gke: its name as a node label of GKE.
        sides: of a slice: the dimensions of the network between chips.
        memory: of a chip, in GiB.
        runtime: software of its virtual machines; empty where queued resources do not
            serve it.
        devices: that jax sees of a chip; each has a device file.
    """

    prefix: str
    per_chip: int
    alone: int
    gke: str
    sides: int
    memory: int
    runtime: str = ""
    devices: int = 1

    def topology(self, chips: int) -> str:
        """The most compact slice of so many chips, as GKE names it.

        Sides of powers of 2, as even as can be, the longest last. Source:
        docs.cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus. Empty for
        numbers that are no power of 2, or have no slice.
        """
        least = 1 if self.sides == 2 else 4
        if chips & (chips - 1) or chips == 2 or chips < least:
            return ""
        if (self.sides, chips) == (3, 4):
            return "2x2x1"
        twos = chips.bit_length() - 1
        exponents = [(twos + place) // self.sides for place in range(self.sides)]
        return "x".join(str(2**exponent) for exponent in exponents)


GENERATIONS = (
    Generation(
        prefix="v4-", per_chip=2, alone=4, gke="tpu-v4-podslice", sides=3, memory=32,
        runtime="tpu-ubuntu2204-base",
    ),
    Generation(
        prefix="v5litepod-", per_chip=1, alone=8, gke="tpu-v5-lite-podslice", sides=2,
        memory=16, runtime="v2-alpha-tpuv5-lite",
    ),
    Generation(
        prefix="v5p-", per_chip=2, alone=4, gke="tpu-v5p-slice", sides=3, memory=95,
        runtime="v2-alpha-tpuv5",
    ),
    Generation(
        prefix="v6e-", per_chip=1, alone=8, gke="tpu-v6e-slice", sides=2, memory=32,
        runtime="v2-alpha-tpuv6e",
    ),
    Generation(
        prefix="tpu7x-", per_chip=2, alone=4, gke="tpu7x", sides=3, memory=192,
        devices=2,
    ),
)  # fmt: skip
"""Source: Google Cloud's pages of each, docs.cloud.google.com/tpu/docs."""

CHIPS_A_HOST = 4
