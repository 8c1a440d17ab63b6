"""Intervals of one assembly in the coordinates of another, by a UCSC chain file.

liftOver libraries lift points. An interval is lifted where both its ends are, onto one
chromosome and strand, in order, and its length hardly changes; anything else would be
another piece of DNA.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import liftover
import numpy as np
import pandas as pd
from jaxtyping import Shaped

from scmultimodal.genome import intervals, text_files
from scmultimodal.schemas.errors import InputError

MAX_CHANGE = 0.1
Outcome = Literal["lifted", "lost", "split", "resized"]
"""lost: an end has no place in the new assembly; split: the ends have, on different
chromosomes or strands, or in several places; resized: too far from each other."""
OUTCOMES: tuple[Outcome, ...] = ("lifted", "lost", "split", "resized")


class Lifted(NamedTuple):
    """Intervals in the new assembly, and what became of those that are not there."""

    intervals: pd.DataFrame
    """chrom, start and end of the lifted ones, with the index they had, in order."""
    outcome: Shaped[np.ndarray, " intervals"]
    """Of each interval that was given."""

    @property
    def report(self) -> dict[str, int]:
        """How many had each outcome."""
        return {name: int((self.outcome == name).sum()) for name in OUTCOMES}


def lift(
    frame: pd.DataFrame,
    chain: str | Path,
    *,
    max_change: float = MAX_CHANGE,
    source: object = "peaks",
) -> Lifted:
    """Lifts intervals.

    Args:
        frame: chrom, start, end in the chain's old assembly (0-based, half-open);
            chromosomes as `chr1` or `1`, which stays as it is.
        chain: such as UCSC's hg19ToHg38.over.chain.gz.
        max_change: of the length, as a share of it.
        source: of the intervals, to name in an error.

    Raises:
        InputError: where the chain is missing or broken, knows none of the
            chromosomes, or lifts nothing.
    """
    chain = Path(chain)
    convert = _open(chain)
    style = intervals.chromosome_style(frame["chrom"], source)
    theirs = intervals.chromosome_style(convert.keys(), chain)
    chroms = intervals.rename_chromosomes(frame["chrom"], theirs).tolist()
    outcomes, found = [], []
    ends = zip(chroms, frame["start"].tolist(), frame["end"].tolist(), strict=True)
    for chrom, start, end in ends:
        known = chrom in convert
        first = convert[chrom][start] if known else []
        # The last base that is within; what comes after may be in another block.
        last = convert[chrom][end - 1] if known else []
        outcome, place = _join(first, last, end - start, max_change)
        outcomes.append(outcome)
        if place is not None:
            found.append(place)
    outcome = np.array(outcomes, dtype=object)
    if not found:
        raise InputError(
            chain,
            f"lifts none of {len(frame)} intervals, such as "
            f"{intervals.place_names(frame.iloc[:1])[0]!r}",
            "Give the chain from the assembly of the peaks",
        )
    columns = {"chrom": str, "start": np.int64, "end": np.int64}
    lifted = pd.DataFrame(found, columns=list(columns)).astype(columns)
    lifted["chrom"] = intervals.rename_chromosomes(lifted["chrom"], style)
    return Lifted(lifted.set_axis(frame.index[outcome == "lifted"]), outcome)


Hit = tuple[str, int, str]
"""Chromosome, base and strand."""


def _join(
    first: Sequence[Hit], last: Sequence[Hit], length: int, max_change: float
) -> tuple[Outcome, tuple[str, int, int] | None]:
    """The interval between two bases, if there is exactly one."""
    if not first or not last:
        return "lost", None
    ordered = [
        (chrom, min(a, b), max(a, b) + 1)
        for chrom, a, strand in first
        for other, b, other_strand in last
        if (chrom, strand) == (other, other_strand)
        and (a <= b if strand == "+" else b <= a)
    ]
    if not ordered:
        return "split", None
    fitting = [
        place
        for place in ordered
        if abs(place[2] - place[1] - length) <= max_change * length
    ]
    if not fitting:
        return "resized", None
    return ("lifted", fitting[0]) if len(fitting) == 1 else ("split", None)


def _open(chain: Path) -> "liftover.ChainFile":
    """The chains, looked at before the library reads them unchecked."""
    if not chain.is_file():
        raise InputError(chain, "does not exist", "Check the path")
    remedy = "Give a UCSC chain file, such as hg19ToHg38.over.chain.gz"
    with text_files.reading(chain, remedy=remedy), text_files.open_text(chain) as lines:
        _check(lines, chain, remedy)
    try:
        return liftover.ChainFile(str(chain))
    except ValueError as error:  # such as blocks that do not add up to their chain
        raise InputError(
            chain, f"is damaged ({error})", "Copy the file again"
        ) from error


def _check(lines: Iterable[str], chain: Path, remedy: str) -> None:
    """Raises InputError where lines are not those of chains, each whole."""
    chains, within = 0, False
    sizes: dict[tuple[str, str], str] = {}
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or line.startswith("#"):
            continue
        header = fields[0] == "chain"
        if header == within or not _is_sound(fields, header, sizes):
            problem = f"line {number} is {line[:60].strip()!r}"
            raise InputError(chain, problem, remedy)
        # A line of one number ends a chain.
        within = header or len(fields) == 3
        chains += header
    if within:
        raise InputError(chain, "ends within a chain", "Copy the file again")
    if not chains:
        raise InputError(chain, "holds no chain", remedy)


def _is_sound(
    fields: list[str], header: bool, sizes: dict[tuple[str, str], str]
) -> bool:
    """Also notes the size of each chromosome, which all chains must agree on."""
    if not header:
        return len(fields) in (1, 3) and all(f.isdecimal() for f in fields)
    numbers = [fields[i] for i in (3, 5, 6, 8, 10, 11)] if len(fields) >= 12 else [""]
    return (
        all(f.isdecimal() for f in numbers)
        and fields[4] == "+"
        and fields[9] in ("+", "-")
        and sizes.setdefault(("old", fields[2]), fields[3]) == fields[3]
        and sizes.setdefault(("new", fields[7]), fields[8]) == fields[8]
    )
