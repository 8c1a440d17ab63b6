"""Prepared datasets of a bucket, which a folder stands for."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from etils import epath

from scmultimodal.data import remote
from scmultimodal.data.store import Store
from scmultimodal.schemas.errors import InputError, PassingError
from tests import builders, fake_bucket


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """gs://bucket is a folder, and copies go to another."""
    monkeypatch.setenv(remote.CACHE, str(tmp_path / "cache"))
    (tmp_path / "bucket").mkdir()
    real = epath.Path

    def path(address):
        return real(address.replace("gs://bucket", str(tmp_path / "bucket")))

    monkeypatch.setattr(epath, "Path", path)
    return tmp_path / "bucket"


def test_a_store_of_a_bucket_is_copied_once(bucket, tmp_path, monkeypatch):
    store = builders.simulated_store(bucket / "cells", num_cells=60)
    copy = Store.open("gs://bucket/cells")
    cells = np.arange(store.num_cells)
    for modality in store.modalities:
        assert (copy.rows(modality, cells) != store.rows(modality, cells)).nnz == 0
    assert copy.path.parent == tmp_path / "cache" / "stores"
    assert Store.open(copy.path, verify=True).manifest == store.manifest

    def refuse(*_):
        raise AssertionError("copied again")

    monkeypatch.setattr(remote, "_copy_files", refuse)
    assert Store.open("gs://bucket/cells").path == copy.path


def test_another_store_at_the_address_is_another_copy(bucket):
    builders.simulated_store(bucket / "cells", num_cells=60)
    first = Store.open("gs://bucket/cells")
    builders.simulated_store(bucket / "cells", num_cells=70)
    assert Store.open("gs://bucket/cells").num_cells > first.num_cells


def test_damage_is_noticed_and_nothing_is_kept(bucket, tmp_path):
    store = builders.simulated_store(bucket / "cells", num_cells=60)
    name = next(n for n in store.manifest["files"] if n.endswith("bins.npy"))
    whole = (bucket / "cells" / name).read_bytes()
    (bucket / "cells" / name).write_bytes(whole[:-1] + b"\7")
    with pytest.raises(InputError, match=r"bins\.npy.*sha256"):
        Store.open("gs://bucket/cells")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", [None, "{", json.dumps({"kind": "x"})])
def test_what_is_no_store_is_told(bucket, content):
    (bucket / "other").mkdir()
    if content is not None:
        (bucket / "other" / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"gs://bucket/other.*prepared dataset"):
        Store.open("gs://bucket/other")


def test_paths_of_this_machine_are_not_copied():
    assert not remote.is_remote(Path("/data/cells"))
    assert remote.is_remote("s3://bucket/cells")


class Breaking:
    """A file whose reading ends early."""

    def __init__(self):
        self.parts = [b"half of it", OSError("the disk")]

    def open(self, mode):
        return contextlib.nullcontext(self)

    def read(self, size):
        part = self.parts.pop(0)
        if isinstance(part, Exception):
            raise part
        return part


@pytest.mark.parametrize("place", ["gs://bucket/a", "folder"])
def test_what_breaks_off_leaves_nothing(tmp_path, place):
    with fake_bucket.open_bucket() as objects:
        target = remote.at(place if "://" in place else tmp_path / place)
        with pytest.raises(OSError, match="the disk"):
            remote.copy(Breaking(), target)
        assert not target.exists()
        assert not objects.store
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError("403 Forbidden"), InputError),
        (FileNotFoundError("gs://b/a"), InputError),
        (PermissionError(13, "denied"), InputError),
        (ImportError("gcsfs"), InputError),
        (ValueError("Bucket names are of 3 to 63 letters"), InputError),
        (KeyError("digest"), InputError),
        (OSError("Anonymous caller: no credentials"), InputError),
        (RuntimeError("Reauthentication is needed"), InputError),
        (ConnectionResetError(104, "reset"), PassingError),
        (TimeoutError("read"), PassingError),
        (OSError("HttpError: 503, backend"), PassingError),
    ],
)
def test_what_may_pass_is_told_from_what_lasts(error, kind):
    with pytest.raises(InputError, match="gs://b: cannot be read") as told:
        fail(error)
    assert type(told.value) is kind


def fail(error):
    with remote.access("gs://b", "read"):
        raise error
