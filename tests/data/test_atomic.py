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
