"""The folder of a training: what it says of a batch that broke a step."""

import json

import numpy as np
import pytest

from scmultimodal.training.run_folder import RunFolder
from tests import builders


@pytest.mark.parametrize(
    ("batch", "index"),
    [
        (builders.cell_batch(num_cells=3), "cell_index"),
        (builders.region_batch(num_spans=3), "span_index"),
    ],
)
def test_a_batch_is_listed_under_the_name_of_its_index(tmp_path, batch, index):
    batch = batch.replace(**{index: np.array([40, 7, -1], np.int32)})
    path = RunFolder(tmp_path, {}).report_batch(5, lambda step: batch, "diverged")
    assert path.name == "diverged_step_5.json"
    assert json.loads(path.read_text()) == {"step": 5, index: [40, 7, -1]}


@pytest.mark.parametrize("batch", [builders.token_batch(), np.zeros(3)])
def test_a_batch_without_an_index_leaves_nothing(tmp_path, batch):
    assert (
        RunFolder(tmp_path, {}).report_batch(5, lambda step: batch, "diverged") is None
    )
    assert not list(tmp_path.iterdir())


def test_a_batch_that_cannot_be_listed_does_not_hide_what_it_broke(tmp_path):
    (tmp_path / "run").write_text("no folder")
    folder = RunFolder(tmp_path / "run", {})
    assert folder.report_batch(5, lambda _: builders.region_batch(), "diverged") is None
