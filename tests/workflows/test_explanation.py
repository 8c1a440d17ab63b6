"""Which genes a classifier looks at, by hand; and genes that are alike to it."""

import dataclasses

import numpy as np
import pytest

from scmultimodal.models import CellModel
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Regime
from scmultimodal.training.optimizers import OptimizerConfig
from scmultimodal.workflows import finetune, pretrain
from scmultimodal.workflows.finetune_config import FinetuneConfig
from scmultimodal.workflows.importance_tables import GeneImportance
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

CELLS, GENES = 40, 12
HEAD = CellTypeHeadConfig(num_classes=3, hidden=(4,), skip=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain") / "data"
    return builders.counts_store(folder, num_cells=CELLS, num_genes=GENES)


@pytest.fixture(scope="module")
def stored(store):
    return builders.random_cell_model(store, tokens="nonzero", head=HEAD)


@pytest.fixture
def data():
    return builders.simulated_cells(num_cells=CELLS, num_genes=GENES)


def linear(stored):
    """The same model, of which only the linear map of the bins is left."""
    params = {m: dict(leaves) for m, leaves in stored.params.items()}
    params["cell_type_head/logits"] = {
        name: np.zeros_like(a) for name, a in params["cell_type_head/logits"].items()
    }
    return CellModel(dataclasses.replace(stored, params=params))


def bins(model, data, modality):
    source = model._align(data).block()
    return source.dense(modality, np.arange(CELLS)).astype(float)


@pytest.mark.parametrize("tokens", ["all", "nonzero", "static_zeros"])
def test_of_a_linear_model_it_is_its_weights_times_the_counts(store, data, tokens):
    """Mean over the cells that it gives the type, less what all types share."""
    stored = builders.random_cell_model(store, tokens=tokens, head=HEAD)
    model = linear(stored)
    found = model.gene_importance(data, batch_size=16)
    called = model.annotate(data)["scmm_cell_type"].cat.codes.to_numpy()
    assert found.cells.tolist() == np.bincount(called, minlength=3).tolist()
    assert (found.cells > 0).sum() > 1
    for modality in ("rna", "atac"):
        weights = stored.params["cell_type_head"][f"{modality}_skip"]
        weights = weights - weights.mean(1, keepdims=True)
        values = bins(model, data, modality)
        part = found.table.loc[modality]
        assert part.index.tolist() == model.genes["gene_id"].tolist()
        for number, name in enumerate(model.classes):
            if (called == number).any():
                expected = values[called == number].mean(0) * weights[:, number]
                np.testing.assert_allclose(part[name], expected, atol=1e-4)


def test_types_may_be_given(stored, data):
    """Of the logit of the type given; cells of types unknown to it do not count."""
    model = linear(stored)
    mine = np.array(["type_0", "type_2", "other", "type_2"] * (CELLS // 4))
    data.obs["mine"] = mine
    found = model.gene_importance(data, label="mine")
    assert found.cells.to_dict() == {"type_0": 10, "type_1": 0, "type_2": 20}
    assert found.types == ["type_0", "type_2"]
    assert found.table["type_1"].isna().all()
    weights = stored.params["cell_type_head"]["rna_skip"]
    weights = weights - weights.mean(1, keepdims=True)
    expected = bins(model, data, "rna")[mine == "type_2"].mean(0) * weights[:, 2]
    np.testing.assert_allclose(found.table.loc["rna"]["type_2"], expected, atol=1e-4)


def test_a_gene_that_a_cell_lacks_adds_nothing(stored, data):
    one = data[:1].copy()
    whole = CellModel(stored).gene_importance(one)
    (name,) = whole.types
    for modality in ("rna", "atac"):
        silent = bins(CellModel(stored), data, modality)[0] == 0
        values = whole.table.loc[modality][name].to_numpy()
        assert silent.any()
        np.testing.assert_array_equal(values[silent], 0)
        assert np.abs(values[~silent]).min() > 0


def test_of_one_modality_there_is_one(stored, data):
    found = CellModel(stored).gene_importance(data["atac"].copy())
    assert found.table.index.unique("modality").tolist() == ["atac"]
    assert set(found.top_genes()["modality"]) == {"atac"}


def test_batches_do_not_matter(stored, data):
    model = CellModel(stored)
    whole, parts = (model.gene_importance(data, batch_size=n) for n in (64, 7))
    for name in whole.types:
        np.testing.assert_allclose(whole.table[name], parts.table[name], atol=1e-5)
    with pytest.raises(InputError, match="batch_size: is 0"):
        model.gene_importance(data, batch_size=0)


def test_top_genes_speak_for_the_type(stored, data):
    found = linear(stored).gene_importance(data)
    names = found.types
    values = found.table.loc["rna"]
    top = found.top_genes(3)
    assert list(dict.fromkeys(top["cell_type"])) == names
    for name in names:
        part = top[(top["cell_type"] == name) & (top["modality"] == "rna")]
        best = values[name].sort_values(ascending=False)[:3]
        best = best[best > 0]
        assert part["gene_id"].tolist() == best.index.tolist()
        np.testing.assert_array_equal(part["importance"], best)
        assert part["rank"].tolist() == list(range(1, len(best) + 1))
        assert part["symbol"].iloc[0] in found.format_table()


def test_nothing_that_speaks_against_a_type_is_among_its_top_genes():
    table = builders.gene_vocabulary(3).to_frame()[["gene_id", "symbol"]]
    table.insert(0, "modality", "rna")
    table = table.set_index(["modality", "gene_id"]).assign(T=[-1.0, 2.0, 0.0])
    cells = table["T"].iloc[:1].set_axis(["T"]) * -5
    top = GeneImportance(table=table, cells=cells).top_genes()
    assert top.values.tolist() == [["T", "rna", 1, "ENSG00001", "Gene1", 2.0]]


def test_types_are_told_where_no_share_of_a_gene_is(store, data):
    """Of tokens that know the depth of their cell, no gene has a share by itself."""
    model = CellModel(builders.cell_type_model(store, depth=True))
    assert len(model.annotate(data.copy())) == data.n_obs
    with pytest.raises(InputError, match="know the depth of their cell"):
        model.gene_importance(data)


def test_what_cannot_be_explained(store, data):
    plain = CellModel(builders.random_cell_model(store))
    with pytest.raises(InputError, match="knows no cell types"):
        plain.gene_importance(data)
    model = CellModel(builders.random_cell_model(store, head=HEAD))
    with pytest.raises(InputError, match="obs has no column 'kind'"):
        model.gene_importance(data, label="kind")
    with pytest.raises(InputError, match=r"no type that the model knows.*type_0"):
        model.gene_importance(data, label="batch")


# Neighbours.


def test_neighbours_by_hand(store):
    stored = builders.random_cell_model(store)
    name = "cell_encoder/atac_embedding/gene"
    vectors = np.zeros((GENES, 2), np.float32)
    vectors[:5] = [[2, 0], [3, 3], [0, 1], [-1, 0], [9, 1]]
    params = {**stored.params, name: {"embeddings": vectors}}
    model = CellModel(dataclasses.replace(stored, params=params))
    found = model.gene_neighbours(["GENE0", "GENE2"], "atac", 2)
    assert found["symbol"].tolist() == ["GENE0"] * 2 + ["GENE2"] * 2
    assert found["neighbour"].tolist() == ["GENE4", "GENE1", "GENE1", "GENE4"]
    assert found["rank"].tolist() == [1, 2, 1, 2]
    half = 0.5**0.5
    expected = [9 / 82**0.5, half, half, 1 / 82**0.5]
    np.testing.assert_allclose(found["cosine"], expected, rtol=1e-6)
    assert found["neighbour_id"].iloc[0] == found["gene_id"].iloc[0][:-1] + "4"
    many = model.gene_neighbours("GENE0", "atac", 99)
    assert len(many) == GENES - 1
    assert "GENE0" not in set(many["neighbour"])


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (("GENE99",), "'GENE99'"),
        (("GENE1", "protein"), "modality: is 'protein'"),
        (("GENE1", "rna", 0), "k: is 0"),
    ],
)
def test_neighbours_of_nothing(store, question, message):
    model = CellModel(builders.random_cell_model(store))
    with pytest.raises(InputError, match=message):
        model.gene_neighbours(*question)


# Planted markers.


@pytest.mark.long
def test_a_trained_classifier_looks_at_the_markers(tmp_path, tally):
    """Of each type a tenth of the genes are markers: they are its top genes."""
    data = builders.simulated_cells(num_cells=1_500, num_genes=100)
    store = builders.counts_store_of(data, tmp_path / "data")
    config = builders.small_pretraining(tokens="nonzero")
    path = dataclasses.replace(config.path, num_layers=0)
    start = pretrain.untrained(store, dataclasses.replace(config, path=path))
    model = CellModel(
        finetune.run(
            store,
            start,
            FinetuneConfig(
                epochs=8,
                batch_size=64,
                hidden=(32,),
                optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=10),
            ),
            Regime.MULTIOME,
            tmp_path / "run",
            from_scratch=True,
        )
    )
    fresh = data[store.split("test")].copy()
    found = model.gene_importance(fresh)
    markers = data.uns["markers"]
    for modality in ("rna", "atac"):
        shares = []
        for name in found.types:
            planted = set(markers["gene_id"][markers["cell_type"] == name])
            best = found.table.loc[modality][name].nlargest(len(planted))
            shares.append(np.mean(best.index.isin(planted)))
        tally(
            f"{modality}: share of the top genes that are markers {np.mean(shares):.2f}"
        )
        assert np.mean(shares) > 0.5, "by chance a tenth"
