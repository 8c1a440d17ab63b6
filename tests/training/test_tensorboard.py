"""Metrics for TensorBoard: the same numbers, and no step twice after a resume."""

import struct
import sys

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from scmultimodal.schemas.errors import InputError
from scmultimodal.training.metrics import MetricsWriter


def events(folder):
    """What TensorBoard would show: {(split/name, step): value}, oldest file first."""
    shown = {}
    for path in sorted((folder / "tensorboard").iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            if event.session_log.status == SessionLog.START:
                shown = {k: v for k, v in shown.items() if k[1] < event.step}
            for value in event.summary.value:
                shown[value.tag, event.step] = value.simple_value
    return shown


def test_scalars_are_written_as_they_are_logged(tmp_path):
    writer = MetricsWriter(tmp_path, tensorboard=True)
    writer.write(10, "train", {"loss": np.float32(0.5), "matrix": np.eye(2)})
    writer.write(20, "validation", {"loss": 0.25, "accuracy": np.float64(1.0)})
    writer.close()
    assert events(tmp_path) == {
        ("train/loss", 10): 0.5,
        ("validation/loss", 20): 0.25,
        ("validation/accuracy", 20): 1.0,
    }


def test_a_resume_hides_what_it_will_write_again(tmp_path, monkeypatch):
    for start, value in ((0, 1.0), (2, 2.0)):
        # Files are named by the second.
        monkeypatch.setattr("time.time", lambda start=start: 1e9 + start)
        writer = MetricsWriter(tmp_path, last_step=start, tensorboard=True)
        for step in range(start + 1, start + 4):
            writer.write(step, "train", {"loss": value})
        writer.close()
    assert [events(tmp_path)["train/loss", step] for step in range(1, 6)] == [
        *(1.0, 1.0),
        *(2.0, 2.0, 2.0),
    ]


def test_whoever_lacks_the_package_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(InputError, match=r"pip install 'scmultimodal\[log\]'"):
        MetricsWriter(tmp_path, tensorboard=True)


def test_nothing_is_written_unasked(tmp_path):
    writer = MetricsWriter(tmp_path)
    writer.write(1, "train", {"loss": 1.0})
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
