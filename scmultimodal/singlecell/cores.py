"""Loops over rows, on all cores: parts of the rows go to threads of Python.

Compiled code runs them side by side: it holds no lock. (numba's own threads may not be
used by two threads at once.)
"""

import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import scipy.sparse as sp

Part = TypeVar("Part")


def num_cores() -> int:
    """The threads that this process may use: OMP_NUM_THREADS, or one for each core."""
    if os.environ.get("OMP_NUM_THREADS", "").isdecimal():
        return max(1, int(os.environ["OMP_NUM_THREADS"]))
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parts(rows: int) -> list[slice]:
    """Equal parts of the rows, one for each core; none is empty."""
    edges = np.unique(np.linspace(0, rows, num_cores() + 1).astype(np.int64))
    return [slice(*ends) for ends in itertools.pairwise(edges.tolist())]


def on_all(block: Callable[[slice], Part], rows: int) -> Iterator[Part]:
    """What `block` gives for each of the `parts` of the rows, in order."""
    each = parts(rows)
    if len(each) < 2:
        yield from map(block, each)
        return
    with ThreadPoolExecutor(len(each)) as pool:
        yield from pool.map(block, each)


def arrays(
    matrix: sp.csr_matrix, rows: slice
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of some rows, as the compiled code takes them.

    Unsigned: a signed index is tested for being negative at every use.
    """
    indptr = matrix.indptr[rows.start : rows.stop + 1].astype(np.uint64)
    span = slice(int(indptr[0]), int(indptr[-1]))
    return (
        indptr - indptr[0],
        matrix.indices[span].view(np.uint32)
        if matrix.indices.dtype == np.int32
        else matrix.indices[span].astype(np.uint32),
        matrix.data[span].astype(np.int32, copy=False),
    )
