"""Tensors on disk: what numpy has no type for is refused in words."""

import json
import os
import stat
import struct

import numpy as np
import pytest

from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import folder
from tests import builders


def write(path, dtype, content):
    """A safetensors file of one tensor "w", by hand."""
    place = {"dtype": dtype, "shape": [2], "data_offsets": [0, len(content)]}
    header = json.dumps({"w": place}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + content)
    return path


def test_a_tensor_by_hand(tmp_path):
    path = write(tmp_path / "x.safetensors", "F32", struct.pack("<ff", 1.5, -2))
    np.testing.assert_array_equal(folder.read_tensors(path)["w"], [1.5, -2])


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        ("F8_E4M3", ["numpy does not know", "store its tensors as float32"]),
        ("F8_E5M2", ["numpy does not know"]),
        ("F8_E8M0", ["numpy does not know"]),
        ("X7", ["cannot be read", "X7"]),
    ],
)
def test_numbers_that_numpy_does_not_know(tmp_path, dtype, words):
    path = write(tmp_path / "x.safetensors", dtype, bytes(2))
    with pytest.raises(InputError) as error:
        folder.read_tensors(path)
    (line,) = str(error.value).splitlines()
    for word in ["x.safetensors", *words]:
        assert word in line


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_tensors_are_as_readable_as_other_files(tmp_path, umask):
    before = os.umask(umask)
    try:
        folder.write_tensors(tmp_path / "x.safetensors", {"w": np.ones(2)})
        (tmp_path / "other").write_text("")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o666 & ~umask}


def write_model(place, **companions):
    """A model folder of one file, and companions."""
    config = builders.encoder_config()
    with folder.writing(
        place, format="model", version=1, config=config, companions=companions
    ) as new:
        folder.write_tensors(new / folder.TENSORS, {"w": np.ones(2)})


def listing(place):
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name", ["notes.txt", ".git/HEAD", "model.safetensors.bak", "__pycache__/notes.txt"]
)
def test_a_file_of_somebody_is_named_and_stays(tmp_path, name):
    write_model(tmp_path / "m")
    mine = tmp_path / "m" / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    before = listing(tmp_path)
    with pytest.raises(InputError, match=r"is no file of the model") as error:
        write_model(tmp_path / "m")
    assert str(tmp_path / "m" / name.split("/")[0]) in str(error.value)
    assert listing(tmp_path) == before


def test_an_older_model_goes_with_its_card_companions_and_cache(tmp_path):
    write_model(tmp_path / "m", **{"README.md": b"# m", "evaluate.py": b"pass"})
    (tmp_path / "m" / "README.md").write_text("# Mine")
    cache = tmp_path / "m" / "__pycache__"
    cache.mkdir()
    (cache / "evaluate.cpython-311.pyc").write_bytes(b"")
    write_model(tmp_path / "m")
    left = sorted(path.name for path in listing(tmp_path))
    assert left == ["config.json", "model.safetensors"]
