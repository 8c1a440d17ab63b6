"""What takes part: modules with `build(**settings) -> Contestant`, each run by `child`.

Settings are the `Shape` of the step, and what a module takes besides; all is JSON.
"""

import dataclasses
import resource
import sys
from collections.abc import Callable
from typing import Any


class AbsentError(Exception):
    """A contestant that cannot take part on this machine; says why."""


def peak_of_process() -> int:
    """The most memory that this process ever had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contestant:
    """Something that can be timed.

    Attributes:
        step: does the work once, to the end, and returns the loss.
        facts: what is known of it before it runs, as JSON.
        warm_up: runs before anything is timed; returns further facts.
        peak_bytes: its peak of memory so far.
    """

    step: Callable[[], float]
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    warm_up: Callable[[], dict[str, Any]] | None = None
    peak_bytes: Callable[[], int] = peak_of_process
