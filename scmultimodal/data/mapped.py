"""Arrays of prepared datasets, mapped into memory."""

from pathlib import Path

import numpy as np

from scmultimodal.data.shards import REMEDY
from scmultimodal.schemas.errors import InputError


def read(file: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """A `.npy` file of this shape and type, whose values stay on disk until used.

    Raises:
        InputError: it is missing or damaged, or holds something else.
    """
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(file, "is missing", REMEDY) from None
    except Exception as error:  # a damaged header raises whatever its parser meets
        raise InputError(file, f"cannot be read ({error})", REMEDY) from None
    if array.shape != shape or array.dtype != dtype:
        problem = f"holds {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}"
        raise InputError(file, problem, REMEDY)
    return np.asarray(array)
