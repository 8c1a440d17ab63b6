"""A model that reads open peaks says of a user's cells what it says of its own."""

import anndata
import numpy as np
import pytest

from scmultimodal import cli, datasets
from scmultimodal.data.store import Store
from scmultimodal.models import CellModel
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.weights import export
from scmultimodal.workflows import finetune, judge, pretrain
from scmultimodal.workflows.finetune_config import FinetuneConfig
from tests import builders


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return builders.peak_store(tmp_path_factory.mktemp("peaks") / "data")


@pytest.fixture(scope="module")
def model(store, tmp_path_factory):
    start = pretrain.untrained(store, builders.peak_pretraining())
    config = FinetuneConfig(epochs=1, batch_size=32, hidden=(8,))
    out = tmp_path_factory.mktemp("tuned")
    return finetune.run(store, start, config, Regime.ATAC, out)


@pytest.fixture
def atac(store):
    """The cells of the store as a user has them."""
    cells = builders.simulated_cells(num_cells=200, num_genes=40)
    assert list(cells.obs_names) == list(store.obs.index)
    return cells["atac"].copy()


def shifted(data, bp):
    """The same cells, their peaks called by another experiment."""
    data = data.copy()
    data.var["start"] += bp
    data.var["end"] += bp
    places = zip(data.var["chrom"], data.var["start"], data.var["end"], strict=True)
    data.var_names = [f"{chrom}:{start}-{end}" for chrom, start, end in places]
    return data


def test_vectors_and_types_are_those_of_the_prepared_cells(store, model, atac):
    every = np.arange(store.num_cells)
    expected = judge.embed(store, model, Regime.ATAC, every)
    ours = CellModel(model)
    np.testing.assert_allclose(ours.embed(atac), expected, atol=1e-5)
    logits = judge.predict(store, model, Regime.ATAC, every)
    names = np.array(model.config.classes)[logits.argmax(1)]
    assert ours.annotate(atac)["scmm_cell_type"].tolist() == names.tolist()
    order = np.random.default_rng(0).permutation(store.num_cells)
    turned = atac[order].copy()[:, atac.var_names[::-1]].copy()
    np.testing.assert_allclose(ours.embed(turned), expected[order], atol=1e-5)


def test_peaks_of_another_name_are_found_by_overlap(model, atac):
    ours = CellModel(model)
    moved = shifted(atac, 20)
    assert not set(moved.var_names) & set(atac.var_names)
    np.testing.assert_allclose(ours.embed(moved), ours.embed(atac), atol=1e-5)


def test_a_file_is_embedded_and_the_share_of_its_peaks_told(
    model, atac, tmp_path, capsys
):
    export.save(model, tmp_path / "model")
    half = atac[:, : atac.n_vars // 2].copy()
    shifted(half, 20).write_h5ad(tmp_path / "half.h5ad")
    paths = {name: str(tmp_path / name) for name in ("model", "half.h5ad", "v.h5ad")}
    command = ["embed", "--model", paths["model"], "--data", paths["half.h5ad"]]
    assert cli.main([*command, "--out", paths["v.h5ad"]]) == 0
    told = f"peaks        {half.n_vars:>9,} of {half.n_vars:,} are ones it reads"
    assert told in capsys.readouterr().out.splitlines()
    written = anndata.read_h5ad(tmp_path / "v.h5ad").obsm["X_scmm"]
    np.testing.assert_allclose(written, CellModel(model).embed(half), atol=1e-5)


def test_peaks_of_nowhere_near_are_refused_and_few_are_told(model, atac):
    ours = CellModel(model)
    with pytest.raises(InputError, match=r"none of its .* peaks overlaps"):
        ours.embed(shifted(atac, 50_000_000))
    few = atac.copy()
    away = np.arange(few.n_vars) % 4 > 0
    few.var["start"] += 50_000_000 * away
    few.var["end"] += 50_000_000 * away
    few = shifted(few, 0)
    with pytest.warns(UserWarning, match=r"overlap one of the .* that the model reads"):
        ours.embed(few)


@pytest.mark.parametrize("by", ["--peak-tokens", "--vocabulary"])
def test_other_cells_are_prepared_for_a_model(by, store, model, atac, tmp_path):
    """By the model's folder: further training wants its very peaks."""
    export.save(model, tmp_path / "model")
    shifted(atac, 20).write_h5ad(tmp_path / "cells.h5ad")
    genes = datasets.simulated_genes(builders.simulated_cells(num_genes=40))
    genes.to_csv(tmp_path / "genes.tsv", sep="\t", index=False)
    command = ["prepare", "--atac", str(tmp_path / "cells.h5ad"), by]
    command += [str(tmp_path / "model"), "--genes", str(tmp_path / "genes.tsv")]
    assert cli.main([*command, "--out", str(tmp_path / "data")]) == 0
    made = Store.open(tmp_path / "data")
    assert made.peaks is not None
    assert made.peaks.digest() == model.peaks.digest()
    rows = store.obs.index.get_indexer(made.obs.index)
    ours, known = (
        s.peak_matrix().rows(np.arange(s.num_cells), "bins") for s in (made, store)
    )
    assert (ours != known[rows]).nnz == 0
