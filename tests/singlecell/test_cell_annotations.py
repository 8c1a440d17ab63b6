"""Published tables about cells, joined to the cells of counts."""

import gzip

import numpy as np
import pandas as pd
import pytest

from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell import cell_annotations


def cells(*names, **columns):
    return pd.DataFrame(columns, index=pd.Index(names, dtype=object))


def write(folder, text, name="types.tsv"):
    path = folder / name
    path.write_text(text)
    return path


def test_the_column_with_the_names_is_found(tmp_path):
    path = write(tmp_path, "x\tbarcodes\ttype\n1.5\tc2\tB\n2.5\tc0\tT\n3.5\tz\tNK\n")
    (obs,) = cell_annotations.join([cells("c0", "c1", "c2", depth=[3, 4, 5])], [path])
    assert obs.index.tolist() == ["c0", "c1", "c2"]
    assert obs["type"].fillna("").tolist() == ["T", "", "B"]
    assert obs["x"].fillna("").tolist() == ["2.5", "", "1.5"]
    assert obs["depth"].tolist() == [3, 4, 5]
    assert "barcodes" not in obs


def test_each_dataset_takes_what_is_said_of_its_cells(tmp_path):
    first = write(tmp_path, "cell,type\na,T\nb,B\n", "first.csv")
    second = write(tmp_path, "cell,type\nc,NK\nb,mono\n", "second.csv")
    one, two, three = cell_annotations.join(
        [cells("a", "b"), cells("c"), cells("d", type=["kept"])], [first, second]
    )
    assert one["type"].tolist() == ["T", "mono"]
    assert two["type"].tolist() == ["NK"]
    assert three["type"].tolist() == ["kept"]


def test_tables_as_r_writes_them(tmp_path):
    path = tmp_path / "types.csv.gz"
    path.write_bytes(gzip.compress(b'"type","n"\n"a","T, resting","1"\n"b","","2"\n'))
    (obs,) = cell_annotations.join([cells("a", "b", type=["x", "y"])], [path])
    assert obs["type"].tolist() == ["T, resting", "y"]
    assert obs["n"].tolist() == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cell\ttype\nq\tT\n", r"names no cell: none of its columns cell, type .* 'a'"),
        ("cell\ttype\na\tT\na\tB\n", r"names the cell 'a' twice"),
        ("cell\ttype\na\tT\nb\n", r"line 3 has not the 2 fields"),
        ("cell\tcell\na\tT\n", r"two columns have the same name"),
        ("cell\ttype\n", r"it has a header alone"),
        ("", r"is no table"),
    ],
)
def test_tables_that_say_nothing(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=words):
        cell_annotations.join([cells("a", "b")], [path])


def test_a_table_that_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"none\.tsv: cannot be read"):
        cell_annotations.join([cells("a")], [tmp_path / "none.tsv"])


def test_no_table_changes_nothing():
    obs = cells("a", n=np.array([1]))
    (same,) = cell_annotations.join([obs], [])
    assert same is obs
