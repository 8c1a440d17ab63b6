"""Steps that alternate between sources, as a pure function of the step."""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np
from jaxtyping import Int

from scmultimodal.schemas.errors import InputError

Name = TypeVar("Name", bound=str)


class Sampler(Protocol):
    """Anything that has the cells of a step, such as an `EpochSampler`."""

    def batch(self, step: int) -> Int[np.ndarray, " batch"]:
        """Returns the cells of a step."""
        ...


class MixedSampler(Generic[Name]):
    """Says which source a step reads, and which step of that source it is.

    The first source takes the steps where ⌈w·step⌉ rises, w being its share; the
    second takes its share of the remaining steps in the same way, and so on. Equal
    weights are round robin in the order given. Shares are exact fractions, so nothing
    drifts: at any step each source is less than its number of rivals from its share.
    """

    def __init__(
        self,
        samplers: Mapping[Name, Sampler],
        pattern: Literal["round_robin"] | Mapping[Name, float] = "round_robin",
    ):
        """Prepares the pattern.

        Args:
            samplers: the sources by name, in the order in which they take turns.
            pattern: `round_robin`, or how often each source is read, in any unit.

        Raises:
            InputError: a source without weight, or a weight that is not above 0.
        """
        self.samplers = dict(samplers)
        if pattern == "round_robin":
            pattern = dict.fromkeys(self.samplers, 1.0)
        elif not isinstance(pattern, Mapping) or set(pattern) != set(samplers):
            problem = f"{pattern!r} does not name the sources {', '.join(samplers)}"
            raise InputError("mixing pattern", problem, "Name each source once")
        if not samplers or not all(0 < w < math.inf for w in pattern.values()):
            problem = f"{dict(pattern)} has no source, or a weight that is not above 0"
            raise InputError("mixing pattern", problem, "Leave unused sources out")
        weights = [Fraction(pattern[name]) for name in self.samplers]
        self._shares = [w / sum(weights[i:]) for i, w in enumerate(weights)]

    def plan(self, step: int) -> tuple[Name, int]:
        """Returns the source of a step, and how often it was read before."""
        for name, share in zip(self.samplers, self._shares, strict=True):
            before, after = math.ceil(step * share), math.ceil((step + 1) * share)
            if after > before:
                return name, before
            step -= before
        raise AssertionError("the last source takes all remaining steps")

    def batch(self, step: int) -> tuple[Name, Int[np.ndarray, " batch"]]:
        """Returns the source of a step and the cells it reads."""
        name, source_step = self.plan(step)
        return name, self.samplers[name].batch(source_step)
