"""Genome models as folders: round trip, damage, and folders of somebody else."""

import dataclasses
import json

import numpy as np
import pytest

from scmultimodal.data.region_loading import Turning
from scmultimodal.modules.heads.accessibility import ScorerConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import genome_model
from scmultimodal.weights.genome_model import GenomeModelConfig, StoredGenomeModel
from tests import builders
from tests.weights import published_folders


@pytest.fixture
def model():
    """One whose head has a tuple in its configuration."""
    rng = np.random.default_rng(0)
    return StoredGenomeModel(
        config=GenomeModelConfig(
            encoder=builders.dna_encoder_config(rescaling=2.0),
            k=2,
            scorer=ScorerConfig(name="unet", unet_channels=(4, 6)),
            num_tokens=16,
            turning=Turning(reverse_complement=True, crop_bp=4),
            provenance={"converted_from": "somewhere"},
        ),
        params={"nucleotide_transformer/x": {"w": rng.normal(size=(3, 2, 1))}},
        reference={"token_ids": np.ones((2, 4), np.int32), "embeddings": np.ones(2)},
    )


def test_round_trip_is_exact(model, tmp_path):
    genome_model.save(model, tmp_path / "run" / "model")
    for folder in (tmp_path / "run", tmp_path / "run" / "model"):
        again = genome_model.load(folder)
        assert again.config == model.config
        assert hash(again.config.scorer) == hash(model.config.scorer)
        assert again.params.keys() == model.params.keys()
        for module, leaves in model.params.items():
            for name, array in leaves.items():
                found = again.params[module][name]
                np.testing.assert_array_equal(found, array, strict=True)
        for name, array in model.reference.items():
            np.testing.assert_array_equal(again.reference[name], array, strict=True)


@pytest.mark.parametrize("name", ["model.safetensors", "reference.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_damage_names_the_file(model, tmp_path, name, damage):
    path = genome_model.save(model, tmp_path / "model") / name
    content = bytearray(path.read_bytes())
    if damage == "delete":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(content[:-3])
    else:
        content[-1] ^= 4
        path.write_bytes(content)
    words = (
        "is missing|is no model" if damage == "delete" else "differs from the sha256"
    )
    with pytest.raises(InputError, match=words) as caught:
        genome_model.load(tmp_path / "model")
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.update(format_version=9), "format version 9"),
        (
            lambda c: c.update(format="scmultimodal cell model"),
            "is a scmultimodal cell",
        ),
        (lambda c: c.pop("sha256"), "no entry 'sha256'"),
        (lambda c: c["model"].update(colour=1), "no field 'colour'"),
        (lambda c: c["model"].update(k=3), "27 tokens for 75 of v2 with k = 3"),
        (lambda c: c["model"].update(num_tokens=None), "go together"),
        (lambda c: c["model"]["turning"].update(crop_bp=3), "crop_bp: is 3"),
        (lambda c: c["model"]["turning"].update(crop_bp=-2), "crop_bp: is -2"),
        (lambda c: c["model"]["encoder"].update(dim=0), "dim must be positive"),
    ],
)
def test_a_config_that_cannot_be_is_refused(model, tmp_path, edit, message):
    path = genome_model.save(model, tmp_path / "model") / "config.json"
    content = json.loads(path.read_text())
    del content["sha256"]["config.json"]
    edit(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        genome_model.load(tmp_path / "model")


def test_folders_from_before_turning_read_one_frame_of_one_strand(model, tmp_path):
    path = genome_model.save(model, tmp_path / "model") / "config.json"
    content = json.loads(path.read_text())
    del content["sha256"]["config.json"]
    del content["model"]["turning"]
    path.write_text(json.dumps(content))
    config = genome_model.load(tmp_path / "model").config
    assert config == dataclasses.replace(model.config, turning=Turning())
    assert config.turner.prepared_tokens == config.turner.num_tokens == 16


def test_the_crop_is_in_what_is_prepared_and_not_in_what_is_read(model):
    turner = model.config.turner
    assert (turner.prepared_tokens, turner.num_tokens) == (18, 16)
    without = dataclasses.replace(model.config, scorer=None, num_tokens=None)
    with pytest.raises(ValueError, match="without a scorer"):
        _ = without.turner


def test_a_published_folder_says_how_to_read_it(tmp_path):
    published(tmp_path / "nt")
    with pytest.raises(InputError, match="from_nucleotide_transformer"):
        genome_model.load(tmp_path / "nt")


def test_an_older_model_is_replaced_whole(model, tmp_path):
    genome_model.save(model, tmp_path / "model", {"stale": b""})
    other = dataclasses.replace(model.config, provenance={"converted_from": "other"})
    genome_model.save(dataclasses.replace(model, config=other), tmp_path / "model")
    assert genome_model.load(tmp_path / "model").config == other
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not (tmp_path / "model" / "stale").exists()


def notes(folder):
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")


def published(folder):
    published_folders.write_torch(folder, published_folders.weights())


def other_model(folder):
    folder.mkdir()
    config = {"format": "scmultimodal cell model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_text("")


def one_file(folder):
    folder.write_text("years of work")


@pytest.mark.parametrize("make", [notes, published, other_model, one_file])
def test_what_is_something_else_is_not_replaced(model, tmp_path, make):
    make(tmp_path / "out")
    before = {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")}
    with pytest.raises(InputError, match="something else than a scmultimodal genome"):
        genome_model.save(model, tmp_path / "out")
    assert before == {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")}


def test_no_model_says_what_to_give(tmp_path):
    with pytest.raises(InputError, match="run folder"):
        genome_model.load(tmp_path)
