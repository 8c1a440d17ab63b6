"""The card of a model: what is recorded, and nothing more."""

import dataclasses

import pytest

from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.weights import export
from scmultimodal.weights.genome_model import GenomeModelConfig, StoredGenomeModel
from scmultimodal.workflows import model_card, runs
from tests import builders
from tests.workflows import run_folders

TYPES = ("T", "B", "NK")


@pytest.fixture
def model():
    config = export.ModelConfig(
        encoder=builders.encoder_config(40),
        head=CellTypeHeadConfig(num_classes=3, hidden=(4,)),
        classes=TYPES,
        modalities=("rna",),
    )
    return export.StoredModel(
        config=config,
        vocabulary=builders.gene_vocabulary(),
        params={},
        network_state={},
    )


def card(model, **given):
    return model_card.write(
        model, **({"name": "cells", "license": None, "run": None} | given)
    )


def section(text, title):
    return text.partition(f"\n## {title}\n\n")[2].partition("\n\n## ")[0].strip()


def test_what_nobody_recorded_is_said_to_be_so(model):
    text = card(model)
    assert text.startswith('---\nlibrary_name: "scmultimodal"\ntags: ["biology", ')
    assert "license:" not in text
    assert "| data | not recorded |" in section(text, "Data")
    assert "| simulated | not recorded |" in section(text, "Data")
    assert section(text, "Licence").startswith("Weights: not recorded.")
    assert section(text, "How well it does") == "Not recorded."
    assert "| revision | not recorded |" in section(text, "Where it comes from")


def test_what_the_model_knows_of_itself(model):
    known = {"data": "cortex", "scmultimodal": "0.1.0", "versions": {"jax": "0.10.2"}}
    config = dataclasses.replace(model.config, provenance=known)
    text = card(dataclasses.replace(model, config=config), license="cc-by-4.0")
    assert '\nlicense: "cc-by-4.0"\n---\n\n# cells\n' in text
    assert "| data | cortex |" in text
    assert "| jax | 0.10.2 |" in text
    assert "| cell types | T, B, NK |" in text
    assert "It gives every cell one of 3 types" in section(text, "Limits")
    assert "Simulated" not in text


def test_metrics_are_those_of_this_model_beside_baselines(model, tmp_path):
    """The run judged a model of RNA and one of ATAC; this is that of RNA."""
    run_folders.cell_types(tmp_path / "run", right=45, simulated=True)
    run = runs.read(tmp_path / "run", "run")
    text = card(model, run=run)
    told = section(text, "How well it does")
    assert "Part “rna”" in told
    assert "atac" not in told
    assert "| scmultimodal | 0.750 |" in told
    assert "| *logistic_regression* (baseline) | 0." in told
    assert "**Simulated data: nothing that this model says is biology.**" in text
    both = dataclasses.replace(model.config, modalities=("rna", "atac"))
    text = card(dataclasses.replace(model, config=both), run=run)
    assert section(text, "How well it does") == "Not recorded."


def test_a_model_that_tells_no_types_has_no_scores_of_types(model, tmp_path):
    run_folders.cell_types(tmp_path / "run")
    run = runs.read(tmp_path / "run", "run")
    config = dataclasses.replace(model.config, head=None, classes=())
    text = card(dataclasses.replace(model, config=config), run=run)
    assert "it was not trained on any" in text
    assert section(text, "How well it does") == "Not recorded."


def test_what_a_check_compares_and_runs_is_said(model):
    known = section(card(model), "Check it")
    assert "compares every file but this card" in known
    assert "`python evaluate.py` recomputes the reference" in known
    encoder = dataclasses.replace(model.config.encoder, tokens="static_zeros")
    config = dataclasses.replace(model.config, encoder=encoder)
    text = card(dataclasses.replace(model, config=config))
    assert "evaluate.py" not in section(text, "Check it")


def test_three_ways_to_load_for_its_modality(model):
    config = dataclasses.replace(model.config, modalities=("atac",))
    text = section(card(dataclasses.replace(model, config=config)), "Load it")
    assert 'CellModel.load(".")' in text
    assert "model.batch(atac=counts)" in text
    assert "model.embed(atac=counts)" in text
    assert text.count("model.align_peaks(matrix, peak_names)  # raw counts") == 2
    assert 'CellModel.load("hf://me/cells")' in card(model, name="me/cells")


def test_a_genome_model_says_what_licence_holds():
    config = GenomeModelConfig(
        encoder=builders.dna_encoder_config(),
        k=2,
        provenance={"converted_from": "nt-v2-50m"},
    )
    text = card(StoredGenomeModel(config=config, params={}, reference={}))
    assert '"dna"]' in text
    assert "| converted from | nt-v2-50m |" in section(text, "Data")
    assert "converted from published weights, whose licence holds" in text
    assert 'GenomeModel.load(".")' in text
    assert "token_ids = np.full((1, 512), 1, np.int32)" in text
    assert "evaluate import" not in text
