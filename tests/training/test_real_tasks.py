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


@pytest.mark.parametrize("task", ["reconstruction", "cell_type"])
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
        np.testing.assert_allclose(eight[name], value, 1e-5, err_msg=name)
        # Every parameter is put to the test.
        assert value.any() or "metrics" in name, name


def test_only_what_may_count_counts(seen):
    """Cells without a masked value, without a label or of the filling do not."""

    def weight(name):
        return seen[f"{name}/1"]

    rna, atac = (weight(f"reconstruction/8/metrics/{m}_loss") for m in ("rna", "atac"))
    assert max(rna, atac) < weight("reconstruction/8/metrics/loss") <= 16 - 2 - 2
    assert weight("cell_type/8/metrics/loss") == 16 - 3 - 2
