"""Prepared data: nothing of the test cells gets into the vocabulary."""

import numpy as np
import pytest

from scmultimodal import datasets
from scmultimodal.schemas.errors import InputError
from scmultimodal.singlecell.recipe import RecipeConfig
from scmultimodal.workflows import prepare
from tests import builders


def run(data, out, **fields):
    config = prepare.PrepareConfig(
        label="cell_type", recipe=RecipeConfig(target_sum=None), **fields
    )
    genes = datasets.simulated_genes(data)
    return prepare.run(data, genes, config, out, provenance={"name": "made up"})


def test_test_and_validation_cells_do_not_touch_medians_or_totals(tmp_path):
    data = builders.simulated_cells()
    store = run(data, tmp_path / "a")
    outside = np.flatnonzero(store.obs["split"] != "train")
    for modality in ("rna", "atac"):
        counts = data[modality].X.tolil()
        counts[outside] = counts[outside] * 7
        data[modality].X = counts.tocsr()
    again = run(data, tmp_path / "b")
    assert again.vocabulary.digest() == store.vocabulary.digest()
    assert (again.obs["split"] == store.obs["split"]).all()


def test_small_and_unlabelled_classes_are_left_out_and_listed(tmp_path):
    data = builders.simulated_cells()
    labels = data.obs["cell_type"].astype(str).to_numpy(object)
    labels[:4], labels[4:10] = "rare", None
    data.obs["cell_type"] = labels
    store = run(data, tmp_path / "a")
    assert store.manifest["report"]["left_out"] == {"rare": 4, "unlabelled": 6}
    assert "rare" not in store.label_names
    assert sum(len(store.split(s)) for s in ("train", "validation", "test")) == 290


def test_bins_can_be_rebuilt_from_the_counts(tmp_path):
    store = run(builders.simulated_cells(), tmp_path / "a")
    cells = np.arange(store.num_cells)
    for modality in store.modalities:
        again = prepare.bin_counts(
            store.vocabulary, modality, store.rows(modality, cells, "counts")
        )
        assert (again != store.rows(modality, cells)).nnz == 0


def test_a_model_s_vocabulary_is_used_as_it_is(tmp_path):
    data = builders.simulated_cells()
    first = run(data, tmp_path / "a")
    fewer = data[:, data["rna"].var_names[3:].append(data["atac"].var_names)].copy()
    config = prepare.PrepareConfig(label="cell_type", seed=3)
    second = prepare.run(
        fewer,
        datasets.simulated_genes(data),
        config,
        tmp_path / "b",
        provenance={"name": "new data"},
        vocabulary=first.vocabulary,
    )
    assert second.vocabulary.digest() == first.vocabulary.digest()
    assert second.num_genes == first.num_genes
    assert not second.rows("rna", np.arange(second.num_cells)).toarray()[:, :3].any()


@pytest.mark.parametrize(
    ("column", "message"),
    [("cel_type", "no column 'cel_type'.*cell_type"), ("constant", "has 1 class")],
)
def test_a_label_that_serves_nothing_is_refused(tmp_path, column, message):
    data = builders.simulated_cells()
    data.obs["constant"] = "same"
    config = prepare.PrepareConfig(label=column)
    genes = datasets.simulated_genes(data)
    with pytest.raises(InputError, match=message):
        prepare.run(data, genes, config, tmp_path / "a", provenance={"name": "x"})
    assert not list(tmp_path.iterdir())


def test_mouse_cortex(data_folder, tmp_path):
    store = prepare.run(
        datasets.mouse_cortex(),
        datasets.mouse_cortex_genes(),
        prepare.PrepareConfig(label="cell_type", batch="batch"),
        tmp_path / "a",
        provenance={"name": "mouse_cortex"},
    )
    del data_folder
    assert (store.num_cells, store.num_genes) == (10_302, 1_677)
    assert len(store.label_names) == 23
    sizes = {s: len(store.split(s)) for s in ("train", "validation", "test")}
    assert sizes == {"train": 7_209, "validation": 1_029, "test": 2_064}
    assert store.manifest["report"]["cell_filter"]["before"] == 10_309
