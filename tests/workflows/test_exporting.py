"""An exported folder: programs that run by jax alone, and a check that sees damage."""

import dataclasses
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax import export as programs

from scmultimodal.models import CellModel, GenomeModel
from scmultimodal.modules.heads.accessibility import ScorerConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.weights import evaluate, export, genome_model
from scmultimodal.weights import folder as folders
from scmultimodal.workflows import exporting, stablehlo, trained
from tests import builders
from tests.workflows import run_folders

ALONE = """
import sys


class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("scmultimodal", "haiku", "anndata"):
            raise ImportError(f"{name} is not here")


sys.meta_path.insert(0, Nothing())
sys.path.insert(0, ".")
import evaluate
import numpy as np
from jax import export
from safetensors.numpy import load_file

given, told = np.load(sys.argv[1]), {}
model, tensors = evaluate.Model("."), load_file("model.safetensors")
both = model.batch(rna=given["rna"], atac=given["atac"])
batches = {"both": both, "rna": model.batch(rna=given["rna"][:5])}
# Cells with and without ATAC in one batch, and twice as many tokens as they need.
cells = [
    evaluate.tokens_of({m: model.bins(given[m][i], m) for m in names}, False)
    for i, names in enumerate([("rna", "atac"), ("rna",), ("atac",)])
]
batches["mixed"] = evaluate.pad(cells, model.modalities, multiple=256)
for name in ("embed", "annotate"):
    with open(f"{name}.jax_export", "rb") as file:
        program = export.deserialize(bytearray(file.read()))
    for part, batch in batches.items():
        told[f"{name} {part}"] = np.asarray(program.call(tensors, batch))
np.savez(sys.argv[2], **told)
"""
SHAPE = {
    "tokens": "nonzero",
    "head": {"silent_genes": False, "by_value": True, "skip": True},
}


def save(model, store, folder):
    """A model with its reference."""
    return trained.save(folder, store, model.config, model.params, model.network_state)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "data"
    return builders.simulated_store(path, num_cells=80)


@pytest.fixture(scope="module")
def found(store, tmp_path_factory, lightly_compiled):
    place = tmp_path_factory.mktemp("runs")
    run = run_folders.cell_types(place / "run")
    save(builders.cell_type_model(store, **SHAPE), store, run / "model")
    return exporting.run(run, place / "out", license="cc-by-4.0")


@pytest.fixture
def copy(found, tmp_path):
    """The exported folder, to be damaged."""
    for path in found.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_what_a_folder_holds(found):
    assert list(found.sizes) == [
        "README.md",
        "annotate.jax_export",
        "config.json",
        "embed.jax_export",
        "evaluate.py",
        "model.safetensors",
        "reference.safetensors",
        "vocabulary.json",
    ]
    assert "measured nothing of it" in found.metrics  # It judged RNA and ATAC alone.
    config = json.loads((found.folder / "config.json").read_text())
    assert list(config["companions"]) == [
        "annotate.jax_export",
        "embed.jax_export",
        "evaluate.py",
    ]


def test_programs_run_where_this_package_is_not(found, tmp_path):
    data = builders.simulated_cells(num_cells=12, seed=5)
    model = CellModel.load(found.folder)
    rna, atac = builders.gene_counts(data, export.load(found.folder).vocabulary)
    given, told = tmp_path / "given.npz", tmp_path / "told.npz"
    np.savez(given, rna=rna, atac=atac)
    command = [sys.executable, "-B", "-c", ALONE, str(given), str(told)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=found.folder)
    assert done.returncode == 0, done.stderr
    both, rna, atac = (
        model.embed(part, counts="fragments")
        for part in (data, data["rna"], data["atac"])
    )
    with np.load(told) as said:
        close(said["embed both"], both)
        close(said["embed rna"], rna[:5])
        close(said["embed mixed"], [both[0], rna[1], atac[2]])
        annotated = model.annotate(data, counts="fragments")
        codes = annotated["scmm_cell_type"].cat.codes
        assert said["annotate both"].argmax(1).tolist() == codes.tolist()
        close(said["annotate mixed"][0], said["annotate both"][0])


@pytest.mark.parametrize("is_measured", [True, False])
def test_scores_are_those_of_the_model_that_the_run_measured(
    store, tmp_path, lightly_compiled, is_measured
):
    """Beside run/model lies a copy of it, or what the run began with."""
    shape = {"modalities": ("rna",), "tokens": "nonzero", "path": {"num_layers": 0}}
    run = run_folders.cell_types(tmp_path / "run")
    model = builders.cell_type_model(store, **shape)
    save(model, store, run / "model")
    if not is_measured:
        params = jax.tree.map(lambda array: array + 1, model.params)
        model = dataclasses.replace(model, params=params)
    save(model, store, run / "other")
    found = exporting.run(run / "other", tmp_path / "out")
    card = (found.folder / "README.md").read_text()
    assert ("*logistic_regression* (baseline)" in card) == is_measured
    assert ("Not recorded." in card) != is_measured
    expected = f"of {run}" if is_measured else f"not recorded: {run} measured another"
    assert found.metrics.startswith(expected)


def test_a_program_says_where_it_runs_and_what_it_takes(found):
    content = (found.folder / "embed.jax_export").read_bytes()
    program = programs.deserialize(bytearray(content))
    assert program.platforms == stablehlo.PLATFORMS == ("cpu", "cuda", "tpu")
    assert [str(size) for size in program.out_avals[0].shape] == ["cells", "8"]


def test_a_whole_folder_passes(found):
    said = exporting.check(found.folder)
    assert list(said) == ["annotate.jax_export", "embed.jax_export", "evaluate.py"]
    assert max(of.difference for of in said.values()) < 1e-5
    assert CellModel.load(found.folder).self_check() < 1e-5


def test_the_card_may_be_changed_and_companions_left_out(copy):
    (copy / "README.md").write_text("Mine.")
    exporting.check(copy)
    for name in ("evaluate.py", "embed.jax_export", "annotate.jax_export"):
        (copy / name).unlink()
    assert CellModel.load(copy).self_check() < 1e-5
    with pytest.raises(InputError, match=r"annotate.jax_export: is missing"):
        exporting.check(copy)


@pytest.mark.parametrize("name", ["embed.jax_export", "evaluate.py"])
def test_damage_names_the_file(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: differs from the sha256"):
        exporting.check(copy)


def test_a_program_that_says_something_else_is_noticed(copy):
    """Not by its sum: the weights are others than those it was exported with."""
    stored = export.load(copy)
    moved = stored.reference["embedding"] + np.float32(0.01)
    other = dataclasses.replace(
        stored, reference={**stored.reference, "embedding": moved}
    )
    companions = {
        name: (copy / name).read_bytes()
        for name in ("embed.jax_export", "annotate.jax_export")
    }
    export.save(other, copy, companions)
    with pytest.raises(InputError, match=r"embed.jax_export: differs by 0.01 from"):
        exporting.check(copy)


def test_the_loader_of_another_version_is_said_and_not_run(copy, monkeypatch):
    monkeypatch.setattr(exporting, "loader", lambda: b"another")
    said = exporting.check(copy)["evaluate.py"]
    assert said.difference < 1e-5
    assert "is another: read it" in said.note
    assert str(said).startswith(f"{said.difference:.1e}, by this version's")


def test_a_folder_without_companions_is_as_it_was(store, found, tmp_path):
    plain = export.save(found.model, tmp_path / "plain")
    assert "companions" not in json.loads((plain / "config.json").read_text())
    assert exporting.check(plain) == {}


@pytest.mark.long
def test_what_numpy_does_not_know_runs_by_jax(store, tmp_path, lightly_compiled):
    shape = {**SHAPE, "tokens": "static_zeros", "path": {"num_layers": 1}}
    save(builders.cell_type_model(store, **shape), store, tmp_path / "model")
    out = exporting.run(tmp_path / "model", tmp_path / "out").folder
    said = exporting.check(out)
    refusal = "refuses: model.encoder.tokens is 'static_zeros'"
    refused = said.pop("evaluate.py")
    assert refused.difference is None
    assert str(refused).startswith(refusal)
    assert max(of.difference for of in said.values()) < 1e-5
    with pytest.raises(NotImplementedError, match=r"tokens is 'static_zeros'"):
        evaluate.Model(out).embed(rna=np.ones((1, 40), int))
    assert (
        f"does not compute this model: {refusal[9:]}" in (out / "README.md").read_text()
    )


def test_a_cell_must_not_depend_on_its_place(store):
    model = builders.cell_type_model(store)
    config = dataclasses.replace(model.config, feature_order="per_cell")
    with pytest.raises(InputError, match=r"in an order that is 'per_cell'"):
        stablehlo.of_cells(dataclasses.replace(model, config=config))


@pytest.mark.long
def test_a_genome_model_with_both_heads(tmp_path, lightly_compiled):
    scorer = ScorerConfig(name="linear")
    stored = builders.segmenter_model(scorer=scorer, num_tokens=12, window_bp=40)
    genome_model.save(stored, tmp_path / "model")
    out = exporting.run(tmp_path / "model", tmp_path / "out").folder
    said = exporting.check(out)
    assert str(said.pop("tokens.json")) == "as in config.json"
    assert list(said) == ["encode.jax_export", "score.jax_export", "segment.jax_export"]
    assert max(of.difference for of in said.values()) < 1e-5
    model = GenomeModel.load(out)
    tokens = json.loads((out / "tokens.json").read_text())
    assert tuple(tokens) == model.tokenizer.vocabulary
    ids = model.tokenizer.encode_batch(["ACGTTGCA", "GGTACCAATTGACA", "A"], 12).ids
    tensors = folders.read_tensors(out / "model.safetensors")
    content = (out / "encode.jax_export").read_bytes()
    close(stablehlo.run(content, tensors, ids), model.encode(ids))


def close(one, other):
    np.testing.assert_allclose(one, other, rtol=0, atol=2e-5)
