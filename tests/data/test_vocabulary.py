import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from scmultimodal.data.vocabulary import GENE_COLUMNS, GeneVocabulary
from scmultimodal.schemas.errors import InputError
from tests import builders


def test_save_and_load_keep_every_field(tmp_path):
    vocabulary = builders.gene_vocabulary()
    vocabulary.save(tmp_path)
    loaded = GeneVocabulary.load(tmp_path)
    for field in dataclasses.fields(GeneVocabulary):
        kept, back = getattr(vocabulary, field.name), getattr(loaded, field.name)
        assert np.array_equal(kept, back), field.name
        assert getattr(kept, "dtype", None) == getattr(back, "dtype", None)
    assert loaded.digest() == vocabulary.digest()
    assert [file.name for file in tmp_path.iterdir()] == ["vocabulary.json"]


def test_frame_round_trip_with_gene_id_as_column_or_index():
    frame = builders.gene_vocabulary().to_frame()
    assert tuple(frame) == GENE_COLUMNS
    by_column = GeneVocabulary.from_frame(frame)
    by_index = GeneVocabulary.from_frame(frame.set_index("gene_id"))
    assert by_column.digest() == by_index.digest()
    pd.testing.assert_frame_equal(by_index.to_frame(), frame)
    assert by_column.rna_medians.tolist() == [1.0] * 40


def test_from_frame_names_the_missing_column():
    frame = builders.gene_vocabulary().to_frame().drop(columns=["strand"])
    with pytest.raises(InputError, match="has no column strand"):
        GeneVocabulary.from_frame(frame)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rna_medians", np.float32(np.arange(40) + 2)),
        ("symbols", np.array([f"other{i}" for i in range(40)])),
        ("atac_unit", 1.0),
        ("recipe", {"num_bins": 7}),
    ],
)
def test_digest_depends_on_every_kind_of_field(field, value):
    vocabulary = builders.gene_vocabulary()
    other = dataclasses.replace(vocabulary, **{field: value})
    assert other.digest() != vocabulary.digest()


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("gene_ids", lambda v: [*v[:-1], v[0]], "ENSG00000 stands in it twice"),
        ("symbols", lambda v: v[:-1], "symbols has another length than gene_ids"),
        ("gene_ids", lambda v: v[0], "has another length"),
        ("rna_medians", lambda v: [0.0, *v[1:]], "rna_medians has 0.0 at gene ENSG0"),
        ("atac_medians", lambda v: [float("nan"), *v[1:]], "atac_medians has nan"),
        ("atac_unit", lambda v: -1.0, "atac_unit is -1.0"),
        ("atac_unit", lambda v: "x", "is not a gene vocabulary"),
        ("starts", lambda v: ["x", *v[1:]], "is not a gene vocabulary"),
        ("schema_version", lambda v: 99, "another schema version"),
        ("unknown", lambda v: 1, "it lacks or adds unknown"),
        ("recipe", lambda v: 3, "is not a gene vocabulary"),
    ],
)
def test_load_names_file_and_rule(tmp_path, field, change, message):
    path = builders.gene_vocabulary().save(tmp_path)
    content = json.loads(path.read_text())
    content[field] = change(content.get(field))
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        GeneVocabulary.load(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", "\udcff"])
def test_load_refuses_what_is_no_vocabulary(tmp_path, text):
    file = tmp_path / "vocabulary.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"vocabulary\.json"):
        GeneVocabulary.load(tmp_path)


def test_load_says_that_the_file_does_not_exist(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        GeneVocabulary.load(tmp_path)
