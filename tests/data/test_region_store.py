"""Spans on disk: whole or not at all, and nothing damaged is taken for whole."""

import json
import shutil

import numpy as np
import pytest

from scmultimodal.data import manifest as manifests
from scmultimodal.data.region_store import RegionStore, write_region_store
from scmultimodal.genome.composition import FEATURES
from scmultimodal.genome.kmers import KmerTokenizer
from scmultimodal.genome.span_table import SpanTable
from scmultimodal.schemas.errors import InputError
from tests import builders

NUM_TOKENS = 9
ARRAYS = (
    "tokens",
    "features",
    "cut",
    "intervals",
    "values",
    "chrom_index",
    "start",
    "sample_index",
    "offset",
    "group",
    "split",
)


def write(path, chunks=None, **changes):
    chunks = builders.region_chunks(4, 0, 3) if chunks is None else chunks
    arguments = {
        "num_tokens": NUM_TOKENS,
        "chromosomes": ["chr1", "chr2"],
        "samples": ["T", "B"],
        "config": {"seed": 3},
        "provenance": {"source": "tests"},
    }
    return write_region_store(path, chunks, **(arguments | changes))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return write(tmp_path_factory.mktemp("store") / "prepared")


@pytest.fixture
def copy(pristine, tmp_path):
    return shutil.copytree(pristine.path, tmp_path / "copy")


def refusal(function, *arguments, **options):
    with pytest.raises(InputError) as error:
        function(*arguments, **options)
    (line,) = str(error.value).splitlines()
    return line


def content(folder):
    return {f.relative_to(folder): f.read_bytes() for f in sorted(folder.rglob("*.*"))}


# Round trip.


def test_all_arrays_come_back_in_order(pristine):
    chunks = builders.region_chunks(4, 0, 3)
    assert pristine.num_spans == 7
    for name in ("tokens", "features", "cut"):
        expected = np.concatenate([getattr(chunk, name) for chunk in chunks])
        np.testing.assert_array_equal(getattr(pristine, name), expected)
    joined = SpanTable.join(chunk.spans for chunk in chunks)
    for name, column in joined.columns().items():
        found = pristine.spans.columns()[name]
        np.testing.assert_array_equal(found, column)
        assert found.dtype == column.dtype
    for name in ("intervals", "values", "group"):
        assert getattr(pristine, name) is getattr(pristine.spans, name)


def test_the_folder_holds_exactly_these_files(pristine):
    names = {file.name for file in pristine.path.iterdir()}
    assert names == {"manifest.json", *(f"{name}.npy" for name in ARRAYS)}
    assert pristine.tokens.dtype == np.uint16
    # Plain .npy: anybody can read them, and without a pickle.
    for name in ARRAYS:
        array = np.load(pristine.path / f"{name}.npy", allow_pickle=False)
        assert len(array) == 7


def test_tokens_stay_on_disk(pristine):
    assert isinstance(pristine.tokens.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        pristine.tokens[0] = 0


def test_names_and_splits(pristine):
    assert (pristine.chromosomes, pristine.samples) == (("chr1", "chr2"), ("T", "B"))
    assert pristine.manifest["config"] == {"seed": 3}
    assert pristine.manifest["provenance"] == {"source": "tests"}
    assert pristine.manifest["features"] == list(FEATURES)
    assert pristine.manifest["letters_read_as_n"] == 4 + 3
    # The builder deals the splits out in turn: 0 1 2 3, then 0 1 2.
    assert pristine.manifest["splits"] == {
        "train": 2,
        "validation": 2,
        "test": 2,
        "none": 1,
    }
    assert pristine.split("test").tolist() == [2, 6]
    assert pristine.split("none").tolist() == [3]
    line = refusal(pristine.split, "tset")
    assert "has no split 'tset'" in line
    assert "train, validation, test, none" in line


@pytest.mark.parametrize(
    ("config", "version", "k"),
    [
        ({}, "v2", 6),
        # As older versions wrote it.
        ({"vocabulary": "v1"}, "v1", 6),
        ({"vocabulary": "v1", "k": 4}, "v1", 4),
    ],
)
def test_the_tokenizer_is_the_one_that_was_used(tmp_path, config, version, k):
    store = write(tmp_path / "store", config=config)
    assert store.tokenizer == KmerTokenizer(version, k)


def test_the_report_sees_all_that_was_written(tmp_path):
    def report(written):
        assert not (tmp_path / "out").exists()
        return {"total": float(written.values.sum()), "spans": written.num_spans}

    store = write(tmp_path / "out", report=report)
    total = pytest.approx(float(store.values.sum()))
    assert store.manifest["report"] == {"total": total, "spans": 7}


# Whole or not at all.


def test_a_chunk_is_taken_when_the_last_is_written(tmp_path):
    """Memory holds one chunk: each is on disk before the next is asked for."""
    sizes = []

    def chunks():
        for chunk in builders.region_chunks(200, 200, 200, num_tokens=NUM_TOKENS):
            (writing,) = tmp_path.iterdir()
            sizes.append((writing / "tokens.npy").stat().st_size)
            yield chunk

    write(tmp_path / "out", chunks())
    assert sizes[0] < 2_000
    assert sizes[1] > 3 * 200 * NUM_TOKENS * 2 - 8_192
    assert sizes[2] > 3 * 400 * NUM_TOKENS * 2 - 8_192


@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_is_left_of_a_chunk_that_raises(tmp_path, overwrite):
    out = tmp_path / "out"
    if overwrite:
        write(out)
    before = content(tmp_path)

    def chunks():
        yield from builders.region_chunks(2)
        raise InputError("genome.fa", "ends early", "Copy it again")

    line = refusal(write, out, chunks(), overwrite=overwrite)
    assert line == "genome.fa: ends early. Copy it again."
    assert content(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == (["out"] if overwrite else [])


def test_nothing_is_left_of_a_report_that_raises(tmp_path):
    def report(written):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "out", report=report)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("chunks", [[], builders.region_chunks(0)])
def test_there_must_be_a_span(tmp_path, chunks):
    line = refusal(write, tmp_path / "out", chunks)
    assert "out: would hold no span" in line
    assert not list(tmp_path.iterdir())


def test_chunks_of_another_shape_are_a_mistake(tmp_path):
    chunks = builders.region_chunks(3, num_tokens=NUM_TOKENS - 1)
    with pytest.raises(ValueError, match=r"tokens of a chunk has shape \(3, 3, 8\)"):
        write(tmp_path / "out", chunks)
    assert not list(tmp_path.iterdir())


def test_what_stands_there_is_not_replaced(tmp_path, pristine):
    foreign, empty, file = (tmp_path / name for name in ("foreign", "empty", "file"))
    for folder in (foreign, empty):
        folder.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    file.write_text("a file")
    for path in (foreign, file):
        for overwrite in (False, True):
            line = refusal(write, path, overwrite=overwrite)
            assert f"{path.name}: exists and is not a prepared dataset" in line
    assert (foreign / "thesis.txt").read_text() == "years of work"
    assert file.read_text() == "a file"
    assert write(empty).num_spans == 7
    assert "already holds" in refusal(write, empty)
    assert write(empty, builders.region_chunks(2), overwrite=True).num_spans == 2
    assert len(list(tmp_path.iterdir())) == 3


def test_prepared_cells_are_not_prepared_spans(tmp_path):
    cells = tmp_path / "cells"
    cells.mkdir()
    (cells / "obs.json").write_text("{}")
    manifests.write(cells, {}, manifests.CELLS)
    for overwrite in (False, True):
        line = refusal(write, cells, overwrite=overwrite)
        assert "is not a prepared dataset" in line
    line = refusal(RegionStore.open, cells)
    assert "is 'scmultimodal.cells' version 1, not 'scmultimodal.regions'" in line


# Damage.


@pytest.mark.parametrize("name", ["manifest.json", *(f"{n}.npy" for n in ARRAYS)])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "flipped"])
def test_every_file_is_checked(copy, name, damage):
    file = copy / name
    whole = file.read_bytes()
    flipped = bytes([*whole[:-3], whole[-3] ^ 1, *whole[-2:]])
    content = {"truncated": whole[:-2], "empty": b"", "flipped": flipped}
    file.unlink() if damage == "missing" else file.write_bytes(content[damage])
    line = refusal(RegionStore.open, copy, verify=True)
    assert (name in line) or damage == "missing"
    assert "prepare" in line
    if name == "tokens.npy" and damage == "flipped":
        RegionStore.open(copy)  # large: its sha256 is compared on demand


def test_arrays_of_another_form_are_refused(copy):
    """A manifest that was made anew over files that do not belong together."""
    for name, wrong in [
        ("values", np.zeros((7, 3))),
        ("tokens", np.zeros((7, 3, NUM_TOKENS + 1), np.uint16)),
        ("start", np.zeros(6, np.int64)),
    ]:
        folder = copy.with_name(name)
        shutil.copytree(copy, folder)
        np.save(folder / f"{name}.npy", wrong)
        old = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").unlink()
        rest = {k: v for k, v in old.items() if k not in ("files", "digest")}
        manifests.write(folder, rest, manifests.REGIONS)
        line = refusal(RegionStore.open, folder)
        assert f"{name}.npy: holds {wrong.dtype} {wrong.shape}, not" in line


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_a_folder_that_is_no_store(tmp_path, place):
    (tmp_path / "empty").mkdir()
    line = refusal(RegionStore.open, tmp_path / place)
    assert f"{place}: is no prepared dataset" in line
    assert "scmultimodal prepare-ranking" in line
