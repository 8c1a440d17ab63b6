"""Whole or not at all."""

import pathlib

import pytest

from scmultimodal.evaluation import files


def test_text_is_utf8_and_replaces(tmp_path):
    path = files.write_text(tmp_path / "new" / "a.txt", "first")
    files.write_text(path, "≤ 5′")
    assert path.read_bytes() == "≤ 5′".encode()
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    path = files.write_bytes(tmp_path / "a", b"old")

    def fail(self, target):
        raise OSError("disk full")

    monkeypatch.setattr(pathlib.Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
