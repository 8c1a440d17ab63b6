"""A stand-in for Google Cloud Storage: objects of gs://… are kept in memory.

As there, folders are but prefixes of names. It stands in below etils.epath, whose rules
for buckets hold: `**` is refused, for one.
"""

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any, ClassVar

import fsspec
from etils.epath import backend
from fsspec.implementations.memory import MemoryFileSystem


class FakeBucket(MemoryFileSystem):
    """Objects by name, of a store of its own."""

    protocol = ("gs", "gcs")
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    refuses: str | None = None
    """Writing raises where the name has this in it."""
    written: ClassVar[list[str]] = []
    """Names, in the order in which they were written."""

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return "/" + str(path).split("://")[-1].strip("/")

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if "r" not in mode:
            if self.refuses is not None and self.refuses in path:
                raise OSError(f"403: no storage.objects.create access to {path}")
            self.written.append(path)
        return super()._open(path, mode, **options)


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
