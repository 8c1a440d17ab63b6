import dataclasses
import json
import re
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scmultimodal.schemas.errors import (
    InputError,
    PreemptedError,
    TrainingDivergedError,
)
from scmultimodal.training.checkpoints import CheckpointManager
from scmultimodal.training.config import LoopConfig, RunningConfig
from scmultimodal.training.loop import fit
from scmultimodal.training.metrics import read_metrics
from scmultimodal.training.optimizers import OptimizerConfig
from tests.builders import records_without_times
from tests.regression import RegressionTask, regression_batch

OPTIMIZER = OptimizerConfig(learning_rate=0.05, warmup_steps=2)
# The largest loss is the first, so that a resume must remember a best of long ago.
CONFIG = LoopConfig(
    num_steps=12, evaluate_every=5, checkpoint_every=4, log_every=3, keep_best="loss"
)


class Killed(Exception):  # noqa: N818
    pass


def train(folder, *, config=CONFIG, batches=regression_batch, **keywords):
    keywords = {"optimizer": OPTIMIZER, "run_config": {"data": "toy"}} | keywords
    return fit(
        RegressionTask(),
        train_batches=lambda step, share: batches(step),
        validation_batches=lambda share: [regression_batch(s) for s in (100, 101)],
        config=config,
        folder=folder,
        **keywords,
    )


def stopping_at(step, how):
    def batches(asked):
        if asked == step:
            how()
        return regression_batch(asked)

    return batches


def kill():
    raise Killed


def assert_same_run(result, other, folder, other_folder):
    assert jax.tree.structure(result.state) == jax.tree.structure(other.state)
    jax.tree.map(np.testing.assert_array_equal, result.state, other.state)
    assert result.best_step == other.best_step
    assert records_without_times(folder) == records_without_times(other_folder)
    assert [r["step"] for r in result.history] == [r["step"] for r in other.history]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return train(folder), folder


def test_learns_and_records(undisturbed):
    result, folder = undisturbed
    assert result.state.step == 12
    steps = {
        split: [r["step"] for r in result.history if r["split"] == split]
        for split in ("train", "validation")
    }
    assert steps == {"train": [3, 6, 9, 12], "validation": [5, 10, 12]}
    losses = [r["loss"] for r in result.history if r["split"] == "validation"]
    assert losses[-1] < losses[0]
    assert result.best_step == steps["validation"][np.argmax(losses)] == 5
    assert result.history == read_metrics(folder / "metrics.jsonl")
    kept = sorted(int(path.name) for path in (folder / "checkpoints").iterdir())
    assert kept == [4, 8, 12]
    metadata = json.loads((folder / "checkpoints/8/metadata.json").read_text())
    assert metadata["step"] == 8
    assert metadata["config"]["run"] == {"data": "toy"}
    assert metadata["config"]["optimizer"]["learning_rate"] == 0.05
    assert metadata["versions"]["jax"] == jax.__version__


def test_a_training_record_is_the_weighted_mean_of_its_steps(tmp_path):
    # With a rate of next to nothing the parameters are those of the start.
    still = OptimizerConfig(learning_rate=1e-30)
    config = LoopConfig(num_steps=3, log_every=3)
    result = train(tmp_path, config=config, optimizer=still)
    task, params, total, weight = RegressionTask(), result.state.params, 0.0, 0.0
    for step in range(3):
        rng = jax.random.fold_in(result.state.rng, step)
        loss, _ = task.loss(
            params,
            result.state.network_state,
            rng,
            regression_batch(step),
            is_training=True,
        )
        total, weight = total + float(loss[0]), weight + float(loss[1])
    np.testing.assert_allclose(result.history[0]["loss"], total / weight, rtol=1e-5)
    assert "by_feature" not in result.history[0]


# 2: before the first checkpoint. 11: after a validation, newer than the checkpoint.
@pytest.mark.parametrize("step", [2, 11])
def test_killed_and_resumed_equals_undisturbed(undisturbed, tmp_path, step):
    with pytest.raises(Killed):
        train(tmp_path, batches=stopping_at(step, kill))
    assert not (tmp_path / "checkpoints/12").exists()
    result = train(tmp_path)
    assert_same_run(result, undisturbed[0], tmp_path, undisturbed[1])


@pytest.mark.parametrize(
    ("number", "kind"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, PreemptedError)],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_interrupted_and_resumed_equals_undisturbed(
    undisturbed, tmp_path, number, kind, asynchronous
):
    def interrupt():
        signal.raise_signal(number)

    running = RunningConfig(asynchronous_saves=asynchronous)
    said = r"stopped after step (\d+) of 12; the checkpoint is saved"
    with pytest.raises(kind, match=said) as error:
        train(tmp_path, batches=stopping_at(6, interrupt), running=running)
    # The step is wherever the signal fell, whether a checkpoint was due or not.
    step = int(re.match(said, str(error.value))[1])
    assert step < 12
    assert (tmp_path / f"checkpoints/{step}/manifest.json").exists()
    assert not [t for t in threading.enumerate() if t.name == "prefetch"]
    result = train(tmp_path, running=running)
    assert_same_run(result, undisturbed[0], tmp_path, undisturbed[1])


def test_where_every_step_is_saved_it_stops_all_the_same(tmp_path):
    """There no metrics are late, and what was asked comes with those of the step."""
    config = LoopConfig(num_steps=30, checkpoint_every=1)
    asking = stopping_at(3, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(PreemptedError, match="of 30"):
        train(tmp_path, config=config, batches=asking)


def test_a_finished_run_is_not_trained_again(undisturbed):
    result, folder = undisturbed
    before = (folder / "metrics.jsonl").read_text()
    again = train(folder, batches=stopping_at(13, kill))
    assert_same_run(again, result, folder, folder)
    assert (folder / "metrics.jsonl").read_text() == before


def test_a_damaged_checkpoint_is_not_resumed(undisturbed, tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, batches=stopping_at(6, kill))
    path = next((tmp_path / "checkpoints/4/state/d").iterdir())
    broken = bytearray(path.read_bytes())
    broken[len(broken) // 2] ^= 1
    path.write_bytes(broken)
    with pytest.raises(InputError, match=path.name):
        train(tmp_path)


@pytest.mark.parametrize(
    ("keywords", "names"),
    [
        ({"run_config": {"data": "other"}}, r"run\.data = 'toy', not 'other'"),
        (
            {"optimizer": OptimizerConfig(learning_rate=1.0)},
            "learning_rate = 0.05",
        ),
        ({"config": LoopConfig(num_steps=12, seed=1)}, "seed = 0, not 1"),
        ({"config": LoopConfig(num_steps=99)}, "num_steps = 12, not 99"),
        ({"config": LoopConfig(num_steps=12, resume="never")}, "resume is 'never'"),
    ],
)
def test_another_run_does_not_go_on_in_the_folder(undisturbed, keywords, names):
    before = (undisturbed[1] / "metrics.jsonl").read_text()
    with pytest.raises(InputError, match=names):
        train(undisturbed[1], **keywords)
    assert (undisturbed[1] / "metrics.jsonl").read_text() == before


def test_nan_stops_loudly_and_keeps_the_last_good_checkpoint(tmp_path):
    def batches(step):
        batch = regression_batch(step)
        return batch.replace(y=batch.y * np.float32(np.nan)) if step == 6 else batch

    with pytest.raises(TrainingDivergedError, match="step 6: loss nan") as error:
        train(tmp_path, batches=batches)
    assert error.value.step == 6
    report = json.loads((tmp_path / "diverged_step_6.json").read_text())
    assert report == {"step": 6, "cell_index": list(range(600, 608))}
    assert str(tmp_path / "diverged_step_6.json") in str(error.value)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["4"]
    # The good checkpoint is good: with sound batches the run goes on.
    assert train(tmp_path).state.step == 12


def test_nan_in_the_last_step_is_not_saved(tmp_path):
    def batches(step):
        batch = regression_batch(step)
        return batch.replace(y=batch.y * np.float32(np.nan)) if step == 11 else batch

    with pytest.raises(TrainingDivergedError, match="step 11"):
        train(tmp_path, batches=batches)
    assert not (tmp_path / "checkpoints/12").exists()


def test_a_spike_is_skipped_and_its_batch_listed(tmp_path):
    """Neither parameters nor moments see it; all other steps are as they were."""
    spike_at = 70

    def batches(step, spike=1e3):
        batch = regression_batch(step % 7)
        return batch.replace(y=spike * batch.y) if step == spike_at else batch

    optimizer = dataclasses.replace(OPTIMIZER, skip_spikes=10.0)
    config = LoopConfig(num_steps=75, log_every=1)
    keywords = {"config": config, "optimizer": optimizer}
    guarded = train(tmp_path / "guarded", batches=batches, **keywords)
    skipped = [r["step"] for r in guarded.history if r.get("skipped")]
    assert skipped == [spike_at + 1]

    def without(step):  # A batch without weight moves nothing either.
        batch = regression_batch(step % 7)
        empty = batch.replace(weight=np.zeros_like(batch.weight))
        return empty if step == spike_at else batch

    expected = train(tmp_path / "without", batches=without, **keywords)
    for part in ("params", "opt_state", "network_state"):
        jax.tree.map(
            np.testing.assert_array_equal,
            getattr(guarded.state, part),
            getattr(expected.state, part),
        )


@pytest.mark.parametrize(
    "how", [{"microbatches": 4}, {"parallel": "jit"}, {"parallel": "fsdp"}]
)
def test_how_it_runs_changes_nothing_that_is_learned(undisturbed, tmp_path, how):
    result = train(tmp_path, running=RunningConfig(**how))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        result.state.params,
        undisturbed[0].state.params,
    )


def test_microbatches_that_do_not_divide_a_batch_are_named(tmp_path):
    with pytest.raises(InputError, match="microbatches: are 3, and a device has 8"):
        train(tmp_path, running=RunningConfig(microbatches=3))


def test_returns_the_best_of_validation(tmp_path):
    class Valley(RegressionTask):
        def loss(self, params, network_state, rng, batch, *, is_training):
            (total, weight), (state, metrics) = super().loss(
                params, network_state, rng, batch, is_training=is_training
            )
            calls = network_state["net"]["calls"]
            metrics["valley"] = (jnp.square(calls - 6.0), jnp.ones(()))
            return (total, weight), (state, metrics)

    keywords = {
        "train_batches": lambda step, share: regression_batch(step),
        "validation_batches": lambda share: [regression_batch(100)],
    }
    config = LoopConfig(
        num_steps=9, evaluate_every=2, keep_best="valley", best_is="min"
    )
    result = fit(Valley(), config=config, folder=tmp_path / "right", **keywords)
    assert result.best_step == 6
    assert result.state.network_state["net"]["calls"] == 6
    assert result.state.step == 9
    config = LoopConfig(num_steps=1, keep_best="recall")
    with pytest.raises(InputError, match="'recall' is no metric"):
        fit(Valley(), config=config, folder=tmp_path / "wrong", **keywords)


def test_the_best_of_a_run_that_left_no_checkpoint_is_cleared(tmp_path):
    stale = CheckpointManager(tmp_path / "best")
    stale.save(99, {"a": np.zeros(1)}, {"step": 99, "value": 1e9})
    stale.close()
    config = LoopConfig(num_steps=3, keep_best="loss")
    assert train(tmp_path, config=config).best_step == 3


def test_best_needs_a_validation(tmp_path):
    config = LoopConfig(num_steps=2, keep_best="loss")
    with pytest.raises(InputError, match="there is no validation"):
        fit(
            RegressionTask(),
            train_batches=lambda step, share: regression_batch(step),
            config=config,
            folder=tmp_path,
        )
    assert not list(tmp_path.iterdir())


def test_starts_from_given_parameters_and_leaves_them_alone(tmp_path):
    params, state = RegressionTask().init(jax.random.PRNGKey(9), regression_batch(0))
    before = jax.tree.map(np.array, params)
    frozen = OptimizerConfig(
        learning_rate=0.1, rates=((".*first.*", 0.0), (".*", 1.0)), weight_decay=0.1
    )
    config = LoopConfig(num_steps=3)
    result = train(tmp_path, config=config, optimizer=frozen, initial=(params, state))
    jax.tree.map(np.testing.assert_array_equal, params, before)
    after = result.state.params
    jax.tree.map(np.testing.assert_array_equal, after["net/first"], before["net/first"])
    assert np.all(after["net/second"]["w"] != before["net/second"]["w"])


def test_the_seed_decides(undisturbed, tmp_path):
    result = train(tmp_path, config=LoopConfig(num_steps=3, seed=1))
    other = undisturbed[0].state
    assert np.any(result.state.rng != other.rng)
    weights = [s.params["net/second"]["w"] for s in (result.state, other)]
    assert np.all(weights[0] != weights[1])


def test_batches_may_differ_in_size_and_structure(tmp_path):
    def batches(step):
        batch = regression_batch(step, rows=4 + 4 * (step % 2))
        return batch.replace(absent=batch.y) if step % 2 else batch

    config = LoopConfig(num_steps=3)
    assert train(tmp_path, config=config, batches=batches).state.step == 3


def test_an_error_of_the_data_reaches_the_caller_and_threads_end(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, batches=stopping_at(2, kill))
    assert not [t for t in threading.enumerate() if t.name == "prefetch"]


@pytest.mark.parametrize(
    "wrong", [{"num_steps": 0}, {"evaluate_every": 0}, {"log_every": -1}]
)
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(InputError, match=f"LoopConfig.{next(iter(wrong))}"):
        LoopConfig(**({"num_steps": 1} | wrong))


def test_the_running_mean_is_what_is_judged_and_kept(tmp_path):
    """Also after a resume, and beside the best of the validations."""
    optimizer = dataclasses.replace(OPTIMIZER, average=0.9)
    whole = train(tmp_path / "whole", optimizer=optimizer)
    with pytest.raises(Killed):
        train(tmp_path / "cut", optimizer=optimizer, batches=stopping_at(9, kill))
    again = train(tmp_path / "cut", optimizer=optimizer)
    assert_same_run(again, whole, tmp_path / "cut", tmp_path / "whole")
    last = dataclasses.replace(CONFIG, keep_best=None)
    kept = train(tmp_path / "last", optimizer=optimizer, config=last)
    plain = train(tmp_path / "plain", config=last)
    equal = jax.tree.map(np.array_equal, kept.state.params, kept.state.averaged)
    assert all(jax.tree.leaves(equal))
    nearer = jax.tree.map(np.array_equal, kept.state.params, plain.state.params)
    assert not all(jax.tree.leaves(nearer))
    found = {
        name: [r["loss"] for r in result.history if r["split"] == "validation"]
        for name, result in (("kept", kept), ("plain", plain))
    }
    assert found["kept"] != found["plain"]
