"""Where the files of public data come from: a folder, the cache, or the network."""

import hashlib
import os
from pathlib import Path

from scmultimodal.schemas.errors import InputError

VARIABLE = "SCMULTIMODAL_DATA"
"""Environment variable that names a folder with a folder for each data set."""


class DataUnavailableError(InputError):
    """Public data that can be had neither from disk nor from the network."""


def local(dataset: str, name: str, sha256: str) -> Path | None:
    """A file of the folder that the environment names; None where it names none.

    Raises:
        InputError: the file is missing there, or differs from the published one.
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    path = Path(folder) / dataset / name
    if not path.is_file():
        raise InputError(
            path,
            f"is missing, though {VARIABLE} is set",
            f"Put the file there, or unset {VARIABLE} to download it",
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise InputError(
            path, f"its sha256 is not {sha256[:12]}…", "Copy the published file again"
        )
    return path


def known(dataset: str, name: str, sha256: str) -> Path:
    """A file that is to be had from the folder alone.

    Raises:
        DataUnavailableError: the environment names no folder.
        InputError: as `local`.
    """
    found = local(dataset, name, sha256)
    if found is None:
        raise DataUnavailableError(
            dataset,
            "is not published in this form",
            f"Set {VARIABLE} to a folder that holds it",
        )
    return found


def download(dataset: str, name: str, address: str, sha256: str) -> Path:
    """A published file, downloaded once.

    Raises:
        DataUnavailableError: it cannot be had.
    """
    import pooch
    import requests

    folder = Path(pooch.os_cache("scmultimodal")) / dataset
    try:
        path = pooch.retrieve(
            address + name, f"sha256:{sha256}", name, folder, progressbar=True
        )
    except (requests.RequestException, OSError, ValueError) as error:
        raise DataUnavailableError(
            address + name,
            f"cannot be downloaded ({type(error).__name__})",
            f"Check the network, set {VARIABLE} to a folder that holds the data, "
            "or use simulated data",
        ) from error
    return Path(path)
