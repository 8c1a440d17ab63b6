"""A stand-in for Google Cloud Storage: objects of gs://… are kept in memory.

As there, folders are but prefixes of names. It stands in below etils.epath, whose rules
for buckets hold: `**` is refused, for one.
"""

import contextlib
import importlib
import io
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import fsspec
from etils.epath import backend
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem


class _Object(io.BytesIO):
    """Is there once it is closed, as those of gcsfs, unless it was discarded."""

    def __init__(self, bucket: Any, path: str):
        super().__init__()
        self.bucket, self.path, self.is_wanted = bucket, path, True

    def discard(self) -> None:
        self.is_wanted = False

    def close(self) -> None:
        if not self.closed and self.is_wanted:
            self.bucket.pipe_file(self.path, self.getvalue())
            self.bucket.written.append(self.path)
        super().close()


class FakeBucket(MemoryFileSystem):
    """Objects by name, of a store of its own."""

    protocol = ("gs", "gcs")
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    refuses: str | None = None
    """Writing raises where the name has this in it."""
    keeps: str | None = None
    """Removing raises where the name has this in it."""
    error: Callable[[str], OSError] = staticmethod(
        lambda path: OSError(f"403: no storage.objects.create access to {path}")
    )
    """What both raise."""
    written: ClassVar[list[str]] = []
    """Names, in the order in which they were written."""

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return "/" + str(path).split("://")[-1].strip("/")

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if "r" not in mode:
            if self.refuses is not None and self.refuses in path:
                raise self.error(path)
            return _Object(self, path)
        return super()._open(path, mode, **options)

    def _rm(self, path: str) -> None:
        if self.keeps is not None and self.keeps in path:
            raise self.error(path)
        super()._rm(path)

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        path = self._strip_protocol(path)
        self.store[path] = MemoryFile(self, path, value)


@contextlib.contextmanager
def open_bucket() -> Iterator[type[FakeBucket]]:
    """Within it gs:// is an empty bucket."""

    class Bucket(FakeBucket):
        store: ClassVar[dict[str, Any]] = {}
        pseudo_dirs: ClassVar[list[str]] = [""]
        written: ClassVar[list[str]] = []

    for name in Bucket.protocol:
        fsspec.register_implementation(name, Bucket, clobber=True)
    backend.fsspec_backend._get_filesystem.cache_clear()
    try:
        yield Bucket
    finally:
        backend.fsspec_backend._get_filesystem.cache_clear()
        for name in Bucket.protocol:
            importlib.import_module("fsspec.registry")._registry.pop(name, None)
