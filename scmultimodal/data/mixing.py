"""Steps that alternate between sources, as a pure function of the step."""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Generic, Literal, TypeVar

from scmultimodal.schemas.errors import InputError

Name = TypeVar("Name", bound=str)


class Pattern(Generic[Name]):
    """Says which source a step reads, and which step of that source it is.

    The first source takes the steps where ⌈w·step⌉ rises, w being its share; the
    second takes its share of the remaining steps in the same way, and so on. Equal
    weights are round robin in the order given. Shares are exact fractions, so nothing
    drifts: at any step each source is less than its number of rivals from its share.
    """

    def __init__(
        self,
        sources: tuple[Name, ...],
        weights: Literal["round_robin"] | Mapping[Name, float | int] = "round_robin",
    ):
        """Prepares the pattern.

        Args:
            sources: names, in the order in which they take turns.
            weights: `round_robin`, or how often each is read, in any unit.

        Raises:
            InputError: a source without weight, or a weight that is not above 0.
        """
        if weights == "round_robin":
            weights = dict.fromkeys(sources, 1.0)
        elif not isinstance(weights, Mapping) or set(weights) != set(sources):
            problem = f"{weights!r} does not name the sources {', '.join(sources)}"
            raise InputError("mixing weights", problem, "Name each source once")
        if not sources or not all(0 < w < math.inf for w in weights.values()):
            problem = f"{dict(weights)} has no source, or a weight that is not above 0"
            raise InputError("mixing weights", problem, "Leave unused sources out")
        self.sources = sources
        exact = [Fraction(weights[name]) for name in sources]
        self._shares = [w / sum(exact[i:]) for i, w in enumerate(exact)]

    def plan(self, step: int) -> tuple[Name, int]:
        """Returns the source of a step, and how often it was read before."""
        for name, share in zip(self.sources, self._shares, strict=True):
            before, after = math.ceil(step * share), math.ceil((step + 1) * share)
            if after > before:
                return name, before
            step -= before
        raise AssertionError("the last source takes all remaining steps")
