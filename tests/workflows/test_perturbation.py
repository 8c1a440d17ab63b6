"""In-silico perturbation: against data changed by hand, and against planted links."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scmultimodal import datasets
from scmultimodal.evaluation import perturbation as links
from scmultimodal.models import CellModel
from scmultimodal.modules.heads.counts import CountDecoderConfig
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.singlecell.readers import join_modalities
from scmultimodal.workflows import perturbation_results, pretrain
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

CELLS, GENES, HIGHEST = 40, 12, 5


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("perturb") / "data"
    return builders.counts_store(folder, num_cells=CELLS, num_genes=GENES)


@pytest.fixture(scope="module", params=["all", "nonzero"])
def model(request, store):
    """Of random numbers; its bins are counts, so genes can be changed by hand."""
    return CellModel(builders.random_cell_model(store, tokens=request.param))


@pytest.fixture(scope="module")
def plain(store):
    return CellModel(builders.random_cell_model(store))


@pytest.fixture
def data():
    return builders.simulated_cells(num_cells=CELLS, num_genes=GENES)


def gene(number):
    return f"ENSSIMG{number:011d}"


def with_counts(data, number, values):
    """A copy with other RNA counts of a gene."""
    changed = data.copy()
    counts = changed["rna"].X.toarray()
    counts[:, number] = values
    changed["rna"].X = sp.csr_matrix(counts)
    return changed


def counts_of(data, number):
    return data["rna"].X.toarray()[:, number]


def by_hand(model, before, after, changed):
    """Shifts of the vectors, and log fold changes by modality, of the cells changed."""
    one, two = model.embed(before)[changed], model.embed(after)[changed]
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    expected = {
        "cosine_shift": np.mean(1 - (one * two).sum(1) / norms),
        "euclidean_shift": np.linalg.norm(one - two, axis=1).mean(),
    }
    for modality in ("rna", "atac"):
        told = [np.log(model.impute(d, modality).X)[changed] for d in (before, after)]
        expected[modality] = (told[1] - told[0]).mean(0)
    return expected


def agree(found, expected, cells, row=0):
    measured = found.table.iloc[row]
    assert measured["cells"] == cells
    assert cells > 5
    for name in ("cosine_shift", "euclidean_shift"):
        np.testing.assert_allclose(measured[name], expected[name], atol=2e-6)
        assert measured[name] > 1e-4
    for modality in ("rna", "atac"):
        values = found.effects.layers[modality][row]
        np.testing.assert_allclose(values, expected[modality], atol=2e-5)
        assert np.abs(values).max() > 1e-2


# Against data changed by hand.


def test_delete_is_the_gene_taken_from_the_data(model, data):
    found = model.perturb(data, ["GENE7", "GENE3"], kind="delete")
    changed = counts_of(data, 3) > 0
    expected = by_hand(model, data, with_counts(data, 3, 0), changed)
    agree(found, expected, changed.sum(), row=1)
    assert found.table["cells"].iloc[0] == (counts_of(data, 7) > 0).sum()
    assert found.table.index.tolist() == [gene(7), gene(3)]
    assert found.table["symbol"].tolist() == ["GENE7", "GENE3"]
    assert found.effects.obs.equals(found.table)
    assert found.effects.var_names.tolist() == model.genes["gene_id"].tolist()


def test_close_is_the_peaks_of_the_gene_taken_from_the_data(plain, data):
    planted = data.uns["links"]
    peaks = set(planted["peak"][planted["gene_id"] == gene(4)])
    shut = data.copy()
    kept = ~shut["atac"].var_names.isin(peaks)
    own = data["atac"].X[:, ~kept].sum(1)
    shut["atac"].X = sp.csr_matrix(shut["atac"].X.multiply(kept))
    changed = np.asarray(own).ravel() > 0
    found = plain.perturb(data, gene(4), kind="close")
    agree(found, by_hand(plain, data, shut, changed), changed.sum())
    assert found.changed == "atac"


def test_overexpress_is_the_highest_bin_in_all_cells_that_are_below(plain, data):
    values = counts_of(data, 3)
    changed = values < HIGHEST
    assert 0 < changed.sum() < CELLS
    assert (values == 0).any()
    found = plain.perturb(data, "GENE3", kind="overexpress")
    after = with_counts(data, 3, np.maximum(values, HIGHEST))
    agree(found, by_hand(plain, data, after, changed), changed.sum())


def test_a_fold_multiplies_the_counts_that_there_are(plain, data):
    values = counts_of(data, 3)
    after = np.ceil(values * 1.5)
    changed = (values > 0) & (values < HIGHEST)
    found = plain.perturb(data, "GENE3", kind="overexpress", fold=1.5)
    after = with_counts(data, 3, after.astype(np.int32))
    agree(found, by_hand(plain, data, after, changed), changed.sum())


def test_together_all_are_changed_in_the_same_cells(plain, data):
    found = plain.perturb(data, ["GENE3", "GENE7"], kind="delete", together=True)
    changed = (counts_of(data, 3) > 0) | (counts_of(data, 7) > 0)
    after = with_counts(with_counts(data, 3, 0), 7, 0)
    agree(found, by_hand(plain, data, after, changed), changed.sum())
    assert found.table.index.tolist() == [f"{gene(3)}+{gene(7)}"]
    assert found.table["symbol"].tolist() == ["GENE3+GENE7"]


def test_one_modality_of_cells_that_have_both_or_some(plain, data):
    """Cells without the modality do not count, and stay as they are."""
    rna, atac = data["rna"][:25].copy(), data["atac"][10:].copy()
    partly = join_modalities({"rna": rna, "atac": atac})
    found = plain.perturb(partly, "GENE3", kind="overexpress")
    changed = counts_of(data, 3)[:25] < HIGHEST
    assert found.cells["cell"].tolist() == rna.obs_names[changed].tolist()
    assert found.table["cells"].item() == changed.sum()


# What a screen must keep.


def test_the_order_and_the_size_of_batches_do_not_matter(plain, data, monkeypatch):
    names = [f"GENE{i}" for i in range(GENES)]
    whole = plain.perturb(data, names, kind="delete")
    again = plain.perturb(data, names, kind="delete")
    pd.testing.assert_frame_equal(whole.table, again.table)
    assert (whole.effects.layers["atac"] == again.effects.layers["atac"]).all()
    monkeypatch.setattr(perturbation_results, "TOP", 2)
    other = plain.perturb(data, names[::-1], kind="delete", batch_size=7)
    back = other.table.iloc[::-1]
    for column in ("cells", "cosine_shift", "euclidean_shift"):
        np.testing.assert_allclose(back[column], whole.table[column], atol=2e-6)
    np.testing.assert_allclose(
        other.effects.layers["rna"][::-1], whole.effects.layers["rna"], atol=2e-5
    )
    assert back["top_rna"].str.count(",").tolist() == [1] * GENES


def test_the_data_stay_as_they_are(plain, data):
    before = builders.simulated_cells(num_cells=CELLS, num_genes=GENES)
    for kind in ("delete", "overexpress", "close"):
        plain.perturb(data, "GENE3", kind=kind)
    assert data.obs.equals(before.obs)
    for key, adata in data.mod.items():
        assert (adata.X != before[key].X).nnz == 0
        assert adata.obs.equals(before[key].obs)
        assert adata.layers.keys() == before[key].layers.keys()


def test_pairs_are_the_cells_of_each_gene(plain, data):
    found = plain.perturb(data, ["GENE3", "GENE7"], kind="delete")
    for number in (3, 7):
        part = found.cells[found.cells["gene_id"] == gene(number)]
        shown = data.obs_names[counts_of(data, number) > 0]
        assert part["cell"].tolist() == shown.tolist()
        mean = part["euclidean_shift"].mean()
        row = found.table.loc[gene(number)]
        np.testing.assert_allclose(mean, row["euclidean_shift"], rtol=1e-5)


def test_a_gene_that_no_cell_has_is_told_as_unknown(plain, data, tmp_path):
    found = plain.perturb(with_counts(data, 3, 0), ["GENE3", "GENE7"], kind="delete")
    nothing, other = (found.table.loc[gene(i)] for i in (3, 7))
    assert nothing["cells"] == 0
    assert np.isnan([nothing["cosine_shift"], nothing["euclidean_shift"]]).all()
    assert nothing["top_rna"] == ""
    assert np.isnan(found.effects.layers["rna"][0]).all()
    assert other["cells"] > 0
    assert np.isfinite(found.effects.layers["rna"][1]).all()
    assert set(found.top_genes()["perturbed"]) == {gene(7)}
    printed = found.format_table().splitlines()[2:]
    assert [line.split()[0] for line in printed] == ["GENE7", "GENE3"]


def test_a_cell_left_with_nothing_is_as_far_as_can_be(plain, data):
    alone = data["rna"].copy()
    counts = np.zeros(alone.shape, np.int32)
    counts[:, 5] = 2
    counts[1:, 6] = 1
    alone.X = sp.csr_matrix(counts)
    found = plain.perturb(alone, "GENE5", kind="delete")
    assert found.cells["cosine_shift"].iloc[0] == 1
    assert (found.cells["cosine_shift"].iloc[1:] < 1).all()


def test_top_genes_by_hand():
    """The largest first, up or down; never what was itself changed."""
    vocabulary = builders.gene_vocabulary(4)
    effects = {
        Modality.RNA: np.array([[9, 1, -3, 2], [0, -5, 4, 1]], np.float32),
        Modality.ATAC: np.array([[9, 1, -3, 2], [0, -5, 4, 1]], np.float32),
    }
    found = perturbation_results.build(
        vocabulary,
        [np.array([0]), np.array([1])],
        changed=Modality.RNA,
        group=np.array([0, 1, 1]),
        cell_names=np.array(["a", "a", "b"]),
        shifts=np.array([[0.1, 1], [0.2, 2], [0.4, 4]], np.float32),
        effects=effects,
    )
    np.testing.assert_allclose(found.table["cosine_shift"], [0.1, 0.3], rtol=1e-6)
    np.testing.assert_allclose(found.table["euclidean_shift"], [1, 3])
    assert found.table["top_rna"].tolist() == [
        "Gene2, Gene3, Gene1",
        "Gene2, Gene3, Gene0",
    ]
    assert found.table["top_atac"].iloc[0] == "Gene0, Gene2, Gene3, Gene1"
    top = found.top_genes(1)
    assert top.values.tolist() == [
        ["ENSG00000", "rna", 1, "ENSG00002", "Gene2", -3.0],
        ["ENSG00000", "atac", 1, "ENSG00000", "Gene0", 9.0],
        ["ENSG00001", "rna", 1, "ENSG00002", "Gene2", 4.0],
        ["ENSG00001", "atac", 1, "ENSG00001", "Gene1", -5.0],
    ]
    printed = found.format_table().splitlines()
    assert [line.split()[0] for line in printed[2:]] == ["Gene1", "Gene0"]


def test_a_model_that_tells_no_counts_moves_vectors_all_the_same(store, data):
    silent = CellModel(builders.random_cell_model(store, decodes=False))
    found = silent.perturb(data, "GENE3", kind="delete")
    assert found.effects is None
    assert "top_rna" not in found.table
    assert found.table["euclidean_shift"].item() > 1e-4
    assert found.top_genes().empty


# What cannot be asked.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"genes": ["GENE3", "GENE333"]}, r"1 of 2 .* 'GENE333' \(near: GENE3"),
        ({"kind": "inhibit"}, "kind: is 'inhibit'. Give one of delete, overexpress"),
        ({"kind": "close", "modality": "rna"}, "kind: is 'close', which changes atac"),
        ({"modality": "protein"}, "modality: is 'protein'"),
        ({"fold": 2.0}, "fold: is 2.0, and kind is 'delete'"),
        ({"kind": "overexpress", "fold": 0.5}, "fold: is 0.5. Give a number above 1"),
        ({"batch_size": 0}, "batch_size: is 0"),
    ],
)
def test_questions_that_make_no_sense_are_refused(plain, data, fields, message):
    question = {"genes": "GENE3", "kind": "delete"} | fields
    with pytest.raises(InputError, match=message):
        plain.perturb(data, question.pop("genes"), **question)


def test_cells_and_models_that_lack_the_modality_are_refused(plain, data):
    with pytest.raises(InputError, match="data: have no atac, which 'close' changes"):
        plain.perturb(data["rna"].copy(), "GENE3", kind="close")
    stored = plain._stored
    rna = dataclasses.replace(stored.config, modalities=("rna",))
    alone = CellModel(dataclasses.replace(stored, config=rna))
    with pytest.raises(InputError, match="model: knows rna, and 'close' changes atac"):
        alone.perturb(data, "GENE3", kind="close")


def test_a_fold_of_bins_that_are_no_counts_is_refused(plain, data):
    stored = plain._stored
    recipe = {**stored.vocabulary.recipe, "strategy": "absolute"}
    vocabulary = dataclasses.replace(stored.vocabulary, recipe=recipe)
    other = CellModel(dataclasses.replace(stored, vocabulary=vocabulary))
    with pytest.raises(InputError, match="'absolute', are no counts"):
        other.perturb(data, "GENE3", kind="overexpress", fold=2.0)


# Planted links.


@pytest.mark.long
def test_a_trained_model_finds_the_links_that_were_planted(tmp_path, tally):
    """A gene's chromatin drives its own RNA; markers of a type rise and fall together.

    The same model untrained finds neither.
    """
    data = datasets.simulate_multiome(
        num_cells=2_000, num_genes=120, marker_effect=2.5, seed=1
    )
    store = builders.counts_store_of(data, tmp_path / "data")
    small = builders.small_pretraining()
    config = dataclasses.replace(
        small,
        path=dataclasses.replace(small.path, num_layers=0),
        steps=400,
        batch_size=64,
        mask_weight=0.0,
        count_weight=1.0,
        mixing={Regime.MULTIOME: 1.0},
        decoder=CountDecoderConfig(hidden=64, by_token=True),
    )
    trained = CellModel(pretrain.run(store, config, tmp_path / "run"))
    fresh = data[store.split("test")].copy()
    genes = trained.genes["gene_id"].tolist()
    own = np.eye(len(genes), dtype=bool)
    table = pd.crosstab(
        data.uns["markers"]["cell_type"], data.uns["markers"]["gene_id"]
    )
    markers = table.reindex(columns=genes, fill_value=0).to_numpy() > 0
    programmes = links.same_programme(markers)

    def recovered(model):
        shut = model.perturb(fresh["atac"].copy(), genes, kind="close")
        gone = model.perturb(fresh["rna"].copy(), genes, kind="delete")
        return (
            links.link_recovery(-shut.effects.layers["rna"], own),
            links.link_recovery(-gone.effects.layers["rna"], programmes, where=~own),
        )

    band, programme = recovered(trained)
    for name, found in (("band closed", band), ("gene deleted", programme)):
        tally(
            f"{name}: AUROC {found.auroc:.3f}, average precision "
            f"{found.average_precision:.3f} (chance {found.chance:.3f})"
        )
    assert band.judged == len(genes)
    assert band.auroc > 0.95
    assert band.top > 0.9
    assert programme.judged > 40
    assert programme.auroc > 0.7
    assert programme.average_precision > 3 * programme.chance
    band, programme = recovered(CellModel(pretrain.untrained(store, config)))
    assert band.auroc < 0.65
    assert programme.auroc < 0.6
    assert programme.average_precision < 1.5 * programme.chance
