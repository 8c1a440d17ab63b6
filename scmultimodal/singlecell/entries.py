"""Part of a sparse matrix: what a file too large for memory is read as."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int


class Entries(NamedTuple):
    """Entries in any order; those of one place add up."""

    rows: Int[np.ndarray, " entries"]
    columns: Int[np.ndarray, " entries"]
    counts: Int[np.ndarray, " entries"]
