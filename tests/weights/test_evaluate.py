"""The loader in plain numpy says what the model says, where nothing else is."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from safetensors import numpy as safetensors_numpy

from scmultimodal.models import CellModel
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.modules.performer import PerformerConfig
from scmultimodal.singlecell import recipe
from scmultimodal.weights import evaluate, export
from scmultimodal.workflows import exporting, trained
from tests import builders

MODELS = {
    "counted": {
        "tokens": "nonzero",
        "head": {"silent_genes": False, "by_value": True, "skip": True},
    },
    "exact": {
        "tokens": "all",
        "joint": "concatenate",
        "depth": True,
        "path": {"attention": "exact", "approximate_gelu": False, "num_layers": 1},
    },
    "rounded": {
        "tokens": "nonzero",
        "modalities": ("rna",),
        "path": {"dtype": "bfloat16", "num_layers": 1},
    },
}
ALONE = """
import sys


class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[3].split(","):
            raise ImportError(f"{name} is not here")


sys.meta_path.insert(0, Nothing())
import importlib.util
from pathlib import Path
import numpy as np

given, told = np.load(sys.argv[1]), {}
for folder in map(Path, sys.argv[4:]):
    spec = importlib.util.spec_from_file_location("evaluate", folder / "evaluate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.Model(folder)
    rna = model.align(given["rna"], given["genes"].tolist())
    if "atac" in model.modalities:
        told[f"{folder.name} both"] = model.embed(rna=rna, atac=given["atac"])
        told[f"{folder.name} atac"] = model.embed(atac=given["atac"])
    told[f"{folder.name} rna"] = model.embed(rna=rna)
    told[f"{folder.name} logits"] = model.logits(rna=rna)
    told[f"{folder.name} check"] = model.check()
np.savez(sys.argv[2], **told)
"""
ABSENT = "scmultimodal,jax,jaxlib,haiku,safetensors,scipy,pandas,anndata,numba"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "data"
    return builders.simulated_store(path, num_cells=80)


@pytest.fixture(scope="module")
def folders(store, tmp_path_factory, lightly_compiled):
    """Model folders with the loader in them, as an export has it."""
    out, found = tmp_path_factory.mktemp("models"), {}
    for name, shape in MODELS.items():
        model = builders.cell_type_model(store, **shape)
        kept = trained.save(
            out / "plain", store, model.config, model.params, model.network_state
        )
        loader = {exporting.LOADER: exporting.loader()}
        found[name] = export.save(kept, out / name, loader)
    return found


@pytest.fixture(scope="module")
def data():
    return builders.simulated_cells(num_cells=12, seed=5)


@pytest.fixture(scope="module")
def told(folders, data, tmp_path_factory):
    """What the loader says of new cells, whose genes stand in another order."""
    place = tmp_path_factory.mktemp("alone")
    order = np.random.default_rng(1).permutation(data["rna"].n_vars)
    vocabulary = export.load(folders["counted"]).vocabulary
    np.savez(
        place / "given.npz",
        rna=data["rna"].X.toarray()[:, order],
        genes=data["rna"].var_names.to_numpy(str)[order],
        atac=builders.gene_counts(data, vocabulary)[1],
    )
    names = [str(place / "given.npz"), str(place / "told.npz"), ABSENT]
    command = [sys.executable, "-B", "-c", ALONE, *names, *map(str, folders.values())]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place)
    assert done.returncode == 0, done.stderr
    with np.load(place / "told.npz") as content:
        return dict(content)


@pytest.mark.parametrize("name", MODELS)
def test_it_embeds_as_the_model_does(folders, data, told, name):
    model = CellModel.load(folders[name])
    tolerance = 1e-4 if name == "rounded" else 2e-5
    cells = {"rna": data["rna"]}
    if "atac" in model.modalities:
        cells |= {"both": data, "atac": data["atac"]}
    for part, of in cells.items():
        expected = model.embed(of, counts="fragments")
        assert np.ptp(expected, axis=0).max() > 0.05
        np.testing.assert_allclose(
            told[f"{name} {part}"], expected, rtol=0, atol=tolerance
        )


@pytest.mark.parametrize("name", ["counted", "rounded"])
def test_its_logits_name_the_types_that_the_model_names(folders, data, told, name):
    found = CellModel.load(folders[name]).annotate(data["rna"].copy())
    logits = told[f"{name} logits"].astype(np.float64)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    np.testing.assert_allclose(
        shares.max(1), found["scmm_confidence"], rtol=0, atol=1e-3
    )
    codes = found["scmm_cell_type"].cat.codes
    assert shares.argmax(1).tolist() == codes.tolist()


def test_it_recomputes_the_reference(told):
    assert told["counted check"] < 1e-5
    assert told["exact check"] < 1e-5


@pytest.mark.parametrize("target_sum", [None, 500.0])
@pytest.mark.parametrize(
    "strategy", ["gene_normalized", "quantile", "absolute", "counts"]
)
def test_bins_are_those_of_the_recipe(folders, strategy, target_sum):
    model = evaluate.Model(folders["counted"])
    model.recipe = {
        "strategy": strategy,
        "num_bins": 5,
        "totals": {"rna": target_sum, "atac": target_sum},
    }
    counts = builders.sparse_counts(20, 40, seed=2, most=300)
    for modality, unit in (("rna", 1.0), ("atac", model.unit)):
        expected = recipe.bin_counts(
            counts,
            unit=unit,
            target_sum=target_sum,
            medians=model.medians[modality],
            strategy=strategy,
            num_bins=5,
        )
        found = [model.bins(row, modality) for row in counts.toarray()]
        np.testing.assert_array_equal(found, expected.toarray())


def test_bins_by_hand(folders):
    """Six values, three bins: edges above the 2nd and the 4th of the sorted values."""
    model = evaluate.Model(folders["counted"])
    totals = {"rna": None}
    model.recipe = {"strategy": "quantile", "num_bins": 3, "totals": totals}
    counts = np.array([0, 9, 1, 4, 0, 7, 2, 30])
    assert model.bins(counts, "rna").tolist() == [0, 3, 1, 2, 0, 2, 1, 3]


def test_genes_are_found_by_id_version_and_symbol(folders):
    model = evaluate.Model(folders["counted"])
    names = [f"{model.genes[0]}.7", model.symbols[1], "Nobody", *model.genes[2:]]
    names += ["AC233755.1", "AC233755.2", "AC233755.1"]  # No genes of the model's.
    counts = sp.csr_matrix(np.arange(len(names)) + 1)
    found = model.align(counts, names)
    assert found.tolist() == [[1, 2, *range(4, 42)]]
    with pytest.raises(ValueError, match=r"only 1 of 40 genes"):
        model.align(counts[:, :2], [model.genes[0], "Nobody"])
    with pytest.raises(ValueError, match=r"is there 2 times"):
        model.align(counts[:, :2], [model.genes[0], f"{model.genes[0]}.1"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": {"tokens": "static_zeros"}}, r"tokens is 'static_zeros'"),
        ({"encoder": {"joint": "cross_attention"}}, r"joint is 'cross_attention'"),
        ({"feature_order": "per_cell"}, r"feature_order is 'per_cell'"),
        ({"encoder": {"path": {"attention": "new"}}}, r"attention is 'new'"),
        ({"encoder": {"path": {"gates": 2}}}, r"model.encoder.path.gates is not known"),
        ({"head": {"twist": True}}, r"model.head.twist is not known"),
    ],
)
def test_what_it_does_not_know_is_refused_by_name(settings, message):
    with pytest.raises(NotImplementedError, match=message):
        evaluate.refuse_unknown(
            {"model": settings}, evaluate.COMPUTABLE, evaluate.FIELDS
        )


def test_it_knows_the_settings_of_this_version_and_no_others():
    for path, kind in {
        "model": export.ModelConfig,
        "model.encoder": CellEncoderConfig,
        "model.encoder.path": PerformerConfig,
        "model.head": CellTypeHeadConfig,
    }.items():
        fields = {field.name for field in dataclasses.fields(kind)}
        assert set(evaluate.FIELDS[path].split()) == fields
    assert evaluate.READABLE["format"] == [export.FORMAT]
    assert evaluate.READABLE["format_version"] == [export.FORMAT_VERSION]


def test_a_changed_file_is_noticed(folders, tmp_path):
    for path in folders["counted"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "evaluate.py").write_text("print('other')")
    with pytest.raises(ValueError, match=r"evaluate.py: differs from the sha256"):
        evaluate.Model(tmp_path)
    del config["companions"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    evaluate.Model(tmp_path).check()
    del config["sha256"]["reference.safetensors"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    reference = evaluate.read_tensors(tmp_path / "reference.safetensors")
    moved = {**reference, "embedding": reference["embedding"] + np.float32(0.1)}
    safetensors_numpy.save_file(moved, tmp_path / "reference.safetensors")
    with pytest.raises(ValueError, match=r"differs by 0.1 from the reference"):
        evaluate.Model(tmp_path).check()
