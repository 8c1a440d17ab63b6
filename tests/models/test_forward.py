"""`build_forward` computes what the models do, without them."""

import dataclasses

import jax
import numpy as np
import pytest

from scmultimodal import build_forward
from scmultimodal.modules.heads.accessibility import ScorerConfig
from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.schemas.modality import Modality
from scmultimodal.tasks.region_ranking import RegionRanking, RegionRankingConfig
from scmultimodal.weights.genome_model import GenomeModelConfig
from scmultimodal.workflows import genome_inference, trained
from tests import builders


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    store = builders.counts_store(tmp_path_factory.mktemp("store") / "a")
    head = CellTypeHeadConfig(num_classes=3, hidden=(4,))
    return builders.random_cell_model(store, num_layers=1, head=head)


def test_a_cell_model_says_the_same(stored):
    batch = builders.cell_batch(num_genes=40)
    forward = build_forward(stored.config)
    outputs, state = forward.apply(stored.params, stored.network_state, None, batch)
    told = {
        "cells": trained.embed_function(stored)(batch),
        "logits": trained.logits_function(stored)(batch),
    }
    for name, expected in told.items():
        np.testing.assert_allclose(getattr(outputs, name), expected, atol=1e-6)
    for modality in Modality:
        shares = trained.shares_function(stored, modality)(batch)
        found = np.exp(outputs.log_shares[modality])
        np.testing.assert_allclose(found, shares, rtol=1e-5)
    assert outputs.tokens.shape == (6, 40, 8)
    assert jax.tree.structure(state) == jax.tree.structure(stored.network_state)


def test_heads_that_are_left_out_say_nothing_and_have_no_parameters(stored):
    config = dataclasses.replace(stored.config, head=None, classes=(), decoder=None)
    batch = builders.cell_batch(num_genes=40, modalities=("rna",))
    forward = build_forward(config)
    params, state = forward.init(jax.random.PRNGKey(0), batch)
    assert {name.split("/")[0] for name in params} == {"cell_encoder"}
    assert not [name for name in params if "atac" in name]
    outputs, _ = forward.apply(params, state, None, batch)
    assert outputs.logits is outputs.log_shares is None
    assert outputs.cells.shape == (6, 8)


def test_fresh_parameters_have_the_names_and_shapes_of_stored_ones(stored):
    batch = builders.cell_batch(num_genes=40)
    params, _ = build_forward(stored.config).init(jax.random.PRNGKey(0), batch)
    shapes = jax.tree.map(np.shape, params)
    assert shapes == {n: jax.tree.map(np.shape, stored.params[n]) for n in params}


def test_a_segmenter_says_the_same():
    model = builders.segmenter_model()
    token_ids = np.random.default_rng(0).integers(6, 22, (3, 61)).astype(np.int32)
    token_ids[:, 0] = 3
    outputs = build_forward(model.config).apply(model.params, None, token_ids)
    yes = jax.nn.softmax(outputs.elements)[..., 1]
    expected = genome_inference.segment(model, token_ids)
    np.testing.assert_allclose(yes, expected, atol=1e-5)
    assert outputs.scores is None


def test_a_scorer_says_the_same():
    encoder = builders.dna_encoder_config()
    scorer = ScorerConfig(name="linear")
    batch = builders.region_batch(num_spans=2)
    task = RegionRanking(RegionRankingConfig(encoder=encoder, scorer=scorer))
    params, state = task.init(jax.random.PRNGKey(1), batch)
    config = GenomeModelConfig(encoder=encoder, k=2, scorer=scorer, num_tokens=12)
    token_ids = batch.token_ids.reshape(6, 12)
    outputs = build_forward(config).apply(params, None, token_ids)
    expected = task.predict(params, state, batch).reshape(6, -1)
    np.testing.assert_allclose(outputs.scores, expected, atol=1e-6)
    assert outputs.elements is None
    assert outputs.embeddings.shape == (6, 12, 8)
