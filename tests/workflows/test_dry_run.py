"""A dry run: what it says, and that it starts nothing."""

import re
import typing

import jax
import pytest

from experiments import train
from scmultimodal.training.config import ParallelName, RunningConfig
from scmultimodal.training.optimizers import OptimizerConfig
from scmultimodal.workflows import dry_run
from tests.regression import RegressionTask, regression_batch

SMALL = [
    *("--data.dataset", "simulated", "--batch-size", "8", "--path.dim", "16"),
    *("--path.num-layers", "1", "--path.num-heads", "2", "--path.key-size", "8"),
    *("--steps", "100"),
]


@pytest.mark.parametrize("name", typing.get_args(ParallelName))
def test_a_plan_by_hand(name):
    plan = dry_run.plan(
        RegressionTask(),
        regression_batch(0),
        optimizer=OptimizerConfig(skip_spikes=10.0),
        running=RunningConfig(parallel=name, microbatches=2),
        steps=30,
        average=1e7,
        steps_per_epoch=4.0,
    )
    # Weights [3, 4], biases [4], weights [4].
    assert plan.parameters == {"net/first": 16, "net/second": 4}
    assert (plan.batch, plan.devices, plan.hosts) == (8, jax.device_count(), 1)
    # Parameters, two moments, state and window, and eight rows of seven numbers.
    assert 3 * 20 * 4 < plan.bytes["state and batch"] < 3 * 20 * 4 + 1_000
    # Forward: of x with [3, 4], of that with [4], and of the weights with |x|.
    assert plan.flop == 3 * 1e7 * 2 * 8 * (3 * 4 + 4 + 3)
    expected = plan.flop / plan.devices / (0.8 * plan.product_flop_per_second)
    assert plan.seconds_per_step == pytest.approx(expected)
    text = dry_run.format_plan(plan)
    assert "8 rows" in text
    assert "in 2 part(s)" in text
    assert "9.1 GFLOP" in text


def test_a_study_says_what_it_would_take_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "run"
    command = ["cell_model.pretraining", "--out", str(out), *SMALL, "--dry-run"]
    assert train.main(command) == 0
    shown = capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    total = re.search(r"^parameters +([\d,]+)$", shown, re.MULTILINE)[1]
    total = int(total.replace(",", ""))
    for words in ("rna_performer", "expected time of an epoch", "memory of a device"):
        assert words in shown
    parts = re.findall(r"^parameters, \S+ +([\d,]+)$", shown, re.MULTILINE)
    assert sum(int(part.replace(",", "")) for part in parts) == total
    # Projections, feed-forward block, their biases, two norms; and the final norm.
    inner, hidden = 2 * 8, 2 * 16
    layer = 4 * 16 * inner + 16 + 2 * 16 * hidden + hidden + 16 + 4 * 16
    of_path = re.search(r"rna_performer +([\d,]+)$", shown, re.MULTILINE)[1]
    assert int(of_path.replace(",", "")) == layer + 2 * 16
