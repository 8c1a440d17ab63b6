"""The split over devices changes neither loss nor gradient of the real tasks."""

import subprocess
import sys

import numpy as np
import pytest


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What a child process with 8 forced devices saw: {"task/devices/name": array}."""
    path = tmp_path_factory.mktemp("devices") / "seen.npz"
    module = "tests.training.eight_devices_real_tasks"
    subprocess.run([sys.executable, "-m", module, path], check=True)
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.mark.parametrize(
    "task", ["reconstruction", "cell_type", "region_ranking", "masked_kmers"]
)
def test_one_device_equals_eight_in_loss_and_gradient(seen, task):
    one, eight = (
        {
            name.removeprefix(start): v
            for name, v in seen.items()
            if name.startswith(start)
        }
        for start in (f"{task}/1/", f"{task}/8/")
    )
    assert one.keys() == eight.keys()
    for name, value in one.items():
        # In float64, terms that cancel to nothing (a score's bias) leave some 1e-17.
        np.testing.assert_allclose(eight[name], value, 1e-5, 1e-15, err_msg=name)
        # Every parameter is put to the test.
        assert value.any() or "metrics" in name, name


def test_only_what_may_count_counts(seen):
    """Neither the filling nor what has no masked value, label or right order."""

    def weight(name):
        return seen[f"{name}/1"]

    rna, atac = (weight(f"reconstruction/8/metrics/{m}_loss") for m in ("rna", "atac"))
    assert max(rna, atac) < weight("reconstruction/8/metrics/loss") <= 16 - 2 - 2
    assert weight("cell_type/8/metrics/loss") == 16 - 3 - 2
    assert weight("region_ranking/8/metrics/loss") == 16 - 1 - 2
    assert weight("region_ranking/8/metrics/ties") == 16 - 2
    # Of at most 14 × 11 tokens, four in ten.
    assert 20 < weight("masked_kmers/8/metrics/loss") < 100
