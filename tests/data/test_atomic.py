import pytest

from scmultimodal.data import atomic
from scmultimodal.schemas.errors import InputError


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_folder_appears_whole(tmp_path):
    with atomic.folder(tmp_path / "deep" / "new") as folder:
        (folder / "file").write_text("1")
        assert not (tmp_path / "deep" / "new").exists()
    assert (tmp_path / "deep" / "new" / "file").read_text() == "1"
    assert names(tmp_path / "deep") == ["new"]


def test_a_failure_leaves_what_stood_there(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "old").write_text("old")

    def write():
        with atomic.folder(tmp_path / "there") as folder:
            (folder / "new").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert names(tmp_path) == ["there"]
    assert names(tmp_path / "there") == ["old"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "old").write_text("old")
    with atomic.folder(tmp_path / "there") as folder:
        (folder / "new").write_text("new")
    assert names(tmp_path) == ["there"]
    assert names(tmp_path / "there") == ["new"]


def test_the_old_folder_comes_back_if_the_new_one_cannot_take_its_place(
    tmp_path, monkeypatch
):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "old").write_text("old")
    rename = type(tmp_path).rename

    def refuse_new(self, target):
        if ".writing-" in self.name:
            raise OSError("refused")
        return rename(self, target)

    monkeypatch.setattr(type(tmp_path), "rename", refuse_new)
    with pytest.raises(OSError, match="refused"), atomic.folder(tmp_path / "there"):
        pass
    assert names(tmp_path) == ["there"]
    assert names(tmp_path / "there") == ["old"]


def test_through_a_symbolic_link_the_target_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "old").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic.folder(tmp_path / "link") as folder:
        (folder / "new").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "real") == ["new"]


def test_a_file_that_is_not_written_leaves_no_folder(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic.file(tmp_path / "deep" / "new"):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_a_link_to_a_file_stays_one(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    atomic.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_text_is_written_whole_or_not_at_all(tmp_path):
    atomic.write_text(tmp_path / "a.json", "old")
    with pytest.raises(UnicodeEncodeError):
        atomic.write_text(tmp_path / "a.json", "new \udcff")
    assert names(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"
    atomic.write_text(tmp_path / "a.json", "new\n")
    assert (tmp_path / "a.json").read_bytes() == b"new\n"


def test_text_is_utf8_and_replaces(tmp_path):
    path = tmp_path / "new" / "a.txt"
    atomic.write_text(path, "first")
    atomic.write_text(path, "≤ 5′")
    assert path.read_bytes() == "≤ 5′".encode()
    assert names(path.parent) == ["a.txt"]


def test_where_nothing_could_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is no folder"):
        atomic.check_writable(tmp_path / "file" / "run")
    atomic.check_writable(tmp_path / "new" / "run")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_may_not_be_written_to_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # Root may always.
    with pytest.raises(InputError, match="may not be written to"):
        atomic.check_writable(tmp_path / "run")


def test_files_of_two_writers_are_whole_at_all_times(tmp_path):
    scratch, target = tmp_path / "scratch", tmp_path / "target"
    scratch.mkdir()
    with atomic.files(target, scratch) as first:
        (first / "x").write_text("who")
        with atomic.files(target, scratch) as second:
            (second / "x").write_text("whole")
            assert not target.exists()
        assert (target / "x").read_text() == "whole"
        (first / "x").write_text("whole")
        assert (target / "x").read_text() == "whole"
    assert names(target) == ["x"]
    assert names(scratch) == []


def test_files_of_a_failure_do_not_appear(tmp_path):
    scratch, target = tmp_path / "scratch", tmp_path / "target"
    scratch.mkdir()

    def write():
        with atomic.files(target, scratch) as new:
            (new / "x").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert names(tmp_path) == ["scratch"]
    assert names(scratch) == []


def test_nothing_comes_up_where_a_folder_was_removed(tmp_path):
    """A worker may notice late that all is over."""
    scratch, target = tmp_path / "scratch", tmp_path / "target"
    scratch.mkdir()

    def late():
        with atomic.files(target, scratch) as new:
            (new / "x").write_text("whole")
            atomic.remove(scratch)

    with pytest.raises(FileNotFoundError):
        late()
    with pytest.raises(FileNotFoundError):
        late()
    assert not target.exists() or names(target) == []
    assert not scratch.exists()


def test_folders_made_on_the_way_go_with_what_failed(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(RuntimeError), atomic.folder(tmp_path / "there/a/b/c"):
        raise RuntimeError
    assert not list((tmp_path / "there").iterdir())
    with atomic.folder(tmp_path / "there/a/b/c"):
        pass
    assert (tmp_path / "there/a/b/c").is_dir()
