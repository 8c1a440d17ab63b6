"""HDF5 files of strangers: what is looked at before they are read."""

import math
from collections.abc import Iterator
from pathlib import Path

import h5py

from scmultimodal.genome.text_files import GZIP_RATIO
from scmultimodal.schemas.errors import InputError, first_line

_LARGE_BYTES = 2**26


def check_file(path: Path) -> None:
    """Looks at the layout before anything is read (RELIABILITY.md, Inputs).

    Raises:
        InputError: for a file that is no complete HDF5, that takes data from another
            file, or that declares more values than it can hold.
    """
    try:
        with h5py.File(path, "r") as file:
            for name, link, node in _walk(file, set()):
                if isinstance(link, h5py.ExternalLink):
                    problem = "is a link to another file"
                elif not isinstance(node, h5py.Dataset):
                    continue
                elif node.external or node.is_virtual:
                    problem = "is stored in another file"
                elif _is_oversized(node):
                    problem = f"declares {node.size} values that the file cannot hold"
                else:
                    continue
                raise InputError(path, f"{name} {problem}", "Write the file again")
    except InputError:
        raise
    except Exception as error:  # h5py raises whatever it meets
        raise InputError(
            path,
            f"is no complete HDF5 file ({first_line(error)})",
            "Copy the file again",
        ) from error


def _walk(group: h5py.Group, seen: set[int]) -> Iterator[tuple[str, object, object]]:
    """All links, and what they lead to; each group once, for links may go round."""
    seen.add(_address(group))
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield f"{group.name}/{name}", link, None
            continue
        node = group[name]
        yield str(node.name), link, node
        if isinstance(node, h5py.Group) and _address(node) not in seen:
            yield from _walk(node, seen)


def _address(node: h5py.Group) -> int:
    return h5py.h5o.get_info(node.id).addr


def _is_oversized(dataset: h5py.Dataset) -> bool:
    """Whether it declares what was never written, beyond what does no harm."""
    declared = int(dataset.size or 0) * dataset.dtype.itemsize
    if declared <= _LARGE_BYTES:
        return False
    stored = dataset.id.get_storage_size()
    if dataset.chunks is None:
        return declared > stored
    chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize
    most = max(_LARGE_BYTES, GZIP_RATIO * stored)
    return chunk > most or declared > dataset.id.get_num_chunks() * chunk
