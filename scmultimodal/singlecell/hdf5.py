"""HDF5 files of strangers: what is looked at before they are read."""

from collections.abc import Iterator
from pathlib import Path

import h5py

from scmultimodal.genome.text_files import GZIP_RATIO
from scmultimodal.schemas.errors import InputError

_LARGE_BYTES = 2**30


def check_file(path: Path) -> None:
    """Looks at the layout before anything is read (RELIABILITY.md, Inputs).

    Raises:
        InputError: for a file that is no complete HDF5, that takes data from another
            file, or that declares more values than it can hold.
    """
    try:
        with h5py.File(path, "r") as file:
            for name, link, node in _walk(file):
                if isinstance(link, h5py.ExternalLink):
                    problem = "is a link to another file"
                elif isinstance(node, h5py.Dataset) and node.external:
                    problem = "is stored in another file"
                elif isinstance(node, h5py.Dataset) and _is_oversized(node):
                    problem = f"declares {node.size} values that the file cannot hold"
                else:
                    continue
                raise InputError(path, f"{name} {problem}", "Write the file again")
    except InputError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise InputError(
            path,
            f"is no complete HDF5 file ({str(error).splitlines()[0]})",
            "Copy the file again",
        ) from error


def _walk(group: h5py.Group) -> Iterator[tuple[str, object, object]]:
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield f"{group.name}/{name}", link, None
            continue
        node = group[name]
        yield str(node.name), link, node
        if isinstance(node, h5py.Group):
            yield from _walk(node)


def _is_oversized(dataset: h5py.Dataset) -> bool:
    logical = int(dataset.size or 0) * dataset.dtype.itemsize
    most = GZIP_RATIO * dataset.id.get_storage_size()
    # Beyond this, it was never written.
    return logical > max(_LARGE_BYTES, most)
