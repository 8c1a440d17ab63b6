"""What a preset of open peaks becomes where cells do not serve all of it."""

import dataclasses

import pytest

from scmultimodal import CellModel, datasets
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import Modality, Regime
from scmultimodal.singlecell import readers
from scmultimodal.weights import export
from scmultimodal.workflows import (
    cell_types,
    finetune,
    finetune_skip,
    prepare,
    presets,
    pretrain,
)
from scmultimodal.workflows.finetune_config import FinetuneConfig
from tests import builders

pytestmark = pytest.mark.usefixtures("lightly_compiled")

SMALL = presets.Preset(
    pretrain=dataclasses.replace(
        builders.peak_pretraining(), mixing={Regime.MULTIOME: 1.0}
    ),
    finetune=FinetuneConfig(
        epochs=1, hidden=(8,), token_dropout=0.0, by_value=False, paired=1.0
    ),
    recipe=presets.PEAKS.recipe,
)


def cells_of(path, pairs, *, types=None):
    """Prepared cells with ATAC, of which the first `pairs` have RNA; some not typed."""
    data = builders.simulated_cells(num_cells=200)
    atac = data["atac"].copy()
    atac.obs["cell_type"] = data.obs["cell_type"].astype(str)
    rna = data["rna"][:pairs].copy()
    rna.obs = rna.obs[[]]
    parts = {Modality.RNA: rna, Modality.ATAC: atac}
    if types is not None:
        atac.obs.iloc[:pairs, atac.obs.columns.get_loc("cell_type")] = types
    joined = readers.join_modalities(parts if pairs else {Modality.ATAC: atac})
    return prepare.run(
        joined,
        datasets.simulated_genes(data),
        presets.preparation(SMALL, label="cell_type", min_feature_fraction=0.0),
        path,
        provenance={"name": "simulated", "simulated": True},
    )


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Half of the cells have RNA."""
    return cells_of(tmp_path_factory.mktemp("mixed") / "data", 100)


def trains_on(store):
    """(training cells with both, with ATAC alone)."""
    rna, atac = (store.present(m)[store.split("train")] for m in Modality)
    return int((rna & atac).sum()), int((atac & ~rna).sum())


def test_cells_with_atac_alone_are_shown_as_often_as_there_are(mixed, capsys):
    pairs, alone = trains_on(mixed)
    assert min(pairs, alone) > 50
    fit = presets.for_cells(SMALL, mixed)
    assert fit.pretrain.mixing == {Regime.MULTIOME: pairs, Regime.ATAC: alone}
    assert dataclasses.replace(fit.pretrain, mixing=SMALL.pretrain.mixing) == (
        SMALL.pretrain
    )
    assert f"{alone} training cells have ATAC alone" in capsys.readouterr().out


def test_turns_that_were_chosen_are_kept(mixed):
    chosen = dataclasses.replace(SMALL.pretrain, mixing={Regime.ATAC: 1.0})
    chosen = dataclasses.replace(SMALL, pretrain=chosen)
    assert presets.for_cells(chosen, mixed) is chosen


def test_where_all_cells_are_paired_nothing_changes(tmp_path):
    assert presets.for_cells(SMALL, cells_of(tmp_path / "data", 200)) is SMALL


def test_genes_are_asked_about_by_as_many_components_as_there_may_be(tmp_path, capsys):
    """Of three cells with RNA there are two."""
    store = cells_of(tmp_path / "data", 3)
    with_rna = int(store.present(Modality.RNA)[store.split("train")].sum())
    asked = dataclasses.replace(
        presets.PEAKS.pretrain.gene_from_peaks, loadings=with_rna
    )
    asking = dataclasses.replace(SMALL.pretrain, gene_from_peaks=asked, steps=2)
    fit = presets.for_cells(dataclasses.replace(SMALL, pretrain=asking), store)
    assert fit.pretrain.gene_from_peaks.loadings == with_rna - 1
    assert f"by {with_rna - 1} components, not" in capsys.readouterr().out
    model = pretrain.run(store, fit.pretrain, tmp_path / "run")
    assert model.config.genes_told is not None


@pytest.fixture(scope="module")
def start(mixed):
    return pretrain.untrained(mixed, SMALL.pretrain)


@pytest.mark.parametrize(
    ("pairs", "types", "learns"),
    [(100, None, True), (9, None, False), (60, "A", False)],
)
def test_pairs_teach_where_they_are_enough(
    tmp_path, start, capsys, pairs, types, learns
):
    """Of two types, ten at least; RNA alone never needs them."""
    store = cells_of(tmp_path / "data", pairs, types=types)
    tuned = finetune_skip.for_cells(SMALL.finetune, store, start, Regime.ATAC)
    assert tuned == dataclasses.replace(SMALL.finetune, paired=1.0 if learns else 0.0)
    said = capsys.readouterr().out
    assert ("too few to learn from pairs" in said) != learns
    rna = finetune_skip.for_cells(SMALL.finetune, store, start, Regime.RNA)
    assert rna.paired == 0
    assert not capsys.readouterr().out


def test_pairs_that_are_too_few_are_refused_where_they_were_asked_for(tmp_path, start):
    store = cells_of(tmp_path / "data", 9)
    begun = pretrain.untrained(store, SMALL.pretrain)
    with pytest.raises(InputError, match=r"paired is 1.0: 10 are needed.*--finetune"):
        finetune.run(store, begun, SMALL.finetune, Regime.ATAC, tmp_path / "run")


def test_a_vector_weighs_no_tokens_by_value(mixed, start, tmp_path):
    """`--preset best --model` of open peaks."""
    config = dataclasses.replace(SMALL.finetune, by_value=True, paired=0.0)
    tuned = finetune.run(mixed, start, config, Regime.ATAC, tmp_path / "run")
    assert not tuned.config.head.by_value


def test_one_type_cannot_be_told(tmp_path, start):
    rare = ["B"] * 3  # Too few for any split.
    store = cells_of(tmp_path / "data", 200, types=[*rare, *["A"] * 197])
    config = dataclasses.replace(SMALL.finetune, paired=0.0)
    begun = pretrain.untrained(store, SMALL.pretrain)
    with pytest.raises(InputError, match=r"of fewer than two types \(A\).*--label"):
        finetune.run(store, begun, config, Regime.ATAC, tmp_path / "run")


def test_a_notebook_goes_on_from_a_model_of_peaks(tmp_path, start, monkeypatch):
    monkeypatch.setattr(presets, "PEAKS", SMALL)
    data = builders.simulated_cells(num_cells=200)
    given = {"label": "cell_type", "genes": datasets.simulated_genes(data)}
    given |= {"preset": "peaks", "modality": "atac", "min_feature_fraction": 0.0}
    with pytest.raises(InputError, match=r"start: is no model that reads open peaks"):
        CellModel.fit(data, out=tmp_path / "none", **given)
    assert not (tmp_path / "none").exists()
    model = CellModel.fit(data, out=tmp_path / "run", start=CellModel(start), **given)
    assert model.modalities == ("atac",)
    assert len(model.annotate(data)) == data.n_obs


def test_what_was_fitted_is_written(tmp_path, start):
    """What was asked stands beside it, and the same command goes on."""
    data = builders.simulated_cells(num_cells=200)
    atac = data["atac"].copy()
    atac.obs["cell_type"] = data.obs["cell_type"]
    config = presets.cell_types(SMALL, label="cell_type", from_scratch=False)
    out = tmp_path / "run"
    for _ in range(2):
        cell_types.run(
            atac,
            datasets.simulated_genes(data),
            config,
            out,
            name="cells",
            command="test",
            model=start,
        )
    written = export.folders.read_json(out / "config.json")
    assert written["finetune"]["paired"] == 1.0
    assert written["fitted"] == {"finetune atac": {"paired": 0.0}}
