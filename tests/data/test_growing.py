"""Arrays that are written part by part are those that numpy writes at once."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.data import growing, shards
from scmultimodal.data.growing import CountsWriter, GrowingArray
from tests import builders

numbers = st.lists(st.lists(st.integers(0, 255), max_size=9), max_size=6)


@given(parts=numbers, dtype=st.sampled_from(["u1", "<u2", "<u4", "<u8"]))
def test_the_file_is_numpys_to_the_byte(tmp_path_factory, parts, dtype):
    folder = tmp_path_factory.mktemp("arrays")
    array = GrowingArray(folder / "a.npy", dtype)
    for part in parts:
        array.append(np.array(part, np.int64))
    array.close()
    whole = np.array([*itertools.chain(*parts)], dtype)
    np.save(folder / "b.npy", whole)
    assert (folder / "a.npy").read_bytes() == (folder / "b.npy").read_bytes()


@pytest.mark.parametrize("values_at_once", [1, 7, 100])
def test_a_narrower_type_in_the_end(tmp_path, monkeypatch, values_at_once):
    monkeypatch.setattr(growing, "_VALUES_AT_ONCE", values_at_once)
    array = GrowingArray(tmp_path / "a.npy", np.uint32)
    for start in (0, 13, 20):
        array.append(np.arange(start, 40))
    array.close(np.dtype(np.uint8))
    found = np.load(tmp_path / "a.npy")
    assert found.dtype == np.uint8
    assert found.tolist() == [*range(40), *range(13, 40), *range(20, 40)]
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_a_header_has_room_for_any_length(tmp_path):
    array = GrowingArray(tmp_path / "a.npy", np.uint8)
    array._length = 10**18
    array._file.seek(0)
    array._write_header()
    assert array._file.tell() == array._begin


@pytest.mark.parametrize("most", [1, 255, 256, 70_000])
@pytest.mark.parametrize("rows_at_once", [1, 8, 60])
def test_a_shard_is_what_is_written_at_once(tmp_path, most, rows_at_once):
    counts = builders.sparse_counts(60, 40, seed=0)
    counts.data[-1] = most
    shards.write_counts(
        tmp_path / "whole",
        counts,
        count_dtype=np.min_scalar_type(int(counts.data.max())),
    )
    writer = CountsWriter(tmp_path / "parts", 40)
    for start in range(0, 60, rows_at_once):
        writer.append(counts[start : start + rows_at_once])
    writer.close()
    for name in ("indptr", "indices", "counts"):
        paths = [shards.array_path(tmp_path / p, name) for p in ("whole", "parts")]
        whole, parts = map(np.load, paths)
        assert whole.dtype == parts.dtype
        assert whole.tolist() == parts.tolist()


def test_a_shard_without_cells(tmp_path):
    writer = CountsWriter(tmp_path / "none", 70_000)
    writer.append(sp.csr_matrix((0, 70_000), dtype=np.int32))
    writer.close()
    found = {
        name: shards.read_array(shards.array_path(tmp_path / "none", name))
        for name in ("indptr", "indices", "counts")
    }
    assert {name: array.tolist() for name, array in found.items()} == {
        "indptr": [0],
        "indices": [],
        "counts": [],
    }
    assert found["indices"].dtype == np.uint32
