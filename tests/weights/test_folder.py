"""Tensors on disk: what numpy has no type for is refused in words."""

import json
import os
import stat
import struct

import numpy as np
import pytest

from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import folder


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
