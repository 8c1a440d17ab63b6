"""A vector for the DNA of each peak that a model reads: a file, of one vocabulary."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
from jaxtyping import Float32
from numpy import ndarray
from safetensors import SafetensorError, numpy

from scmultimodal.data import atomic
from scmultimodal.data.peak_vocabulary import PeakVocabulary
from scmultimodal.schemas.errors import InputError

FORMAT = "scmultimodal peak DNA 1"
_NAME = "dna"
_REMEDY = "Make it with `scmultimodal encode-peaks --data` and this dataset"


def write(
    path: Path,
    vectors: Float32[ndarray, "peaks dim"],
    peaks: PeakVocabulary,
    origin: Mapping[str, str],
) -> None:
    """Writes the vectors of all peaks of a vocabulary.

    Args:
        path: of the file.
        vectors: in the order of the vocabulary.
        peaks: the vocabulary.
        origin: what made them, for people: it stands in the head of the file.
    """
    facts = {**origin, "format": FORMAT, "peaks": peaks.digest_of_places()}
    with atomic.file(path) as temporary:
        numpy.save_file({_NAME: vectors}, temporary, facts)


def width(path: Path, peaks: PeakVocabulary) -> int:
    """How wide the vectors are; reads no more than the head of the file.

    Raises:
        InputError: it holds something else, or vectors of other peaks.
    """
    with _open(path, peaks) as file:
        return file.get_slice(_NAME).get_shape()[1]


def read(path: Path, peaks: PeakVocabulary) -> Float32[ndarray, "peaks dim"]:
    """Reads the vectors of the peaks, in the order of the vocabulary.

    Raises:
        InputError: the file holds something else, or vectors of other peaks.
    """
    with _open(path, peaks) as file:
        return file.get_tensor(_NAME)


@contextlib.contextmanager
def _open(path: Path, peaks: PeakVocabulary) -> Iterator[Any]:
    try:
        with safetensors.safe_open(path, "np") as file:
            facts = file.metadata() or {}
            if facts.get("format") != FORMAT:
                raise InputError(path, "holds no vectors of peaks", _REMEDY)
            if facts["peaks"] != peaks.digest_of_places():
                raise InputError(path, "is of other peaks than the dataset", _REMEDY)
            yield file
    except FileNotFoundError:
        raise InputError(path, "does not exist", _REMEDY) from None
    except (OSError, SafetensorError) as error:
        raise InputError(path, f"cannot be read ({error})", _REMEDY) from error
