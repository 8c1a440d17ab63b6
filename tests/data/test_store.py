import dataclasses
import json
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from scmultimodal.data import manifest as manifests
from scmultimodal.data.cell_table import CellTable
from scmultimodal.data.store import Store, write_store
from scmultimodal.schemas.errors import InputError
from tests import builders

NUM_CELLS = 60


def write(path, **changes):
    arguments = {
        "cells": builders.cell_table(NUM_CELLS),
        "vocabulary": builders.gene_vocabulary(),
        "bin_function": builders.capped_bins,
        "provenance": {"source": "tests"},
        "report": {"peaks": 3},
        "cells_per_shard": 25,
    }
    return write_store(path, **(arguments | changes))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return write(tmp_path_factory.mktemp("store") / "prepared")


@pytest.fixture
def copy(pristine, tmp_path):
    return shutil.copytree(pristine.path, tmp_path / "copy")


def all_files(path):
    return sorted(file for file in path.rglob("*") if file.is_file())


def equal(one, other):
    return one.shape == other.shape and (one != other).nnz == 0


FILES = [
    "manifest.json",
    "obs.json",
    "present.atac.npy",
    "present.rna.npy",
    "vocabulary.json",
    *(
        f"shards/{number:05d}/{modality}.{name}.npy"
        for number in range(3)
        for modality in ("atac", "rna")
        for name in ("bins", "counts", "indices", "indptr")
    ),
]


def test_the_folder_holds_exactly_these_files(pristine):
    found = [str(f.relative_to(pristine.path)) for f in all_files(pristine.path)]
    assert found == sorted(FILES)


def test_counts_and_bins_come_back(pristine):
    cells = builders.cell_table(NUM_CELLS)
    every = np.arange(NUM_CELLS)
    for modality, matrix in cells.matrices.items():
        assert equal(pristine.rows(modality, every, "counts"), matrix)
        bins = pristine.rows(modality, every)
        assert equal(bins, builders.capped_bins(modality, matrix))
        assert bins.dtype == np.uint8
        assert np.array_equal(pristine.present(modality), cells.present[modality])
        assert np.array_equal(
            pristine.nonzeros_per_cell(modality), (matrix.toarray() > 0).sum(1)
        )


@given(st.lists(st.integers(0, NUM_CELLS - 1), max_size=80))
@settings(max_examples=60)
def test_rows_keep_order_and_repeats_over_shards(pristine, chosen):
    matrix = builders.cell_table(NUM_CELLS).atac
    chosen = np.array(chosen, dtype=np.int64)
    rows = pristine.rows("atac", chosen, "counts")
    assert np.array_equal(rows.toarray(), matrix.toarray()[chosen])
    assert rows.has_canonical_format


@pytest.mark.parametrize("cell", [-1, NUM_CELLS])
def test_there_are_no_other_cells(pristine, cell):
    with pytest.raises(IndexError, match="0 to 59"):
        pristine.rows("rna", np.array([cell]))


def test_cells_splits_and_classes(pristine):
    cells = builders.cell_table(NUM_CELLS)
    assert pristine.obs.index.tolist() == cells.obs.index.tolist()
    assert pristine.obs["depth"].tolist() == cells.obs["depth"].tolist()
    assert pristine.label_names == ("B", "NK", "T")
    assert pristine.obs["label"].iloc[5] == "rare"
    assert pristine.labels[:6].tolist() == [2, 0, 1, 2, 0, -1]
    assert pristine.split("validation").tolist() == list(range(3, 60, 4))
    assert pristine.split("left_out").tolist() == [5]
    assert pristine.manifest["splits"] == {
        "train": 29,
        "validation": 15,
        "test": 15,
        "left_out": 1,
    }
    with pytest.raises(InputError, match="no split 'tset'"):
        pristine.split("tset")


def test_without_labels_or_split(tmp_path):
    cells = builders.cell_table(NUM_CELLS)
    bare = dataclasses.replace(cells, obs=cells.obs[["depth"]])
    store = write(tmp_path / "bare", cells=bare)
    assert store.label_names == ()
    assert set(store.labels) == {-1}
    assert store.manifest["splits"] == {}
    with pytest.raises(InputError, match="no split 'train'"):
        store.split("train")


def test_one_modality_alone(tmp_path):
    cells = builders.cell_table(NUM_CELLS)
    present = {"rna": cells.present["rna"]}
    alone = dataclasses.replace(cells, atac=None, present=present)
    store = write(tmp_path / "alone", cells=alone)
    assert store.modalities == ("rna",)
    assert not store.present("atac").any()
    with pytest.raises(InputError, match="holds no atac"):
        store.rows("atac", np.array([0]))


def test_types_are_the_smallest_that_hold_the_values(pristine):
    def dtype(name):
        return np.load(pristine.path / f"shards/00000/{name}.npy").dtype

    assert dtype("rna.counts") == np.uint8
    assert dtype("atac.counts") == np.uint16
    assert dtype("rna.indices") == np.uint16


def test_rows_without_entries_and_shards_without_entries(tmp_path):
    counts = sparse.csr_matrix(([70_000], ([5], [39])), shape=(6, 40))
    cells = CellTable(
        rna=counts,
        atac=None,
        present={"rna": np.ones(6, bool)},
        obs=pd.DataFrame(index=[f"c{i}" for i in range(6)]),
    )
    store = write(tmp_path / "sparse", cells=cells, cells_per_shard=2)
    assert equal(store.rows("rna", np.arange(6), "counts"), counts)
    assert store.rows("rna", np.array([0, 1])).nnz == 0


def test_stored_zeros_and_unsorted_columns_are_put_right(tmp_path):
    cells = builders.cell_table(NUM_CELLS)
    rna = cells.rna.copy()
    rna.data[3] = 0
    expected = rna.toarray()
    rna.indices[:2], rna.data[:2] = rna.indices[1::-1].copy(), rna.data[1::-1].copy()
    rna.has_canonical_format = rna.has_sorted_indices = False
    store = write(tmp_path / "odd", cells=dataclasses.replace(cells, rna=rna))
    rows = store.rows("rna", np.arange(NUM_CELLS), "counts")
    assert np.array_equal(rows.toarray(), expected)
    assert rows.data.all()


@pytest.mark.parametrize("damage", ["truncate", "extend", "flip", "remove"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(copy, name, damage):
    file = copy / name
    content = bytearray(file.read_bytes())
    if damage == "truncate":
        file.write_bytes(content[:-2])
    elif damage == "extend":
        file.write_bytes(content + b" ")
    elif damage == "flip":
        content[len(content) * 2 // 3] ^= 4
        file.write_bytes(content)
    else:
        file.unlink()
    if (name, damage) == ("manifest.json", "extend"):
        Store.open(copy, verify=True)
        return
    with pytest.raises(InputError) as caught:
        Store.open(copy, verify=True)
    expected = copy if (name, damage) == ("manifest.json", "remove") else file
    assert caught.value.source == str(expected)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [n for n in FILES if n != "manifest.json"])
def test_a_truncated_file_is_named_without_verify(copy, name):
    file = copy / name
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError) as caught:
        Store.open(copy)
    assert caught.value.source == str(file)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("shards/00000/rna.counts.npy", "shards/00001/rna.counts.npy"),
        ("shards/00000/rna.bins.npy", "shards/00000/atac.bins.npy"),
        ("shards/00001/rna.indptr.npy", "shards/00000/rna.indptr.npy"),
        ("present.rna.npy", "present.atac.npy"),
    ],
)
def test_swapped_files_are_noticed(copy, one, other):
    (copy / one).rename(copy / "aside")
    (copy / other).rename(copy / one)
    (copy / "aside").rename(copy / other)
    with pytest.raises(InputError, match=r"rna|atac"):
        Store.open(copy, verify=True)


def rewrite_manifest(path, **changes):
    """Signs a manifest that somebody edited, with the files as they are now."""
    manifest = json.loads((path / "manifest.json").read_text()) | changes
    (path / "manifest.json").unlink()
    for name in ("digest", "files"):
        manifest.pop(name)
    manifests.write(path, manifest)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("rna.indptr", lambda a: a + 1, "does not rise from 0"),
        ("rna.indptr", lambda a: a[::-1], "does not rise from 0"),
        ("rna.indptr", lambda a: a[:-1], "has 25 entries, not 26"),
        ("rna.indptr", lambda a: a // 2, "as indptr says"),
        ("rna.counts", lambda a: a[:-1], "entries, not"),
        ("rna.bins", lambda a: a[:-1], "entries, not"),
        ("rna.bins", lambda a: a.astype(np.uint16), "not uint8"),
        ("rna.counts", lambda a: a.astype(np.int8), "kind 'u', but int8"),
        ("rna.counts", lambda a: a.astype(">u2"), "byte order of another machine"),
        ("rna.counts", lambda a: a.reshape(1, -1), "not one whole array"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_whatever_the_manifest_says(
    copy, name, change, message
):
    file = copy / f"shards/00000/{name}.npy"
    np.save(file, change(np.load(file)))
    rewrite_manifest(copy)
    with pytest.raises(InputError, match=message) as caught:
        Store.open(copy, verify=True)
    blamed = "rna.indices" if message == "as indptr says" else name
    assert caught.value.source == str(file.with_name(f"{blamed}.npy"))


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("name", ["shards/00000/rna.counts.npy", "present.rna.npy"])
def test_a_pickle_is_never_loaded(copy, name):
    (copy / name).write_bytes(pickle.dumps(Trap()))
    rewrite_manifest(copy)
    with pytest.raises(InputError, match="cannot be read") as caught:
        Store.open(copy)
    assert caught.value.source == str(copy / name)


def test_an_array_shorter_than_its_file_is_refused(copy):
    file = copy / "shards/00000/rna.counts.npy"
    file.write_bytes(file.read_bytes() + b"0")
    rewrite_manifest(copy)
    with pytest.raises(InputError, match="not one whole array"):
        Store.open(copy)


@pytest.mark.parametrize("name", [n for n in FILES if "shards" not in n or "ptr" in n])
def test_a_flipped_bit_in_a_small_file_is_noticed_without_verify(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[-9] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        Store.open(copy)
    assert caught.value.source == str(copy / name)


def test_a_gene_beyond_the_last_is_refused_when_it_is_read(copy):
    file = copy / "shards/00001/rna.indices.npy"
    indices = np.load(file)
    indices[-1] = 40
    np.save(file, indices)
    rewrite_manifest(copy)
    store = Store.open(copy)
    last = np.flatnonzero(store.nonzeros_per_cell("rna")[:50])[-1]
    with pytest.raises(InputError, match="names gene 40 of 40") as caught:
        store.rows("rna", np.array([last]))
    assert caught.value.source == str(file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"schema_version": 2}, "version 2, not"), ({"kind": "regions"}, "'regions'")],
)
def test_another_kind_or_version_is_refused(copy, changes, message):
    rewrite_manifest(copy)
    manifest = json.loads((copy / "manifest.json").read_text()) | changes
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=message):
        Store.open(copy)


@pytest.mark.parametrize("text", ["", "[]", "3", "{}"])
def test_a_manifest_that_is_none_is_refused(copy, text):
    (copy / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json"):
        Store.open(copy)


def test_a_folder_without_a_store(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="is no prepared dataset"):
            Store.open(path)


def test_a_failure_while_writing_leaves_nothing(tmp_path):
    calls = []

    def fail_late(modality, counts):
        calls.append(modality)
        if len(calls) == 5:
            raise RuntimeError("disk on fire")
        return builders.capped_bins(modality, counts)

    with pytest.raises(RuntimeError, match="disk on fire"):
        write(tmp_path / "new", bin_function=fail_late)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else_is_never_touched(tmp_path, overwrite):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is not a prepared dataset"):
        write(tmp_path / "mine", overwrite=overwrite)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_store_is_replaced_only_on_request(tmp_path):
    (tmp_path / "store").mkdir()
    write(tmp_path / "store")
    other = builders.cell_table(30, seed=9)
    with pytest.raises(InputError, match="already holds a prepared dataset"):
        write(tmp_path / "store", cells=other)
    assert Store.open(tmp_path / "store").num_cells == NUM_CELLS
    store = write(tmp_path / "store", cells=other, overwrite=True)
    assert store.num_cells == 30
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def halved(modality, counts):
    bins = builders.capped_bins(modality, counts)
    bins.data = (bins.data + 1) // 2
    return bins


@pytest.mark.parametrize("elsewhere", [False, True])
def test_bins_are_rebuilt_from_the_counts(copy, elsewhere):
    store = Store.open(copy)
    vocabulary = dataclasses.replace(store.vocabulary, recipe={"num_bins": 3})
    target = copy.with_name("rebuilt") if elsewhere else None
    rebuilt = store.rebin(halved, vocabulary=vocabulary, path=target)
    Store.open(rebuilt.path, verify=True)
    every = np.arange(NUM_CELLS)
    for modality in ("rna", "atac"):
        before = store.rows(modality, every).toarray()
        assert np.array_equal(
            rebuilt.rows(modality, every).toarray(), (before + 1) // 2
        )
        counts = [s.rows(modality, every, "counts") for s in (store, rebuilt)]
        assert equal(*counts)
    assert rebuilt.manifest["recipe"] == {"num_bins": 3}
    for name in ("provenance", "report", "splits", "shards"):
        assert rebuilt.manifest[name] == store.manifest[name]
    pd.testing.assert_frame_equal(rebuilt.obs, store.obs)
    if elsewhere:
        again = Store.open(copy, verify=True)
        assert equal(again.rows("rna", every), store.rows("rna", every))


def test_rebuilding_keeps_the_genes(pristine, tmp_path):
    with pytest.raises(InputError, match="has other genes"):
        pristine.rebin(
            halved, vocabulary=builders.gene_vocabulary(39), path=tmp_path / "x"
        )


@pytest.mark.parametrize("fault", ["zero", "dropped", "large"])
def test_bins_must_cover_exactly_the_counts(tmp_path, fault):
    def wrong(modality, counts):
        bins = counts.astype(np.int64)
        bins.data[0] = {"zero": 0, "dropped": 0, "large": 256}[fault]
        if fault == "dropped":
            bins.eliminate_zeros()
        return bins

    with pytest.raises(ValueError, match="every non-zero count a bin"):
        write(tmp_path / "x", bin_function=wrong)


def with_count(value):
    cells = builders.cell_table(NUM_CELLS)
    rna = cells.rna.astype(np.float64)
    rna.data[-1] = value
    return dataclasses.replace(cells, rna=rna)


@pytest.mark.parametrize("value", [-1.0, 0.5, np.nan, np.inf])
def test_what_is_no_count_is_refused(value):
    with pytest.raises(InputError, match=f"count {value} in cell cell58"):
        with_count(value)


def test_whole_floats_are_counts(tmp_path):
    store = write(tmp_path / "floats", cells=with_count(8.0))
    assert store.rows("rna", np.array([58]), "counts").data[-1] == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {"rna": None, "atac": None}, "neither RNA nor ATAC"),
        (lambda c: {"rna": c.rna[:-1]}, "59 rows for 60 cells"),
        (lambda c: {"present": {"rna": c.present["rna"]}}, "does not say which"),
        (lambda c: {"present": {**c.present, "rna": ~c.present["rna"]}}, "absent has"),
        (lambda c: {"obs": c.obs.set_index("label")}, "cell ID T stands twice"),
        (lambda c: {"obs": c.obs.rename(columns={"depth": "batch"})}, "column batch"),
        (lambda c: {"obs": c.obs.assign(split="tarin")}, "has the value tarin"),
        (lambda c: {"obs": c.obs[:0]}, "there is none"),
    ],
)
def test_cells_that_break_a_rule_are_refused(change, message):
    cells = builders.cell_table(NUM_CELLS)
    with pytest.raises(InputError, match=message):
        dataclasses.replace(cells, **change(cells))


def test_columns_must_be_the_vocabulary(tmp_path):
    with pytest.raises(InputError, match="40 columns for 39 genes"):
        write(tmp_path / "x", vocabulary=builders.gene_vocabulary(39))
    assert list(tmp_path.iterdir()) == []


def test_files_of_somebody_in_a_dataset_stay(tmp_path):
    write(tmp_path / "store")
    mine = tmp_path / "store" / "mine.gtf"
    mine.write_text("genes")
    with pytest.raises(InputError, match=r"mine.gtf.*would be lost.*move it"):
        write(tmp_path / "store", overwrite=True)
    assert mine.read_text() == "genes"


def test_a_dataset_within_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is no folder"):
        write(tmp_path / "file" / "store")
