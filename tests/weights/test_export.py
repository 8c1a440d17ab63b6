"""Exported models: round trip, and every kind of damage is noticed."""

import json

import numpy as np
import pytest

from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import export
from tests import builders


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    return export.StoredModel(
        config=export.ModelConfig(
            encoder=builders.encoder_config(40),
            head=CellTypeHeadConfig(num_classes=2, hidden=(4,)),
            classes=("α cell", "B"),
            buckets=(16, 40),
        ),
        vocabulary=builders.gene_vocabulary(),
        params={"cell_encoder/~/x": {"w": rng.normal(size=(3, 2)).astype("f4")}},
        network_state={"cell_encoder/y": {"projection": np.eye(2, dtype="f4")}},
        reference={"rna": np.ones((2, 40), np.uint8)},
    )


def test_round_trip_is_exact(model, tmp_path):
    export.save(model, tmp_path / "run" / "model")
    for folder in (tmp_path / "run", tmp_path / "run" / "model"):
        again = export.load(folder)
        assert again.config == model.config
        assert again.vocabulary.digest() == model.vocabulary.digest()
        for tree in ("params", "network_state"):
            old, new = getattr(model, tree), getattr(again, tree)
            assert old.keys() == new.keys()
            for module in old:
                for name, leaf in old[module].items():
                    np.testing.assert_array_equal(new[module][name], leaf)
        np.testing.assert_array_equal(again.reference["rna"], model.reference["rna"])


@pytest.mark.parametrize("name", [export.TENSORS, export.REFERENCE, export.VOCABULARY])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_damage_names_the_file(model, tmp_path, name, damage):
    path = export.save(model, tmp_path / "model") / name
    content = bytearray(path.read_bytes())
    if damage == "delete":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(content[:-3])
    else:
        content[-1] ^= 4
        path.write_bytes(content)
    # Without its tensors a folder is not seen as a model at all.
    words = (
        "is missing|is no model" if damage == "delete" else "differs from the sha256"
    )
    with pytest.raises(InputError, match=words) as caught:
        export.load(tmp_path / "model")
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.update(format_version=9), "format version 9"),
        (lambda c: c.pop("sha256"), "no entry 'sha256'"),
        (lambda c: c["model"].update(colour=1), "no field 'colour'"),
        (lambda c: c["model"]["encoder"].update(tokens="some"), "tokens"),
        (lambda c: c["model"]["encoder"].update(num_genes=41), "41"),
        (lambda c: c["model"].update(classes=["one"]), "2 logits for 1"),
    ],
)
def test_a_config_that_cannot_be_is_refused(model, tmp_path, edit, message):
    path = export.save(model, tmp_path / "model") / "config.json"
    content = json.loads(path.read_text())
    del content["sha256"]["config.json"]
    edit(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        export.load(tmp_path / "model")


def test_a_folder_that_holds_something_else_is_not_replaced(model, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="something else"):
        export.save(model, tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_no_model_says_what_to_give(tmp_path):
    with pytest.raises(InputError, match="run folder"):
        export.load(tmp_path)
