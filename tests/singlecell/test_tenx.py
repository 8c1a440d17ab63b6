"""What Cell Ranger writes, in all its versions; and what is left of it at times."""

import gzip
import shutil

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell import readers, tenx

# Features × cells, as Cell Ranger has it.
COUNTS = np.array([[1, 0, 2], [0, 3, 0], [4, 0, 0], [0, 0, 5]])
IDS = ["ENSG01", "ENSG02", "chr1:10-20", "chr1:30-50"]
SYMBOLS = ["A", "B", "chr1:10-20", "chr1:30-50"]
TYPES = ["Gene Expression"] * 2 + ["Peaks"] * 2
BARCODES = ["AAA-1", "CCC-1", "GGG-1"]


def fill(group, counts, **arrays):
    matrix = sp.csc_matrix(counts)
    arrays = {
        "barcodes": BARCODES, "data": matrix.data, "indices": matrix.indices,
        "indptr": matrix.indptr, "shape": matrix.shape,
    } | arrays  # fmt: skip
    for name, values in arrays.items():
        values = np.asarray(values)
        group[name] = values.astype("S") if values.dtype.kind == "U" else values


def version_3(path, **arrays):
    with h5py.File(path, "w") as file:
        fill(file.create_group("matrix"), COUNTS, **arrays)
        features = file["matrix"].create_group("features")
        for name, values in (("id", IDS), ("name", SYMBOLS), ("feature_type", TYPES)):
            features[name] = np.array(values, "S")
        features["genome"] = np.array(["GRCh38"] * 4, "S")
    return path


def version_2(path, *genomes, **arrays):
    with h5py.File(path, "w") as file:
        for genome in genomes:
            fill(
                file.create_group(genome),
                COUNTS[:2],
                genes=[f"{genome}_1", f"{genome}_2"],
                gene_names=SYMBOLS[:2],
                **arrays,
            )
    return path


def folder_of(path, prefix="", zipped=True, counts=COUNTS, **tables):
    tables = {
        "barcodes.tsv": BARCODES,
        "features.tsv": [
            "\t".join(row) for row in zip(IDS, SYMBOLS, TYPES, strict=True)
        ],
    } | tables
    path.mkdir()
    scipy.io.mmwrite(path / f"{prefix}matrix.mtx", sp.coo_matrix(counts))
    for name, lines in tables.items():
        (path / f"{prefix}{name}").write_text("\n".join(lines) + "\n")
    if zipped:
        for plain in list(path.iterdir()):
            with open(plain, "rb") as old, gzip.open(f"{plain}.gz", "wb") as new:
                shutil.copyfileobj(old, new)
            plain.unlink()
    return path


def test_arc_h5_has_both_modalities(tmp_path):
    data = readers.read(version_3(tmp_path / "filtered.h5"))
    assert list(data.mod) == ["rna", "atac"]
    assert data["rna"].X.toarray().tolist() == COUNTS[:2].T.tolist()
    assert data["rna"].var_names.tolist() == IDS[:2]
    assert data["rna"].var["symbol"].tolist() == SYMBOLS[:2]
    assert data["atac"].X.toarray().tolist() == COUNTS[2:].T.tolist()
    assert data["atac"].var["end"].tolist() == [20, 50]
    assert data.obs_names.tolist() == BARCODES


def test_h5_of_version_2(tmp_path):
    adata = tenx.read_h5(version_2(tmp_path / "raw.h5", "hg19"))
    assert adata.X.toarray().tolist() == COUNTS[:2].T.tolist()
    assert adata.var["genome"].tolist() == ["hg19"] * 2
    assert adata.var["symbol"].tolist() == ["A", "B"]


def test_genomes_of_version_2_are_put_side_by_side(tmp_path):
    adata = tenx.read_h5(version_2(tmp_path / "raw.h5", "hg19", "mm10"))
    assert adata.X.toarray().tolist() == np.hstack([COUNTS[:2].T] * 2).tolist()
    assert adata.var["genome"].tolist() == ["hg19"] * 2 + ["mm10"] * 2


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("prefix", ["", "GSM1[a]_"])
def test_folder_of_mtx(tmp_path, zipped, prefix):
    folder = folder_of(tmp_path / "matrix", prefix, zipped)
    data = readers.read(folder)
    assert data["rna"].X.toarray().tolist() == COUNTS[:2].T.tolist()
    assert data["rna"].var["symbol"].tolist() == SYMBOLS[:2]
    assert data["atac"].var["start"].tolist() == [10, 30]


def test_folder_of_genes_alone_and_of_peaks_alone(tmp_path):
    old = folder_of(tmp_path / "v2", counts=COUNTS[:2])
    (old / "features.tsv.gz").unlink()
    (old / "genes.tsv").write_text("ENSG01\tA\nENSG02\tNA\n")
    rna = readers.read(old)["rna"]
    assert rna.var["symbol"].tolist() == ["A", "NA"]

    atac = folder_of(tmp_path / "atac", counts=COUNTS[2:], zipped=False)
    (atac / "features.tsv").unlink()
    (atac / "peaks.bed").write_text("# a comment\nchr1\t10\t20\nchr1\t30\t50\n")
    assert readers.read(atac)["atac"].var_names.tolist() == IDS[2:]


BROKEN_H5 = {
    "no matrix": (lambda p: h5py.File(p, "w").close(), "no matrix of Cell Ranger"),
    "another shape": (lambda p: version_3(p, shape=[4, 4]), "declares"),
    "an index out of range": (
        lambda p: version_3(p, indices=[0, 9, 1, 0, 3]),
        "broken",
    ),
    "pointers that fall": (lambda p: version_3(p, indptr=[0, 3, 2, 5]), "broken"),
    "too few barcodes": (lambda p: version_3(p, barcodes=BARCODES[:2]), "declares"),
    "numbers for names": (lambda p: version_3(p, barcodes=[1, 2, 3]), "cannot be read"),
    "negative counts": (lambda p: version_3(p, data=[1, -4, 3, 2, 5]), "not a count"),
}


@pytest.mark.parametrize("what", BROKEN_H5)
def test_broken_h5_is_an_error_in_words(tmp_path, what):
    make, words = BROKEN_H5[what]
    path = tmp_path / "broken.h5"
    make(path)
    with pytest.raises(InputError, match=words) as caught:
        readers.read(path)
    assert "broken.h5" in str(caught.value)


def test_other_cells_in_another_genome(tmp_path):
    path = version_2(tmp_path / "raw.h5", "hg19", "mm10")
    with h5py.File(path, "a") as file:
        file["mm10/barcodes"][0] = b"TTT-1"
    with pytest.raises(InputError, match=r"'mm10' has other cells than 'hg19'"):
        readers.read(path)


def damage(name, change):
    """Changes a file of a folder, zipped if it is."""

    def apply(folder):
        path = folder / name
        content = change(path.read_bytes())
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    return apply


HUGE = b"%%MatrixMarket matrix coordinate integer general\n9 9 99999999999\n1 1 1\n"
BROKEN_FOLDERS = {
    "no barcodes": (damage("barcodes.tsv", lambda old: None), r"no barcodes\.tsv"),
    "no features": (damage("features.tsv", lambda old: None), r"no features\.tsv"),
    "no matrix": (damage("matrix.mtx", lambda old: None), r"without a matrix\.mtx"),
    "a barcode too many": (damage("barcodes.tsv", lambda old: old + b"T\n"), "4 barco"),
    "empty barcodes": (damage("barcodes.tsv", lambda old: b""), "cannot be read"),
    "no text": (damage("features.tsv", lambda old: b"\xff\xfe\x00"), "cannot be read"),
    "half a matrix": (damage("matrix.mtx", lambda old: old[:-6]), "cannot be read"),
    "empty matrix": (damage("matrix.mtx", lambda old: b""), "it ends too soon"),
    "a letter": (damage("matrix.mtx", lambda old: old + b"x y z\n"), "cannot be read"),
    "no sizes": (damage("matrix.mtx", lambda old: b"%%a\n1 x 2\n"), "cannot be read"),
    "a huge matrix": (damage("matrix.mtx", lambda old: HUGE), "more than it can hold"),
    "two matrices": (
        lambda f: shutil.copy(f / "matrix.mtx", f / "b_matrix.mtx"), "2 matrices",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN_FOLDERS)
def test_broken_folder_is_an_error_in_words(tmp_path, what):
    change, words = BROKEN_FOLDERS[what]
    folder = folder_of(tmp_path / "cells", zipped=False)
    change(folder)
    with pytest.raises(InputError, match=words) as caught:
        readers.read(folder)
    assert "cells" in str(caught.value)


def test_damaged_gzip_is_an_error_in_words(tmp_path):
    folder = folder_of(tmp_path / "cells")
    for name in ("matrix.mtx.gz", "barcodes.tsv.gz"):
        whole = (folder / name).read_bytes()
        at = len(whole) - 15  # within the data: a flip in gzip's header harms nothing
        flipped = whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]
        for broken in (whole[:-12], flipped):
            (folder / name).write_bytes(broken)
            with pytest.raises(InputError, match=name):
                readers.read(folder)
        (folder / name).write_bytes(whole)
