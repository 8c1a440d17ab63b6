"""Sections of links that are planted beyond 50 kb, on a few cells and genes."""

import json

import pytest

from experiments.evaluation import (
    command,
    distal_expression,
    distal_links,
    sets,
    tables,
)
from experiments.evaluation.cases import Case
from experiments.evaluation.variants import vary
from scmultimodal import datasets
from scmultimodal.schemas.modality import Regime

pytestmark = pytest.mark.usefixtures("lightly_compiled")

TINY = {
    "pretrain.steps": 3,
    "pretrain.batch_size": 32,
    "pretrain.buckets": (64,),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Of both sections, by name and model; peaks learn a little, genes nothing."""
    out = tmp_path_factory.mktemp("distal")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "distal_cells", cells)
        few = TINY | {"pretrain.gene_from_peaks.loadings": 10, "pretrain.steps": 200}
        patch.setattr(distal_links, "PRESET", vary(distal_links.PRESET, few))
        small = vary(distal_expression.ALIGNED, TINY)
        patch.setattr(distal_expression, "ALIGNED", small)
        arguments = ["--sets", "simulated_distal", "--seeds", "0", "--out", str(out)]
        names = ("distal_links", "distal_expression")
        assert not command.main([*arguments, "--sections", *names])
    found = {n: json.loads((out / f"{n}.json").read_text())["rows"] for n in names}
    return {n: {row["model"]: row for row in of} for n, of in found.items()}


def cells(seed):
    """Strong links, so that a hundred cells show them."""
    return datasets.simulate_multiome(
        num_cells=300, num_genes=30, num_cell_types=2, distal=0.5, seed=seed
    )


def test_links_are_found_by_peaks_and_not_by_an_untrained_model(rows):
    found = rows["distal_links"]
    assert set(found) == set(distal_links.MODELS)
    assert {row["modality"] for row in found.values()} == {"atac"}
    (chance,) = {row["chance"] for row in found.values()}
    assert 0.02 < chance < 0.12
    assert found["correlation"]["auroc"] > 0.9
    assert found["correlation"]["average_precision"] > 0.6
    assert 0.35 < found["peaks_untrained"]["auroc"] < 0.65
    assert 0.6 < found["distance"]["auroc"] < 0.95
    ours, near = found["peaks"], found["distance"]
    assert ours["auroc"] > near["auroc"] + 0.05
    assert ours["average_precision"] > 2 * near["average_precision"]


def test_genes_of_distal_peaks_are_told_from_peaks_alone(rows):
    """By ridge regression, and by the path of peaks."""
    found = rows["distal_expression"]
    assert set(found) == set(distal_expression.MODELS)
    counts, by_gene = found["ridge_peak_counts"], found["ridge_gene_level"]
    assert counts["distal"] > by_gene["distal"] + 0.15
    assert by_gene["near"] > by_gene["distal"] + 0.15
    assert found["peaks"]["distal"] > by_gene["distal"] + 0.05


def test_other_cells_have_no_planted_links():
    for section in (distal_links.SECTION, distal_expression.SECTION):
        for name in ("simulated", "mouse_cortex", "granja"):
            case = Case(name=name, regime=Regime.ATAC, seed=0)
            assert not tables.serves(section, case)
        case = Case(name="simulated_distal", regime=Regime.ATAC, seed=0)
        assert tables.serves(section, case)


def test_the_set_is_prepared_with_its_peaks(tmp_path, monkeypatch):
    monkeypatch.setattr(sets, "distal_cells", cells)
    recipe = distal_links.PRESET.recipe
    store = sets.prepared("simulated_distal", recipe, 3, tmp_path)
    data = cells(3)
    assert store.peaks.num_peaks == data["atac"].n_vars
    assert store.manifest["provenance"]["simulated"]
    peaks = sets.peaks("simulated_distal", store)
    expected = data["atac"][store.obs.index].X
    assert (peaks != expected).nnz == 0
