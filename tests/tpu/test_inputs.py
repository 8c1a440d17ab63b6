"""Data on its way into the bucket and out of it."""

import json
from pathlib import Path

import pytest

from scmultimodal.data import remote
from scmultimodal.schemas.errors import InputError
from tpu import inputs

ADDRESS = "gs://bucket/data/three"


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "three"
    (folder / "shards").mkdir(parents=True)
    for name in ("manifest.json", "shards/0.npy", "shards/1.npy"):
        (folder / name).write_text(f"what {name} has")
    return folder


def content(folder: Path):
    return {name: (folder / name).read_text() for name in remote.files(folder)}


def test_what_is_pushed_is_what_is_fetched(bucket, store, tmp_path):
    assert set(inputs.push(store, ADDRESS)) == set(content(store))
    found = inputs.fetch(ADDRESS, tmp_path / "inputs")
    assert found.name == "three"
    assert content(found) == content(store)


def test_a_file_alone(bucket, tmp_path):
    (tmp_path / "hg38.fa.gz").write_bytes(b"\x1f\x8b")
    inputs.push(tmp_path / "hg38.fa.gz", "gs://bucket/data/hg38.fa.gz")
    found = inputs.fetch("gs://bucket/data/hg38.fa.gz", tmp_path / "inputs")
    assert found.name == "hg38.fa.gz"
    assert found.read_bytes() == b"\x1f\x8b"


def test_nothing_is_sent_twice(bucket, store):
    """What is there is told by its sha256, not by its size."""
    inputs.push(store, ADDRESS)
    assert inputs.push(store, ADDRESS) == {}
    path = store / "shards" / "1.npy"
    path.write_text(path.read_text()[::-1])
    assert set(inputs.push(store, ADDRESS)) == {"shards/1.npy"}


def test_a_push_that_was_broken_off_goes_on(bucket, store, monkeypatch, tmp_path):
    """Until it has ended, nothing was pushed."""
    monkeypatch.setattr(inputs, "SAVE_EVERY", -1.0)
    bucket.refuses = "shards/1.npy"
    with pytest.raises(InputError, match=r"1\.npy: cannot be written .*403"):
        inputs.push(store, ADDRESS)
    with pytest.raises(InputError, match="was not pushed, or not to its end"):
        inputs.fetch(ADDRESS, tmp_path / "inputs")
    bucket.refuses = None
    assert set(inputs.push(store, ADDRESS)) == {"shards/1.npy"}
    found = inputs.fetch(ADDRESS, tmp_path / "inputs")
    assert content(found) == content(store)
    assert not [name for name in bucket.store if name.endswith(inputs.PART)]


def test_a_fetch_that_was_broken_off_goes_on(bucket, store, tmp_path, monkeypatch):
    inputs.push(store, ADDRESS)
    first = inputs.fetch(ADDRESS, tmp_path / "inputs")
    (first / "shards" / "0.npy").unlink()
    copied = []
    copy = remote.copy
    monkeypatch.setattr(
        remote, "copy", lambda a, b: copied.append(a.name) or copy(a, b)
    )
    assert inputs.fetch(ADDRESS, tmp_path / "inputs") == first
    assert copied == ["0.npy"]
    assert content(first) == content(store)


def test_damage_on_the_way_is_noticed(bucket, store, tmp_path):
    inputs.push(store, ADDRESS)
    remote.write(remote.at(ADDRESS) / "shards/1.npy", b"something else")
    with pytest.raises(InputError, match=r"shards/1\.npy: is not what its list says"):
        inputs.fetch(ADDRESS, tmp_path / "inputs")
    assert not list((tmp_path / "inputs").rglob("*1.npy*"))


def test_another_content_at_the_address_is_another_copy(bucket, store, tmp_path):
    inputs.push(store, ADDRESS)
    first = inputs.fetch(ADDRESS, tmp_path / "inputs")
    (store / "manifest.json").write_text("changed")
    inputs.push(store, ADDRESS)
    assert inputs.fetch(ADDRESS, tmp_path / "inputs") != first
    assert (first / "manifest.json").read_text() == "what manifest.json has"


def test_a_file_that_is_gone_is_not_listed(bucket, store):
    inputs.push(store, ADDRESS)
    (store / "shards" / "0.npy").unlink()
    assert inputs.push(store, ADDRESS) == {}
    listed = json.loads((remote.at("gs://bucket/data") / "three.list.json").read_text())
    assert set(listed) == {"manifest.json", "shards/1.npy"}


def test_nothing_to_push(bucket, tmp_path):
    with pytest.raises(InputError, match="is no file, nor a folder with files"):
        inputs.push(tmp_path / "absent", ADDRESS)
    assert not bucket.store
