"""A model as its user meets it: cells in, vectors and names out, in their order."""

import dataclasses

import anndata
import jax
import mudata
import numpy as np
import pytest
import scipy.sparse as sp

from scmultimodal.models import CellModel
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.singlecell.readers import join_modalities
from scmultimodal.tasks.cell_type import CellTypeClassification, CellTypeConfig
from scmultimodal.weights import export
from scmultimodal.workflows import (
    inference,
    pretrain,
    pretrain_batches,
    pretrain_tasks,
    trained,
)
from tests import builders


def write_models(folder, **fields):
    """Exports untrained models: of both modalities, with a head, and of RNA alone."""
    store = builders.simulated_store(folder / "data")
    config = builders.small_pretraining(**fields)
    builder = pretrain_batches.make_builder(store, config)
    task = pretrain_tasks.masked_bins(store, config)
    fresh = jax.device_get(pretrain.initial(task, store, builder, config))
    encoder = task.config.encoder
    shape = export.ModelConfig(encoder=encoder)
    trained.save(folder / "both" / "model", store, shape, *fresh)
    rna = dataclasses.replace(shape, modalities=("rna",))
    trained.save(folder / "rna" / "model", store, rna, *fresh)

    head = CellTypeHeadConfig(num_classes=len(store.label_names), hidden=(8,))
    task = CellTypeClassification(CellTypeConfig(encoder=encoder, head=head))
    batch = builder.build(store.split("train")[:4], Regime.MULTIOME, with_labels=True)
    fresh = jax.device_get(jax.jit(task.init)(jax.random.PRNGKey(0), batch))
    named = dataclasses.replace(shape, head=head, classes=store.label_names)
    trained.save(folder / "named" / "model", store, named, *fresh)
    return folder


@pytest.fixture(scope="module", params=["all", "nonzero", "static_zeros"])
def folder(request, tmp_path_factory):
    """Run folders of models of each kind of tokens."""
    path = tmp_path_factory.mktemp(request.param)
    return write_models(path, tokens=request.param)


@pytest.fixture(scope="module")
def model(folder):
    return CellModel.load(folder / "both")


@pytest.fixture
def data():
    return builders.simulated_cells(num_cells=30)


@pytest.fixture(scope="module")
def vectors(model):
    return model.embed(builders.simulated_cells(num_cells=30))


def close(one, other):
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


# Embedding.


def test_a_vector_for_each_cell_from_run_folder_and_model_folder(folder, data, vectors):
    assert vectors.dtype == np.float32
    assert vectors.shape == (30, 32)
    assert len(np.unique(vectors, axis=0)) == 30
    again = CellModel.load(folder / "both" / "model")
    np.testing.assert_array_equal(again.embed(data), vectors)


def test_vectors_follow_their_cells(model, data, vectors):
    order = np.random.default_rng(0).permutation(30)
    close(model.embed(data[order].copy()), vectors[order])


def test_each_cell_is_embedded_for_itself(model, data, vectors):
    close(model.embed(data[3:10].copy()), vectors[3:10])
    for size in (1, 7, 1_000):
        close(model.embed(data, batch_size=size), vectors)


def test_order_of_genes_and_peaks_does_not_matter(model, data, vectors):
    rng = np.random.default_rng(0)
    shuffled = {k: a[:, rng.permutation(a.n_vars)].copy() for k, a in data.mod.items()}
    close(model.embed(join_modalities(shuffled)), vectors)


@pytest.mark.parametrize("modality", ["rna", "atac"])
def test_one_modality_alone(model, data, vectors, modality):
    alone = model.embed(data[modality].copy())
    close(model.embed(join_modalities({modality: data[modality].copy()})), alone)
    assert np.abs(alone - vectors).max(1).min() > 1e-3


def test_form_of_the_matrix_does_not_matter(model, data, vectors):
    data["rna"].X = data["rna"].X.toarray().astype(np.float32)
    data["atac"].X = sp.csc_matrix(data["atac"].X, dtype=np.float64)
    close(model.embed(data), vectors)


def test_what_the_counts_count_can_be_said(model, data, vectors):
    """Reads are halved: twice the counts, said to be reads, are the same cells."""
    doubled = data.copy()
    doubled["atac"].X = doubled["atac"].X * 2
    close(model.embed(doubled, counts="reads"), vectors)
    close(model.embed(data, counts="fragments"), vectors)
    assert np.abs(model.embed(data["atac"], counts="reads") - vectors).max() > 1e-3


def test_cells_may_lack_a_modality(model, data, vectors):
    rna, atac = data["rna"][:20].copy(), data["atac"][10:].copy()
    partly = join_modalities({"rna": rna, "atac": atac})
    found = dict(zip(partly.obs_names, model.embed(partly), strict=True))
    assert list(found) == data.obs_names.tolist()
    close([found[c] for c in data.obs_names[10:20]], vectors[10:20])
    close([found[c] for c in rna.obs_names[:10]], model.embed(rna)[:10])
    close([found[c] for c in atac.obs_names[10:]], model.embed(atac)[10:])


def test_an_empty_cell_is_zero_and_stays(model, data, vectors):
    for adata in data.mod.values():
        adata.X = sp.csr_matrix(adata.X.multiply(np.arange(30)[:, None] != 4))
    found = model.embed(data)
    assert not found[4].any()
    rest = np.arange(30) != 4
    close(found[rest], vectors[rest])


def test_the_data_stay_as_they_are(model, data):
    before = builders.simulated_cells(num_cells=30)
    model.embed(data)
    assert data.obs_names.equals(before.obs_names)
    assert data.obs.equals(before.obs)
    assert data.obsm.keys() == before.obsm.keys()
    for key, adata in data.mod.items():
        assert adata.X.dtype == before[key].X.dtype
        assert (adata.X != before[key].X).nnz == 0
        assert adata.var.equals(before[key].var)
        assert adata.obs.equals(before[key].obs)


def test_a_model_ignores_what_it_does_not_know(folder, data):
    rna = CellModel.load(folder / "rna")
    assert rna.modalities == ("rna",)
    close(rna.embed(data), rna.embed(data["rna"].copy()))
    with pytest.raises(InputError, match="they have atac, the model knows rna"):
        rna.embed(data["atac"].copy())


def test_data_without_a_shared_gene_are_refused(model, data):
    strange = data["rna"].copy()
    strange.var_names = [f"Other{i}" for i in range(strange.n_vars)]
    strange.var = strange.var[[]]
    with pytest.raises(
        InputError, match=r"only 0 of 40 genes are in the model.*Other0.*model.genes"
    ):
        model.embed(strange)
    empty = anndata.AnnData(data["rna"].X[:0], var=data["rna"].var)
    with pytest.raises(InputError, match="no cells"):
        model.embed(empty)


# Files, blocks and batches.


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The cells as files: both modalities, of which some cells lack one, and each."""
    path = tmp_path_factory.mktemp("files")
    data = builders.simulated_cells(num_cells=30)
    join_modalities({"rna": data["rna"][:25].copy(), "atac": data["atac"]}).write(
        path / "both.h5mu"
    )
    for modality in ("rna", "atac"):
        data[modality].write_h5ad(path / f"{modality}.h5ad")
    return path


def opened(path, *, backed):
    if path.suffix == ".h5mu":
        return mudata.read_h5mu(path, backed=backed)
    return anndata.read_h5ad(path, backed="r" if backed else None)


@pytest.mark.parametrize("name", ["both.h5mu", "rna.h5ad", "atac.h5ad"])
def test_backed_cells_have_the_vectors_of_cells_in_memory(
    model, files, monkeypatch, name
):
    here = opened(files / name, backed=False)
    whole = model.embed(here)
    for size in (7, 30):
        monkeypatch.setattr(
            inference,
            "blocks",
            lambda count, *_, size=size: [
                slice(i, min(i + size, count)) for i in range(0, count, size)
            ],
        )
        there = opened(files / name, backed=True)
        found = model.embed(there)
        np.testing.assert_array_equal(found, model.embed(here))
        close(found, whole)
        assert there.isbacked


def test_a_call_repeated_gives_the_same_bits(model, data, vectors):
    np.testing.assert_array_equal(model.embed(data), vectors)


def test_a_batch_of_nothing_is_refused(model, data):
    with pytest.raises(InputError, match="batch_size: is 0"):
        model.embed(data, batch_size=0)


def test_types_of_a_backed_file_and_of_a_view_of_it(folder, files, data):
    model = CellModel.load(folder / "named")
    there = opened(files / "rna.h5ad", backed=True)
    with pytest.raises(InputError, match=r"view of a backed file.*to_memory"):
        model.annotate(there[:10])
    found = model.annotate(there)
    expected = model.annotate(data["rna"].copy())
    assert (there.obs["scmm_cell_type"] == expected["scmm_cell_type"]).all()
    assert (found["scmm_confidence"] == expected["scmm_confidence"]).all()


def test_counts_may_be_in_a_layer(model, data, vectors):
    for adata in data.mod.values():
        adata.layers["counts"] = adata.X.copy()
        adata.X = adata.X / 2
    close(model.embed(data, layer="counts"), vectors)


def test_cells_without_any_gene_of_the_model_are_refused(model, data):
    rna = data["rna"].copy()
    rna.X = sp.csr_matrix(rna.X)
    rna.X[:, :39] = 0
    rna.X.eliminate_zeros()
    rna.var = rna.var[[]].set_axis([*rna.var_names[:39], "other"])
    with pytest.raises(InputError, match="no cell has a count of a gene of the model"):
        model.embed(rna)


def test_what_the_data_have_of_the_genes(model, data):
    fewer = join_modalities({"rna": data["rna"][:, 3:].copy(), "atac": data["atac"]})
    coverage = model.coverage(fewer)
    assert coverage.index.tolist() == model.genes["gene_id"].tolist()
    assert coverage["rna"].tolist() == [False] * 3 + [True] * 37
    assert (coverage["atac"] > 0).all()
    assert list(model.coverage(data["rna"])) == ["symbol", "rna"]


def test_genes_are_the_vocabulary(model, data):
    assert model.genes["gene_id"].tolist() == data["rna"].var_names.tolist()


# Cell types.


@pytest.mark.parametrize("which", ["mudata", "rna"])
def test_annotate_names_the_cells(folder, data, which):
    model = CellModel.load(folder / "named")
    cells = data if which == "mudata" else data["rna"].copy()
    found = model.annotate(cells)
    assert found.index.equals(cells.obs_names)
    assert model.classes == ("type_0", "type_1", "type_2")
    assert found["scmm_cell_type"].cat.categories.tolist() == list(model.classes)
    assert found["scmm_confidence"].between(1 / 3, 1).all()
    for column in ("scmm_cell_type", "scmm_confidence"):
        assert (cells.obs[column] == found[column]).all()
    backwards = cells[::-1].copy()
    again = model.annotate(backwards).loc[cells.obs_names]
    assert (again["scmm_cell_type"] == found["scmm_cell_type"]).all()
    close(again["scmm_confidence"], found["scmm_confidence"])


def test_a_model_without_cell_types_says_so_and_writes_nothing(model, data):
    before = data.obs.copy()
    with pytest.raises(InputError, match=r"knows no cell types.*scmultimodal finetune"):
        model.annotate(data)
    assert data.obs.equals(before)


# The model itself.


@pytest.mark.parametrize("name", ["both", "rna", "named"])
def test_self_check_passes_after_saving_again(folder, tmp_path, name):
    again = CellModel.load(folder / name).save(tmp_path / name)
    assert CellModel.load(again).self_check() < 1e-5


@pytest.mark.parametrize("value", [0.5, np.nan])
@pytest.mark.parametrize("part", ["cell_encoder/", "cell_type_head/"])
def test_self_check_sees_a_changed_parameter(folder, part, value):
    stored = export.load(folder / "named")
    params = {m: dict(leaves) for m, leaves in stored.params.items()}
    module = next(m for m in params if m.startswith(part))
    name = next(iter(params[module]))
    # Noise: layer normalisation would not see a constant.
    noise = np.random.default_rng(0).normal(size=params[module][name].shape)
    params[module][name] = params[module][name] + (value * noise).astype(np.float32)
    broken = CellModel(dataclasses.replace(stored, params=params))
    with pytest.raises(InputError, match="reference outputs differ by"):
        broken.self_check()


def test_no_model_there(tmp_path):
    with pytest.raises(InputError, match=r"is no model.*run folder"):
        CellModel.load(tmp_path)
