"""Values along a genome as files that genome browsers read."""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pandas as pd
from jaxtyping import Float32

from scmultimodal.genome import text_files
from scmultimodal.schemas.errors import InputError

TrackFormat = Literal["bedgraph", "bigwig"]
ENDINGS: Mapping[TrackFormat, str] = {"bedgraph": ".bedgraph.gz", "bigwig": ".bw"}
"""Of the names of files."""
DECIMALS = 3
"""Of a value; neighbours that are equal then share a line."""
REMEDY = "Run segment again"
_COLUMNS = ("chrom", "start", "end", "value")
_ROWS_AT_ONCE = 1 << 20


class Tracks(Protocol):
    """A file per name. Chromosomes come in their order, places in theirs."""

    def write(
        self, chrom: str, start: int, values: Float32[np.ndarray, "bases names"]
    ) -> None:
        """Appends the values of neighbouring bases; NaN leaves a gap."""
        ...


class _BedGraph:
    def __init__(self, files: Sequence[io.TextIOBase]):
        self._files = files

    def write(
        self, chrom: str, start: int, values: Float32[np.ndarray, "bases names"]
    ) -> None:
        for column, file in enumerate(self._files):
            lines = (
                f"{chrom}\t{start + low}\t{start + high}\t{value:.{DECIMALS}g}\n"
                for low, high, value in _runs(values[:, column].round(DECIMALS))
            )
            file.write("".join(lines))


class _BigWig:
    def __init__(self, files: Sequence):
        self._files = files

    def write(
        self, chrom: str, start: int, values: Float32[np.ndarray, "bases names"]
    ) -> None:
        for column, file in enumerate(self._files):
            known = np.isfinite(values[:, column]).astype(np.float32)
            for low, high, is_known in _runs(known):
                if is_known:
                    part = values[low:high, column].round(DECIMALS)
                    file.addEntries(
                        chrom, start + low, values=part.tolist(), span=1, step=1
                    )


@contextlib.contextmanager
def opened(
    folder: Path,
    names: Sequence[str],
    chromosomes: Mapping[str, int],
    format: TrackFormat,
) -> Iterator[Tracks]:
    """Opens a file for each name in a folder, and closes them all.

    Args:
        folder: it is there.
        names: of the tracks, and of their files.
        chromosomes: lengths in bp; values come in their order.
        format: of the files.

    Raises:
        InputError: pyBigWig is needed, and not installed.
    """
    with contextlib.ExitStack() as stack:
        if format == "bedgraph":
            paths = [folder / f"{name}{ENDINGS[format]}" for name in names]
            files = [
                stack.enter_context(text_files.writing(path, packed=True))
                for path in paths
            ]
            yield _BedGraph(files)
            return
        opener = _big_wig()
        paths = [folder / f"{name}{ENDINGS[format]}" for name in names]
        files = [opener.open(str(path), "w") for path in paths]
        for file in files:
            stack.callback(file.close)
            file.addHeader(list(chromosomes.items()))
        yield _BigWig(files)


def read(
    folder: Path,
    name: str,
    format: TrackFormat,
    places: Sequence[tuple[str, int, int]],
) -> list[Float32[np.ndarray, " bases"]]:
    """Values of a track at every base of some places; NaN where it has none.

    Args:
        folder: where the track is.
        name: of the track.
        format: of its file.
        places: in the order of the file; what lies behind the last is not read.

    Raises:
        InputError: the file is missing or damaged.
    """
    if format == "bigwig":
        path = folder / f"{name}{ENDINGS[format]}"
        if not path.is_file():
            raise InputError(path, "there is no such file", REMEDY)
        opener = _big_wig()
        try:
            with opener.open(str(path)) as file:
                return [np.array(file.values(*place), np.float32) for place in places]
        except RuntimeError as error:  # All that pyBigWig raises of a file.
            problem = f"is damaged, or lacks one of {list(places)} ({error})"
            raise InputError(path, problem, REMEDY) from error
    found = [np.full(end - start, np.nan, np.float32) for _, start, end in places]
    path = folder / f"{name}{ENDINGS[format]}"
    with text_files.reading(path, remedy=REMEDY), text_files.open_text(path) as lines:
        for table in pd.read_csv(
            lines, sep="\t", header=None, names=_COLUMNS, chunksize=_ROWS_AT_ONCE
        ):
            for place, values in zip(places, found, strict=True):
                _take(table, place, values)
            if _is_behind(table, places[-1], found[-1]):
                break
    return found


def _take(table: pd.DataFrame, place: tuple[str, int, int], values: np.ndarray) -> None:
    """Puts the lines of a bedGraph that touch a place where they belong."""
    chrom, start, end = place
    here = table[
        (table["chrom"].astype(str) == chrom)
        & (table["start"] < end)
        & (table["end"] > start)
    ]
    low = np.maximum(here["start"].to_numpy() - start, 0)
    high = np.minimum(here["end"].to_numpy(), end) - start
    size = high - low
    within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    values[np.repeat(low, size) + within] = np.repeat(here["value"].to_numpy(), size)


def _is_behind(
    table: pd.DataFrame, place: tuple[str, int, int], values: np.ndarray
) -> bool:
    """Whether lines have passed a place that some were of."""
    chrom, _, end = place
    last = table.iloc[-1]
    if str(last["chrom"]) == chrom:
        return int(last["start"]) >= end
    return bool(np.isfinite(values).any())


def _big_wig():
    try:
        import pyBigWig  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise InputError(
            "--format bigwig",
            "pyBigWig is not installed",
            "Run: pip install 'scmultimodal[tracks]', or take --format bedgraph",
        ) from error
    return pyBigWig


def _runs(values: Float32[np.ndarray, " bases"]) -> Iterator[tuple[int, int, float]]:
    """(first, behind the last, value) of neighbours that are equal; not of NaN."""
    if not len(values):
        return
    cuts = np.flatnonzero(values[1:] != values[:-1]) + 1
    edges = np.concatenate([[0], cuts, [len(values)]])
    level = values[edges[:-1]]
    real = np.isfinite(level)
    yield from zip(
        edges[:-1][real].tolist(),
        edges[1:][real].tolist(),
        level[real].tolist(),
        strict=True,
    )
