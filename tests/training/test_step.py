import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scmultimodal.training import parallel
from scmultimodal.training.optimizers import OptimizerConfig, build_optimizer
from scmultimodal.training.state import begin
from scmultimodal.training.step import merge, split
from tests.regression import RegressionTask, regression_batch


class Line:
    """y = slope · x: whose gradient fits on a line of paper."""

    def init(self, rng, batch):
        return {"line": {"slope": jnp.zeros(())}}, {}

    def loss(self, params, network_state, rng, batch, *, is_training):
        error = params["line"]["slope"] * batch.x[:, 0] - batch.y
        total, weight = (batch.weight * error**2).sum(), batch.weight.sum()
        return (total, weight), (network_state, {"error": (error.sum(), weight)})


def state_of(task, optimizer, batch):
    params, network_state = task.init(jax.random.PRNGKey(1), batch)
    return begin(params, network_state, optimizer, jax.random.PRNGKey(2))


def run(task, optimizer, batches, trainable=None):
    """Host state before, host state after, host metrics of the last step."""
    before = state_of(task, optimizer, batches[0])
    over = parallel.Mapped(jax.devices()[:1])
    step = over.train_step(task, optimizer, trainable=trainable)
    state = over.replicate(before)
    for batch in batches:
        state, metrics = step(state, over.place(batch))
    return before, over.unreplicate(state), over.unreplicate(metrics)


def test_update_by_hand():
    batch = regression_batch(0, rows=3, features=1).replace(
        x=np.array([[1.0], [2.0], [9.0]], np.float32),
        y=np.array([1.0, 4.0, 9.0], np.float32),
        weight=np.array([1.0, 3.0, 0.0], np.float32),
    )
    _, state, metrics = run(Line(), optax.sgd(0.5), [batch])
    # loss = (1·1 + 3·16) / 4; gradient = (1·2·1·(−1) + 3·2·2·(−4)) / 4 = −12.5
    assert metrics["loss"] == (49.0, 4.0)
    assert metrics["grad_norm"] == (12.5, 1.0)
    assert metrics["error"] == (-14.0, 4.0)
    assert state.params["line"]["slope"] == 6.25
    assert state.step == 1


def test_the_running_mean_by_hand():
    """It starts at the parameters, and is as fast as (1 + t) / (10 + t) at first."""
    batch = regression_batch(0, rows=1, features=1).replace(
        x=np.ones((1, 1), np.float32), y=np.ones(1, np.float32)
    )
    task, optimizer = Line(), optax.sgd(0.25)
    over = parallel.Mapped(jax.devices()[:1])
    step = over.train_step(task, optimizer, average=0.15)
    state = begin(
        *task.init(None, batch), optimizer, jax.random.PRNGKey(0), average=0.15
    )
    state = over.replicate(jax.device_get(state))
    mean = slope = float(over.unreplicate(state).params["line"]["slope"])
    for decay in (1 / 10, 0.15, 0.15):
        state, _ = step(state, over.place(batch))
        now = over.unreplicate(state)
        slope += 0.25 * 2 * (1 - slope)
        mean = decay * mean + (1 - decay) * slope
        np.testing.assert_allclose(now.params["line"]["slope"], slope, rtol=1e-6)
        np.testing.assert_allclose(now.averaged["line"]["slope"], mean, rtol=1e-6)
        assert now.judged is now.averaged


@pytest.mark.parametrize(
    ("change", "norm"),
    [
        ({"weight": np.zeros(8, np.float32)}, 0.0),
        ({"y": np.full(8, np.nan, np.float32)}, np.nan),
        ({"y": np.full(8, 1e30, np.float32)}, np.nan),
    ],
    ids=["empty", "nan", "overflow"],
)
def test_nothing_moves_without_weight_or_with_a_loss_that_is_not_finite(change, norm):
    optimizer = optax.adamw(0.1)
    good = regression_batch(0)
    _, once, _ = run(RegressionTask(), optimizer, [good])
    _, twice, metrics = run(RegressionTask(), optimizer, [good, good.replace(**change)])
    assert twice.step == 2
    jax.tree.map(np.testing.assert_array_equal, once.replace(step=twice.step), twice)
    if norm == 0.0:
        assert metrics["loss"] == (0.0, 0.0)
        assert metrics["grad_norm"] == (0.0, 0.0)
    else:
        assert not np.isfinite(metrics["loss"][0])


def test_frozen_parameters_do_not_move():
    params, _ = RegressionTask().init(jax.random.PRNGKey(1), regression_batch(0))
    config = OptimizerConfig(
        learning_rate=0.1, rates=((".*first/w", 0.0), (".*", 1.0)), weight_decay=0.5
    )
    optimizer = build_optimizer(config, params, 10)
    mask = jax.tree.map(lambda _: True, params)
    mask["net/first"]["w"] = False
    batches = [regression_batch(seed) for seed in range(3)]
    before, after, metrics = run(RegressionTask(), optimizer, batches, mask)
    first, old = after.params["net/first"], before.params["net/first"]
    np.testing.assert_array_equal(first["w"], old["w"])
    assert np.all(first["b"] != old["b"])
    assert np.all(after.params["net/second"]["w"] != before.params["net/second"]["w"])
    # The same path without the mask: only the cost, and the reported norm, differ.
    _, whole, other = run(RegressionTask(), optimizer, batches)
    jax.tree.map(np.testing.assert_array_equal, after.params, whole.params)
    assert other["grad_norm"][0] > metrics["grad_norm"][0] > 0


def test_no_gradient_is_computed_for_frozen_parameters():
    class Guarded(RegressionTask):
        def loss(self, params, *arguments, **keywords):
            params = {**params, "net/first": jax.tree.map(refuse, params["net/first"])}
            return super().loss(params, *arguments, **keywords)

    @jax.custom_vjp
    def refuse(x):
        return x

    def backward(_, gradient):
        raise AssertionError("a frozen parameter was differentiated")

    refuse.defvjp(lambda x: (x, None), backward)
    mask = {"net/first": {"w": False, "b": False}, "net/second": {"w": True}}
    run(Guarded(), optax.sgd(0.1), [regression_batch(0)], mask)
    with pytest.raises(AssertionError, match="differentiated"):
        run(Guarded(), optax.sgd(0.1), [regression_batch(0)])


def test_randomness_differs_by_step_alone():
    batch = regression_batch(0)
    still = optax.set_to_zero()
    losses = [
        run(RegressionTask(), still, [batch] * steps)[2]["loss"][0]
        for steps in (1, 1, 2)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_network_state_counts_and_rests():
    _, state, _ = run(RegressionTask(), optax.sgd(0.1), [regression_batch(0)] * 3)
    assert state.network_state["net"]["calls"] == 3
    np.testing.assert_array_equal(state.network_state["net"]["fixed"], np.float32(0.1))


def test_split_and_merge_are_inverse():
    params = {"a": {"w": 1, "b": 2}, "c": {"w": 3}}
    moving, frozen = split(params, {"a": {"w": True, "b": False}, "c": {"w": True}})
    assert jax.tree.leaves(moving) == [1, 3]
    assert jax.tree.leaves(frozen) == [2]
    assert merge(moving, frozen) == params
    assert merge(*split(params, None)) == params
