"""Counts as text: either way round, in the usual separators, good and bad."""

import gzip

import anndata
import numpy as np
import pandas as pd
import pytest

from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell import readers, tables

COUNTS = pd.DataFrame(
    [[1, 0, 2], [0, 3, 0]],
    index=["AAACCTGAGAAA-1", "AAACCTGAGAAC-1"],
    columns=["ENSG00000000003", "ENSG00000000005", "ENSG00000000419.12"],
)


@pytest.mark.parametrize("cells_in_rows", [True, False])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("suffix", "separator"), [(".csv", ","), (".tsv.gz", "\t"), (".txt", ";")]
)
def test_either_way_round(tmp_path, cells_in_rows, named, suffix, separator):
    path = tmp_path / f"counts{suffix}"
    frame = COUNTS if cells_in_rows else COUNTS.T
    text = frame.to_csv(sep=separator)
    if not named:  # as R writes it
        text = text.removeprefix(separator)
    data = gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode()
    path.write_bytes(data)
    rna = readers.read(path)["rna"]
    assert rna.X.toarray().tolist() == COUNTS.to_numpy().tolist()
    assert rna.obs_names.tolist() == COUNTS.index.tolist()
    assert rna.var_names.tolist() == COUNTS.columns.tolist()


@pytest.mark.parametrize(
    ("cells", "features"),
    [
        (["c1", "c2"], ["chr1:5-20", "chr1:30-50", "chr2:5-20"]),
        (["a.AAACCTGAGAAA", "b.AAACCTGAGAAC"], ["x", "y", "z"]),
        (["c1", "c2"], ["Actb", "y", "z"]),
        (["c1", "c2"], ["MALAT1", "y", "z"]),
    ],
)
def test_names_tell_cells_from_features(tmp_path, cells, features):
    frame = COUNTS.set_axis(cells).set_axis(features, axis=1)
    for one in (frame, frame.T):
        one.to_csv(tmp_path / "counts.csv")
        adata = tables.read_table(tmp_path / "counts.csv")
        assert adata.obs_names.tolist() == cells
        assert adata.var_names.tolist() == features
        assert adata.X.toarray().tolist() == COUNTS.to_numpy().tolist()


def test_chunks_are_put_together(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_NUMBERS_AT_ONCE", 7)
    counts = np.random.default_rng(0).poisson(0.5, (11, 3))
    cells = [f"{'ACGT'[i % 4] * 9}-{i}" for i in range(11)]
    frame = pd.DataFrame(counts, index=cells, columns=["x", "y", "z"])
    frame.to_csv(tmp_path / "counts.csv")
    adata = tables.read_table(tmp_path / "counts.csv")
    assert adata.X.toarray().tolist() == counts.tolist()
    assert adata.obs_names.tolist() == cells


HEAD = ",ENSG00000000003,ENSG00000000005\n"
BROKEN = {
    "nothing": ("", "fewer than two lines"),
    "no rows": (HEAD, "fewer than two lines"),
    "a word": (
        f"{HEAD}a,1,2\nb,1,many\n",
        r"row 'b', column 'ENSG00000000005'.*'many'",
    ),
    "a gap": (f"{HEAD}a,1,\nb,1,1\n", r"row 'a', column 'ENSG00000000005' holds ''"),
    "a short row": (f"{HEAD}a,1,2\nb,1\n", r"counts\.csv"),
    "a long row": (f"{HEAD}a,1,2\nb,1,2,3\n", "cannot be read"),
    "another header": ("a,b,c,d,e\nx,1\n", "first line has 5 parts"),
    "fractions": (f"{HEAD}a,1,2\nb,1,0.5\n", "is not a count"),
    "negative": (f"{HEAD}a,1,2\nb,1,-1\n", "is not a count"),
    "twice": (f"{HEAD}a,1,2\na,1,1\n", "occurs 2 times"),
    "no names": (",x,y\na,1,2\nb,1,1\n", "does not tell cells from features"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_tables_are_errors_in_words(tmp_path, what):
    text, words = BROKEN[what]
    (tmp_path / "counts.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        readers.read(tmp_path / "counts.csv")


WHOLE = gzip.compress(COUNTS.to_csv().encode())


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00\x01", WHOLE[:-9], WHOLE[:20] + b"\xff\xff" + WHOLE[22:]],
    ids=["no gzip", "truncated", "flipped"],
)
def test_damaged_files(tmp_path, content):
    path = tmp_path / "counts.csv.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"counts\.csv\.gz"):
        readers.read(path)


def test_real_counts_survive(tmp_path, data_folder):
    adata = anndata.read_h5ad(data_folder / "scrna" / "zheng68k_165.h5ad")
    frame = adata.to_df().astype(int)
    frame.T.to_csv(tmp_path / "counts.csv.gz")
    again = readers.read(tmp_path / "counts.csv.gz")["rna"].to_df()
    pd.testing.assert_frame_equal(again, frame, check_dtype=False, check_names=False)
