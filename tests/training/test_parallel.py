import subprocess
import sys
import typing

import jax
import numpy as np
import pytest

from scmultimodal.schemas.errors import InputError
from scmultimodal.training import parallel
from scmultimodal.training.config import ParallelName
from scmultimodal.training.step import FINGERPRINT
from tests.regression import RegressionTask, regression_batch

VARIANTS = ("1", "3", "8", "8 in parts", "8 jit", "8 jit in parts", "8 fsdp")
"""Of `eight_devices`."""


@pytest.fixture(scope="module")
def eight_devices(tmp_path_factory):
    """What a child process with 8 forced devices saw: {variant: {name: array}}."""
    path = tmp_path_factory.mktemp("devices") / "seen.npz"
    subprocess.run(
        [sys.executable, "-m", "tests.training.eight_devices", path], check=True
    )
    seen = {}
    with np.load(path) as arrays:
        for key in arrays:
            variant, name = key.split("/", 1)
            seen.setdefault(variant, {})[name] = arrays[key]
    return seen


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "1"])
def test_one_device_equals_many(eight_devices, variant):
    one, many = eight_devices["1"], eight_devices[variant]
    assert one.keys() == many.keys()
    for name in one.keys() - {"collectives"}:
        np.testing.assert_allclose(many[name], one[name], 1e-5, 1e-6, err_msg=name)
        if "calls" in name or "fixed" in name or FINGERPRINT in name:
            np.testing.assert_array_equal(many[name], one[name], name)


@pytest.mark.parametrize("variant", ["8", "8 in parts"])
def test_one_all_reduce_per_step(eight_devices, variant):
    assert eight_devices[variant]["collectives"] == 1


def test_gradient_over_devices_by_an_independent_computation(eight_devices):
    task, batch = RegressionTask(width=8), regression_batch(0, rows=24)
    batch.weight[:6] = 0
    params, state = task.init(jax.random.PRNGKey(1), batch)
    key = jax.random.fold_in(jax.random.PRNGKey(2), 0)

    def mean(params):
        (total, weight), _ = task.loss(params, state, key, batch, is_training=True)
        return total / weight

    loss, gradient = jax.value_and_grad(mean)(params)
    seen = eight_devices["8"]
    total, weight = (seen[f"0/[2]['loss'][{i}]"] for i in (0, 1))
    np.testing.assert_allclose(total / weight, loss, 1e-6)
    expected = jax.tree.map(lambda p, g: p - 0.125 * g, params, gradient)
    for path, leaf in jax.tree_util.tree_leaves_with_path(expected):
        name = f"0/[0]{jax.tree_util.keystr(path)}"
        np.testing.assert_allclose(seen[name], leaf, 1e-5, 1e-6, err_msg=name)


def test_shard_deals_rows_out_in_order():
    sharded = parallel.shard(regression_batch(0, rows=6), 3)
    np.testing.assert_array_equal(sharded.row, [[0, 1], [2, 3], [4, 5]])
    assert sharded.x.shape == (3, 2, 3)
    assert sharded.absent is None


def test_shard_names_rows_that_cannot_be_shared():
    with pytest.raises(InputError, match="RegressionBatch: has 7 rows for 2 devices"):
        parallel.shard(regression_batch(0, rows=7), 2)


@pytest.mark.parametrize("wrong", [np.zeros(5), np.zeros(())])
def test_shard_names_arrays_of_another_length(wrong):
    with pytest.raises(InputError, match="leading axes"):
        parallel.shard(regression_batch(0, rows=6).replace(y=wrong), 2)


@pytest.mark.parametrize("name", typing.get_args(ParallelName))
def test_unreplicate_inverts_replicate_bit_for_bit(name):
    over = parallel.build(name)
    tree = {"a": {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}, "n": np.int32(7)}
    back = over.unreplicate(over.replicate(tree))
    assert back["a"]["w"].dtype == np.float32
    assert back["n"].dtype == np.int32
    jax.tree.map(np.testing.assert_array_equal, back, tree)


def test_a_donated_copy_leaves_the_original_alone():
    # Large and aligned enough that jax would rather look into it than copy it.
    mine = np.ones(1 << 16, np.float32)
    theirs = jax.numpy.ones(1 << 16)
    over, double = parallel.Mapped(), jax.pmap(lambda x: x * 2, donate_argnums=(0,))
    for original in (mine, theirs):
        copy = over.replicate(original)
        host = over.unreplicate(copy)
        assert double(copy)[0, 0] == 2
        assert np.all(np.asarray(original) == 1)
        assert np.all(host == 1)
