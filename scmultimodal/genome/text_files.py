"""What can be wrong with a text file, gzipped or not, in words."""

import contextlib
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
