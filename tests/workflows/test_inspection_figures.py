"""Ways to bin, on the same stored counts, and what is drawn of a dataset."""

import numpy as np
import pytest
from matplotlib import image

from scmultimodal import datasets
from scmultimodal.schemas.modality import MODALITIES, Modality
from scmultimodal.workflows import inspection, inspection_figures, prepare
from tests import builders


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return builders.simulated_store(tmp_path_factory.mktemp("store") / "a")


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_strategy_of_the_dataset_gives_the_bins_that_it_stores(
    store, monkeypatch, modality
):
    monkeypatch.setattr(inspection_figures, "ROWS_AT_ONCE", 50)
    compared = inspection_figures.compare_binnings(store, modality)
    assert compared.cells == len(store.split("train"))
    stored = inspection.facts(store)["modalities"][modality]["bins"]
    assert compared.counts["gene_normalized"].sum(0).tolist() == stored
    for counts in compared.counts.values():
        assert counts.sum(1).tolist() == compared.counts["absolute"].sum(1).tolist()


def test_absolute_bins_are_the_whole_parts(store):
    compared = inspection_figures.compare_binnings(store, Modality.RNA)
    middles = (compared.edges[1:] + compared.edges[:-1]) / 2
    of_class = np.clip(np.floor(middles), 1, 5).astype(int)
    place, bins = np.nonzero(compared.counts["absolute"])
    assert (bins + 1 == of_class[place]).all()
    assert len(place) > 3


def test_a_sample_is_the_same_again_and_no_larger_than_asked(store):
    def sample(seed):
        return inspection_figures.compare_binnings(
            store, Modality.RNA, most_cells=9, seed=seed
        )

    first, again, other = sample(0), sample(0), sample(1)
    assert first.cells == 9
    for strategy, counts in first.counts.items():
        assert (counts == again.counts[strategy]).all()
    assert any((first.counts[s] != other.counts[s]).any() for s in first.counts)


def test_both_pictures_are_drawn_and_say_that_data_are_simulated(store, tmp_path):
    facts = inspection.facts(store)
    drawn = inspection_figures.draw(store, facts, tmp_path / "noted")
    assert [path.name for path in drawn] == [
        "links_simulated.png", "binning_rna.png", "binning_atac.png"
    ]  # fmt: skip
    plain = inspection_figures.draw(store, facts | {"simulated": False}, tmp_path / "p")
    for noted, other in zip(drawn, plain, strict=True):
        assert _alarms(noted) > 100 > _alarms(other)


def test_without_atac_there_are_no_links_to_draw(tmp_path):
    data = builders.simulated_cells()
    config, genes = prepare.PrepareConfig(), datasets.simulated_genes(data)
    out = tmp_path / "a"
    store = prepare.run(data["rna"], genes, config, out, provenance={"name": "a/b"})
    drawn = inspection_figures.draw(store, inspection.facts(store), tmp_path / "f")
    assert [path.name for path in drawn] == ["binning_rna.png"]


def _alarms(path):
    """Pixels of the colour of notes."""
    apart = np.abs(image.imread(path)[..., :3] - np.array([0.702, 0.149, 0.118]))
    return int((apart.max(-1) < 0.05).sum())
