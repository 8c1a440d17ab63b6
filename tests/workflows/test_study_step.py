"""One training step of the model at the study's size."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import sparse

from scmultimodal.data.loading import BatchBuilder
from scmultimodal.data.sources import ArraySource
from scmultimodal.modules.cell_encoder import CellEncoderConfig
from scmultimodal.schemas.modality import Regime
from scmultimodal.singlecell import recipe
from scmultimodal.singlecell.normalization import column_medians
from scmultimodal.tasks.masked_reconstruction import (
    MaskedReconstruction,
    MaskedReconstructionConfig,
)
from scmultimodal.training import loop
from scmultimodal.workflows import presets

CELLS, GENES = 2, 10_733  # SPEC 2.1


def bins(depth: int, seed: int) -> sparse.csr_matrix:
    """Bins 0…5 of made-up counts, by the recipe of SPEC 2.2."""
    rng = np.random.default_rng(seed)
    rates = rng.lognormal(sigma=1.5, size=(1, GENES))
    counts = rng.poisson(depth * rates / rates.sum(), size=(CELLS, GENES))
    counts = sparse.csr_matrix(counts.astype(np.int32))
    total = presets.STUDY.recipe.target_sum
    return recipe.bin_counts(
        counts,
        unit=1.0,
        target_sum=total,
        medians=column_medians(recipe.log_normalize(counts, total)),
        strategy="gene_normalized",
        num_bins=5,
    )


@pytest.mark.long
def test_the_study_preset_takes_a_step_that_moves_both_paths(tmp_path):
    config = presets.STUDY.pretrain
    task = MaskedReconstruction(
        MaskedReconstructionConfig(
            encoder=CellEncoderConfig(num_genes=GENES, path=config.path),
            mask_share=config.mask_share,
            replaced_share=config.replaced_share,
        )
    )
    source = ArraySource(rna=bins(5_000, 0), atac=bins(10_000, 1))
    builder = BatchBuilder(
        source, GENES, tokens=config.tokens, feature_order=config.feature_order
    )
    batch = builder.build(np.arange(CELLS), Regime.MULTIOME)
    assert batch.rna.shape == batch.atac.shape == (CELLS, GENES)
    before = jax.jit(task.init)(jax.random.PRNGKey(0), batch)
    result = loop.fit(
        task,
        train_batches=lambda step, share: batch,
        config=loop.LoopConfig(num_steps=1),
        folder=tmp_path,
        # The warm-up of the study is longer than this training.
        optimizer=dataclasses.replace(config.optimizer, warmup_steps=0),
        initial=before,
    )
    (record,) = result.history
    assert np.isfinite([record["loss"], record["grad_norm"]]).all()
    for module, old in before[0].items():
        for name, value in old.items():
            moved = result.state.params[module][name] - np.asarray(value)
            assert np.isfinite(moved).all(), f"{module}/{name}"
            assert np.any(moved), f"{module}/{name} rests"
    modules = set(before[0])
    for path in ("rna", "atac"):
        assert f"cell_encoder/{path}_performer/layer_5" in modules
    for module, old in before[1].items():
        for name, value in old.items():
            np.testing.assert_array_equal(
                result.state.network_state[module][name], value
            )
