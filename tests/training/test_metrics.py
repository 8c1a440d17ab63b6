import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scmultimodal.training.metrics import Averages, MetricsWriter, read_metrics


def test_averages_by_hand():
    averages = Averages()
    averages.add({"loss": (np.float32(6.0), np.float32(2.0))})
    averages.add({"loss": (np.float32(0.0), np.float32(0.0)), "rare": (1.0, 4.0)})
    averages.add({"loss": (np.float32(2.0), np.float32(6.0))})
    assert averages.means() == {"loss": 1.0, "rare": 0.25}


def test_averages_of_arrays_and_of_nothing():
    averages = Averages()
    for _ in range(2):
        averages.add({"a": (np.array([1.0, 4.0]), 2.0), "b": (0.0, 0.0)})
        averages.add({"c": (np.array([1.0, 0.0]), np.array([2.0, 0.0]))})
    means = averages.means()
    np.testing.assert_array_equal(means["a"], [0.5, 2.0])
    assert np.isnan(means["b"])
    np.testing.assert_array_equal(means["c"], [0.5, np.nan])
    assert averages.dump() == {"b": [0.0, 0.0]}


@given(
    sums=st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(0, 10)), min_size=1),
    cut=st.integers(0, 20),
)
def test_averages_go_on_from_a_dump_to_the_same_bits(sums, cut):
    whole, before = Averages(), Averages()
    for pair in sums:
        whole.add({"loss": pair})
    for pair in sums[:cut]:
        before.add({"loss": pair})
    after = Averages(json.loads(json.dumps(before.dump())))
    for pair in sums[cut:]:
        after.add({"loss": pair})
    assert whole.dump() == after.dump()


def test_one_record_per_line(tmp_path):
    writer = MetricsWriter(tmp_path)
    writer.write(10, "train", {"zeta": np.float32(0.5), "loss": 2, "matrix": np.eye(2)})
    # Read while the writer is open: each line is on disk as soon as it is written.
    (record,) = read_metrics(writer.path)
    assert record.pop("seconds") >= 0
    assert record == {"step": 10, "split": "train", "loss": 2.0, "zeta": 0.5}
    assert list(record)[2] == "loss"
    assert writer.write(11, "train", {"loss": np.nan})["loss"] is None
    assert "NaN" not in writer.path.read_text()
    writer.close()


def test_opening_drops_what_lies_beyond_and_a_torn_line(tmp_path):
    writer = MetricsWriter(tmp_path)
    for step in (1, 2, 3):
        writer.write(step, "train", {"loss": step})
    writer.close()
    lines = writer.path.read_text().splitlines(keepends=True)
    with writer.path.open("a") as file:
        file.write('{"step": 2, "split": "tr')
    writer = MetricsWriter(tmp_path, last_step=2)
    assert writer.path.read_text() == "".join(lines[:2])
    assert [record["step"] for record in writer.history] == [1, 2]
    writer.close()
    MetricsWriter(tmp_path).close()
    assert writer.path.read_text() == ""
