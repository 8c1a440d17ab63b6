"""Values along a genome as files that genome browsers read."""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float32

from scmultimodal.genome import text_files
from scmultimodal.schemas.errors import InputError

TrackFormat = Literal["bedgraph", "bigwig"]
DECIMALS = 3
"""Of a value; neighbours that are equal then share a line."""


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
            paths = [folder / f"{name}.bedgraph.gz" for name in names]
            files = [
                stack.enter_context(text_files.writing(path, packed=True))
                for path in paths
            ]
            yield _BedGraph(files)
            return
        opener = _big_wig()
        paths = [folder / f"{name}.bw" for name in names]
        files = [opener.open(str(path), "w") for path in paths]
        for file in files:
            stack.callback(file.close)
            file.addHeader(list(chromosomes.items()))
        yield _BigWig(files)


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
