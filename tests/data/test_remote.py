"""Prepared datasets of a bucket, which a folder stands for."""

import json
from pathlib import Path

import numpy as np
import pytest
from etils import epath

from scmultimodal.data import remote
from scmultimodal.data.store import Store
from scmultimodal.schemas.errors import InputError
from tests import builders


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
