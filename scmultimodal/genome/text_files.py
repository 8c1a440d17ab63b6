"""Text files, gzipped or not; what can be wrong with one, in words."""

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

from scmultimodal.schemas.errors import InputError


@contextlib.contextmanager
def reading(path: Path, *, remedy: str) -> Iterator[None]:
    """Turns the errors of reading into InputError; `remedy` is for what is no text."""
    try:
        yield
    except OSError as error:
        # gzip.BadGzipFile is an OSError too: a missing file has an errno.
        problem = "cannot be read" if error.errno else "is damaged"
        raise InputError(path, f"{problem} ({error})", "Check the file") from error
    except (EOFError, zlib.error) as error:
        raise InputError(path, "gzip data end early", "Copy the file again") from error
    except UnicodeDecodeError as error:
        raise InputError(path, "is not a text file", remedy) from error


GZIP_RATIO = 1_100
"""More than gzip can shrink anything by, which is 1,030."""


def open_text(path: Path) -> io.TextIOBase:
    """Opens a text file, gzipped or not, as its name says; see `reading` for errors."""
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    return opened(path, "rt", encoding="utf-8-sig")


@contextlib.contextmanager
def writing(path: Path, *, packed: bool) -> Iterator[io.TextIOBase]:
    """Opens a text file to write; what is packed depends on its content alone."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("wb"))
        if packed:
            file = stack.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0))
        yield stack.enter_context(
            io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        )
