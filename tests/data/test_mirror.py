"""Run folders that are kept in a bucket too."""

import pytest
from etils.epath import backend

from scmultimodal.data import mirror, remote
from scmultimodal.schemas.errors import InputError
from tests import fake_bucket

ADDRESS = "gs://bucket/runs/one"


@pytest.fixture
def bucket():
    with fake_bucket.open_bucket() as bucket:
        yield bucket


def names(bucket):
    return sorted(name.removeprefix("/bucket/runs/one/") for name in bucket.store)


def test_what_is_made_is_there_at_the_end(bucket, tmp_path):
    folder = tmp_path / "run"
    with mirror.kept(folder, ADDRESS):
        (folder / "model").mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "model" / "weights").write_bytes(b"\0\1")
        assert not bucket.store
    assert names(bucket) == ["config.json", "model/weights"]
    assert (remote.at(ADDRESS) / "model" / "weights").read_bytes() == b"\0\1"
    assert mirror.counterpart(folder / "config.json") is None


def test_another_machine_goes_on_with_what_is_there(bucket, tmp_path):
    """And sends what it changes, alone."""
    for name in ("a.txt", "deep/b.txt"):
        remote.write(remote.at(ADDRESS) / name, b"there")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "a.txt").write_text("of an earlier life of this machine")
    bucket.written.clear()
    with mirror.kept(folder, ADDRESS):
        assert (folder / "a.txt").read_text() == "there"
        assert (folder / "deep" / "b.txt").read_text() == "there"
        (folder / "a.txt").write_text("changed")
    assert bucket.written == ["/bucket/runs/one/a.txt"]
    assert (remote.at(ADDRESS) / "a.txt").read_text() == "changed"


def test_checkpoints_are_left_to_their_managers(bucket, tmp_path):
    remote.write(remote.at(ADDRESS) / "checkpoints/3/manifest.json", b"{}")
    folder = tmp_path / "run"
    with mirror.kept(folder, ADDRESS):
        assert not folder.exists()
        (folder / "deep" / "best" / "7").mkdir(parents=True)
        (folder / "deep" / "best" / "7" / "array").write_text("x")
        there = mirror.counterpart(folder / "deep" / "best")
        assert str(there) == f"{ADDRESS}/deep/best"
    assert names(bucket) == ["checkpoints/3/manifest.json"]


def fails(folder):
    """A study that leaves something behind."""
    with mirror.kept(folder, ADDRESS):
        folder.mkdir()
        (folder / "diverged_step_4.json").write_text("{}")
        raise ValueError("of the study")


def test_what_there_is_by_an_error_is_sent(bucket, tmp_path):
    with pytest.raises(ValueError, match="of the study"):
        fails(tmp_path / "run")
    assert names(bucket) == ["diverged_step_4.json"]


def test_an_error_is_not_hidden_by_that_of_the_bucket(bucket, tmp_path):
    bucket.refuses = "bucket"
    with pytest.raises(ValueError, match="of the study"):
        fails(tmp_path / "run")
    assert not bucket.store


def test_one_host_of_many_writes(bucket, tmp_path):
    folder = tmp_path / "run"
    with mirror.kept(folder, ADDRESS, writes=lambda: False):
        folder.mkdir()
        (folder / "a").write_text("a")
    assert not bucket.store


def test_a_bucket_that_may_not_be_written_is_named(bucket, tmp_path):
    bucket.refuses = "runs/one"
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "a").write_text("a")
    with mirror.kept(folder, ADDRESS):
        bucket.refuses = "runs/one"
        with pytest.raises(InputError, match=r"gs://bucket/runs/one/a: cannot be wri"):
            mirror.send(folder / "a")
        assert not bucket.store
        bucket.refuses = None
    assert names(bucket) == ["a"]


def test_a_bucket_that_cannot_be_read_ends_it_before_anything(bucket, tmp_path):
    remote.write(remote.at(ADDRESS) / "a", b"a")

    def refuse(self, *_, **__):
        raise OSError("401: anonymous caller")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket, "ls", refuse)
        with pytest.raises(InputError, match=r"one: cannot be read .*401.*credentials"):
            mirror.kept(tmp_path / "run", ADDRESS).__enter__()
    assert not (tmp_path / "run").exists()


def test_a_file_is_sent_at_once_when_asked(bucket, tmp_path):
    folder = tmp_path / "run"
    with mirror.kept(folder, ADDRESS):
        folder.mkdir()
        (folder / "metrics.jsonl").write_text("1\n")
        mirror.send(folder / "metrics.jsonl")
        mirror.send(folder / "absent")
        mirror.send(tmp_path / "elsewhere")
        assert names(bucket) == ["metrics.jsonl"]


def test_folders_go_and_come_with_the_last_file_last(bucket, tmp_path):
    folder = tmp_path / "step"
    (folder / "state").mkdir(parents=True)
    for name in ("a.json", "manifest.json", "state/z"):
        (folder / name).write_text(name)
    there = remote.at(ADDRESS) / "3"
    mirror.send_folder(folder, there, last="manifest.json")
    assert bucket.written[-1] == "/bucket/runs/one/3/manifest.json"
    assert remote.files(there) == ["a.json", "manifest.json", "state/z"]
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "old").write_text("old")
    mirror.fetch_folder(there, copy)
    assert remote.files(remote.at(copy)) == remote.files(there)
    assert (copy / "state" / "z").read_text() == "state/z"


def test_nothing_is_half_sent(bucket, tmp_path):
    """Without its last file a folder is none."""
    folder = tmp_path / "step"
    folder.mkdir()
    for name in ("a.json", "manifest.json"):
        (folder / name).write_text(name)
    bucket.refuses = "a.json"
    there = remote.at(ADDRESS) / "3"
    with pytest.raises(InputError, match="403"):
        mirror.send_folder(folder, there, last="manifest.json")
    assert not (there / "manifest.json").exists()


def test_a_folder_stands_for_a_bucket(tmp_path):
    there = tmp_path / "bucket"
    folder = tmp_path / "run"
    with mirror.kept(folder, f"file://{there}"):
        folder.mkdir()
        (folder / "a").write_text("a")
    assert remote.files(remote.at(f"file://{there}")) == ["a"]


def test_listings_of_a_bucket_are_not_kept(bucket):
    """gcsfs would not see what another machine writes into a folder it has listed."""
    remote.at(ADDRESS)
    backend.fsspec_backend._get_filesystem.cache_clear()
    system = backend.fsspec_backend.fs(ADDRESS)
    assert not system.dircache.use_listings_cache


def test_what_the_main_host_makes_the_others_take(bucket, tmp_path):
    """And it is not sent again by a machine that has it from there."""
    for name, fetched in (("a", False), ("b", True)):
        folder = tmp_path / name
        with mirror.kept(folder, ADDRESS, writes=lambda: False):
            assert (folder / "data" / "manifest.json").exists() == fetched
            for part in ("cells", "manifest.json"):
                remote.write(folder / "data" / part, part.encode())
            bucket.written.clear()
            mirror.share(folder / "data", last="manifest.json")
            assert bool(bucket.written) != fetched
    bucket.written.clear()
    with mirror.kept(tmp_path / "d", "gs://bucket/runs/two"):
        remote.write(tmp_path / "d" / "data" / "manifest.json", b"m")
        remote.write(tmp_path / "d" / "model", b"m")
        mirror.share(tmp_path / "d" / "data", last="manifest.json")
    written = [name.removeprefix("/bucket/runs/two/") for name in bucket.written]
    assert written == ["data/manifest.json", "model"]  # Each once.
    other = tmp_path / "c"
    with mirror.kept(other, ADDRESS, writes=lambda: False):
        (other / "data" / "manifest.json").write_text("stale")
        mirror.take(other / "data", last="manifest.json")
        assert (other / "data" / "manifest.json").read_text() == "manifest.json"
    mirror.share(other / "data", last="manifest.json")
    mirror.take(other / "data", last="manifest.json")
