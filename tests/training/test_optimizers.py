import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.schemas.errors import InputError
from scmultimodal.training.optimizers import (
    OptimizerConfig,
    build_optimizer,
    build_schedule,
    describe,
    shorten_warmup,
    trainable,
)

PARAMS = {
    "trunk/first": {"w": jnp.full((2, 3), 2.0), "b": jnp.full(3, 2.0)},
    "trunk/stack": {"w": jnp.full((4, 2, 3), 2.0), "scale": jnp.full((4, 3), 2.0)},
    "head": {"w": jnp.full((3, 1), 2.0)},
}
# b1 and b2 are exact in float32, so that the bias corrections are.
BY_HAND = {"decay": "constant", "learning_rate": 0.1, "b1": 0.5, "b2": 0.75}


def updates_of(config, gradient):
    optimizer = build_optimizer(config, PARAMS, 10)
    return optimizer.update(gradient, optimizer.init(PARAMS), PARAMS)[0]


def test_first_update_of_adamw_by_hand():
    # Adam's first step is ±learning rate; the decay of a matrix adds rate · wd · w.
    config = OptimizerConfig(weight_decay=0.01, eps=1e-12, **BY_HAND)
    updates = updates_of(config, jax.tree.map(jnp.ones_like, PARAMS))
    np.testing.assert_allclose(updates["trunk/first"]["w"], -0.1 * (1 + 0.02), 1e-6)
    np.testing.assert_allclose(updates["trunk/first"]["b"], -0.1, 1e-6)
    # A stacked LayerNorm scale has two axes and is a vector of each layer all the same.
    np.testing.assert_allclose(updates["trunk/stack"]["scale"], -0.1, 1e-6)
    np.testing.assert_allclose(updates["trunk/stack"]["w"], -0.102, 1e-6)


def test_decay_of_vectors_is_an_option():
    config = OptimizerConfig(weight_decay=0.01, decay_vectors=True, **BY_HAND)
    updates = updates_of(config, jax.tree.map(jnp.ones_like, PARAMS))
    np.testing.assert_allclose(updates["trunk/first"]["b"], -0.102, 1e-6)


def test_rates_freeze_and_multiply():
    config = OptimizerConfig(
        weight_decay=0.5,
        rates=(("trunk.*/b", 0.1), ("trunk.*", 0.0), (".*", 2.0)),
        **BY_HAND,
    )
    updates = updates_of(config, jax.tree.map(jnp.ones_like, PARAMS))
    np.testing.assert_allclose(updates["trunk/first"]["b"], -0.01, 1e-6)
    np.testing.assert_allclose(updates["head"]["w"], -0.1 * 2 * (1 + 1.0), 1e-6)
    for array in (updates["trunk/first"]["w"], *updates["trunk/stack"].values()):
        assert not np.any(array)
    moves = trainable(config, PARAMS)
    assert moves["trunk/first"] == {"w": False, "b": True}
    assert moves["trunk/stack"] == {"w": False, "scale": False}
    assert moves["head"] == {"w": True}


def test_frozen_parameters_have_no_moments():
    def arrays(config):
        state = build_optimizer(config, PARAMS, 10).init(PARAMS)
        return sum(leaf.size for leaf in jax.tree.leaves(state) if leaf.ndim)

    frozen = OptimizerConfig(rates=(("trunk.*", 0.0), (".*", 1.0)))
    assert arrays(frozen) == 2 * 3
    assert arrays(OptimizerConfig()) == 2 * (6 + 3 + 24 + 12 + 3)


def test_frozen_gradients_do_not_count_in_the_clipping():
    config = OptimizerConfig(
        weight_decay=0.0,
        eps=1.0,
        clip_norm=1.0,
        rates=(("trunk.*", 0.0), (".*", 1.0)),
        **BY_HAND,
    )
    gradient = jax.tree.map(lambda p: jnp.full_like(p, 100.0), PARAMS)
    gradient["head"]["w"] = jnp.array([[3.0], [0.0], [4.0]])
    # Clipped to (0.6, 0, 0.8); with eps = 1 Adam's first step is g / (|g| + 1).
    expected = -0.1 * np.array([[0.6 / 1.6], [0.0], [0.8 / 1.8]])
    np.testing.assert_allclose(
        updates_of(config, gradient)["head"]["w"], expected, rtol=1e-6
    )


def test_agrees_with_optax_adamw_over_many_steps():
    config = OptimizerConfig(
        learning_rate=0.05, weight_decay=0.1, decay_vectors=True, clip_norm=1e9
    )
    ours = build_optimizer(config, PARAMS, 20)
    theirs = optax.adamw(optax.cosine_decay_schedule(0.05, 20), weight_decay=0.1)
    mine, other = PARAMS, PARAMS
    our_state, their_state = ours.init(PARAMS), theirs.init(PARAMS)
    for step in range(20):
        gradient = jax.tree.map(lambda p, s=step: jnp.sin(p + s), mine)
        updates, our_state = ours.update(gradient, our_state, mine)
        mine = optax.apply_updates(mine, updates)
        gradient = jax.tree.map(lambda p, s=step: jnp.sin(p + s), other)
        updates, their_state = theirs.update(gradient, their_state, other)
        other = optax.apply_updates(other, updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5), mine, other)


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        ("constant", [1, 2, 3, 4, 4, 4, 4, 4]),
        ("linear", [1, 2, 3, 4, 4, 3.25, 2.5, 1.75]),
        ("cosine", [1, 2, 3, 4, 4, 4 - 3 * 0.14644661, 2.5, 1 + 3 * 0.14644661]),
    ],
)
def test_schedule_by_hand(decay, expected):
    config = OptimizerConfig(
        learning_rate=4.0, warmup_steps=4, decay=decay, final_fraction=0.25
    )
    schedule = build_schedule(config, 8)
    rates = [float(schedule(step)) for step in range(8)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


@given(
    num_steps=st.integers(2, 50),
    share=st.floats(0, 0.99),
    decay=st.sampled_from(["constant", "linear", "cosine"]),
    floor=st.floats(0, 1),
)
def test_no_update_is_spent_on_rate_zero(num_steps, share, decay, floor):
    config = OptimizerConfig(
        learning_rate=1.0,
        warmup_steps=int(share * num_steps),
        decay=decay,
        final_fraction=floor,
    )
    # One shape for all examples, so that jax compiles once.
    rates = np.asarray(build_schedule(config, num_steps)(np.arange(50)))[:num_steps]
    assert np.all(rates > 0)
    assert np.all(rates <= 1 + 1e-6)
    peak = config.warmup_steps
    assert np.all(np.diff(rates[:peak]) > 0)
    assert np.all(np.diff(rates[peak:]) <= 1e-6)


@pytest.mark.parametrize(
    ("rates", "names"),
    [
        ((("trunk.*", 1.0),), "head/w"),
        (((".*", 1.0), ("decoder.*", 0.0)), "decoder"),
        # A later rule that an earlier one covers is a mistake in the order.
        (((".*", 1.0), ("head.*", 10.0)), "head"),
        # A regex matches the whole path, so that "head" alone is not "head/w".
        ((("head", 1.0), (".*", 1.0)), "'head'"),
    ],
)
def test_rules_that_leave_a_parameter_or_nothing_are_named(rates, names):
    with pytest.raises(InputError, match=names):
        build_optimizer(OptimizerConfig(rates=rates), PARAMS, 10)


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
        {"warmup_steps": -1},
        {"final_fraction": 1.5},
        {"b2": 1.0},
        {"clip_norm": 0.0},
        {"rates": ()},
        {"rates": ((".*", -1.0),)},
    ],
)
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(InputError) as error:
        OptimizerConfig(**wrong)
    assert error.value.source == f"OptimizerConfig.{next(iter(wrong))}"


def test_warmup_must_end():
    with pytest.raises(InputError, match="10 in a training of 10 steps"):
        build_schedule(OptimizerConfig(warmup_steps=10), 10)


def test_table_of_groups():
    config = OptimizerConfig(rates=(("trunk.*", 0.0), (".*", 2.0)), learning_rate=0.1)
    _, trunk, head = describe(PARAMS, config).splitlines()
    assert trunk.split() == ["trunk.*", "4", "45", "frozen"]
    assert head.split() == [".*", "1", "3", "0.2"]


def test_a_warm_up_gives_way_to_a_short_training():
    config = OptimizerConfig(warmup_steps=20)
    assert shorten_warmup(config, 200) == config
    assert shorten_warmup(config, 10).warmup_steps == 2
    assert shorten_warmup(config, 1).warmup_steps == 0
