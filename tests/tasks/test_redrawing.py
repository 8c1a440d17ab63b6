"""Random features that are drawn anew: in training, by every task of cells."""

import jax
import numpy as np
import pytest

from scmultimodal.modules.heads.cell_type import CellTypeHeadConfig
from scmultimodal.tasks.cell_type import CellTypeClassification, CellTypeConfig
from scmultimodal.tasks.masked_reconstruction import (
    MaskedReconstruction,
    MaskedReconstructionConfig,
)
from tests import builders
from tests.tasks.whole import compiled

pytestmark = pytest.mark.usefixtures("lightly_compiled")

RNG = jax.random.PRNGKey(5)
ENCODER = builders.encoder_config(12, num_layers=1, redraw_every=1)
TASKS = [
    MaskedReconstruction(MaskedReconstructionConfig(encoder=ENCODER, mask_share=0.4)),
    CellTypeClassification(
        CellTypeConfig(
            encoder=ENCODER, head=CellTypeHeadConfig(num_classes=3, hidden=(4,))
        )
    ),
]


@pytest.mark.parametrize("task", [compiled(task) for task in TASKS])
def test_random_features_change_in_training_and_stay_in_evaluation(task):
    cells = builders.cell_batch(num_genes=12, num_classes=3)
    params, fresh = task.init(jax.random.PRNGKey(0), cells)

    def after(state, *, is_training):
        loss = task.loss(params, state, RNG, cells, is_training=is_training)
        return loss[1][0]

    used = after(fresh, is_training=True)
    trained, judged = (after(used, is_training=how) for how in (True, False))
    for name, leaves in used.items():
        before = leaves["projection"]
        assert not np.array_equal(trained[name]["projection"], before), name
        np.testing.assert_array_equal(judged[name]["projection"], before, name)
