"""Checkpoints of a run folder that is kept in a bucket: machines are replaceable."""

import contextlib
import shutil

import numpy as np
import pytest

from scmultimodal.data import mirror, remote
from scmultimodal.schemas.errors import InputError, PassingError
from scmultimodal.training.checkpoints import CheckpointManager
from tests import fake_bucket
from tests.training import test_loop as toy

ADDRESS = "gs://bucket/run"
STATE = {"w": np.arange(6.0, dtype=np.float32).reshape(2, 3)}


@pytest.fixture
def bucket():
    with fake_bucket.open_bucket() as bucket:
        yield bucket


@contextlib.contextmanager
def machine(folder):
    """A machine that is taken away at the end, with all that is on its disk."""
    with (
        mirror.kept(folder, ADDRESS, writes=lambda: False),
        contextlib.closing(CheckpointManager(folder / "checkpoints", keep=2)) as made,
    ):
        yield made
    shutil.rmtree(folder, ignore_errors=True)


def steps_of_bucket():
    there = remote.at(ADDRESS) / "checkpoints"
    return sorted(int(path.name) for path in there.iterdir()) if there.exists() else []


def save(manager, step):
    manager.save(step, {"w": STATE["w"] + step}, {"step": step})


def assert_restores(manager, step):
    state, metadata = manager.restore(step, STATE)
    np.testing.assert_array_equal(state["w"], STATE["w"] + step)
    assert metadata == {"step": step}


def test_another_machine_restores_what_was_saved(bucket, tmp_path):
    with machine(tmp_path / "a") as manager:
        save(manager, 1)
        save(manager, 4)
    with machine(tmp_path / "b") as manager:
        assert manager.steps == [1, 4]
        assert_restores(manager, 4)
        assert_restores(manager, 1)


def test_the_oldest_goes_here_and_there(bucket, tmp_path):
    with machine(tmp_path / "a") as manager:
        for step in (1, 2, 3):
            save(manager, step)
        assert steps_of_bucket() == manager.steps == [2, 3]
        here = (tmp_path / "a" / "checkpoints").iterdir()
        assert sorted(path.name for path in here) == ["2", "3"]


def test_a_step_that_was_half_sent_is_none(bucket, tmp_path):
    """The machine went while it sent; the next one clears what it left."""
    with machine(tmp_path / "a") as manager:
        save(manager, 1)
        save(manager, 2)
        (remote.at(ADDRESS) / "checkpoints/2/manifest.json").unlink()
    with machine(tmp_path / "b") as manager:
        assert manager.latest_step == 1
        with pytest.raises(InputError, match=r"gs://.*/2: is not a complete check"):
            manager.restore(2, STATE)
        save(manager, 3)
        assert steps_of_bucket() == [1, 3]


def test_a_bucket_that_refuses_leaves_what_was_before(bucket, tmp_path):
    with machine(tmp_path / "a") as manager:
        save(manager, 1)
        bucket.refuses = "/checkpoints/2/"
        with pytest.raises(InputError, match=r"2: could not be saved \(.*403"):
            save(manager, 2)
        assert manager.steps == steps_of_bucket() == [1]
        assert_restores(manager, 1)


def test_a_bucket_that_is_away_may_be_back(bucket, tmp_path):
    """Whoever started it is to start it again."""
    bucket.error = staticmethod(lambda path: ConnectionResetError(104, "reset"))
    bucket.refuses = "/checkpoints/1/"
    with (
        machine(tmp_path / "a") as manager,
        pytest.raises(PassingError, match=r"1: could not be saved \(.*reset"),
    ):
        save(manager, 1)


def test_a_step_is_saved_although_none_can_be_removed(bucket, tmp_path):
    """The next one clears what is left."""
    with machine(tmp_path / "a") as manager:
        for step in (1, 2):
            save(manager, step)
        bucket.keeps = "/checkpoints/1/"
        save(manager, 3)
        assert steps_of_bucket() == [1, 2, 3]
        bucket.keeps = None
        save(manager, 4)
        assert steps_of_bucket() == manager.steps == [3, 4]


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ConnectionResetError(104, "reset"), PassingError), (OSError("403"), InputError)],
)
def test_what_cannot_be_cleared_is_told_by_its_cause(bucket, tmp_path, error, kind):
    with machine(tmp_path / "a") as manager:
        save(manager, 1)
        bucket.error, bucket.keeps = staticmethod(lambda path: error), "/checkpoints/1/"
        with pytest.raises(InputError, match="1: cannot be removed") as told:
            manager.clear()
        assert type(told.value) is kind


def test_a_bit_that_flipped_in_the_bucket_is_noticed(bucket, tmp_path):
    with machine(tmp_path / "a") as manager:
        save(manager, 1)
    there = remote.at(ADDRESS) / "checkpoints/1"
    name = next(n for n in remote.files(there) if n.startswith("state/d/"))
    content = bytearray((there / name).read_bytes())
    content[len(content) // 2] ^= 1
    (there / name).write_bytes(bytes(content))
    with (
        machine(tmp_path / "b") as manager,
        pytest.raises(InputError, match="sha256 differs"),
    ):
        manager.restore(1, STATE)


def test_a_step_of_this_machine_gives_way_to_that_of_the_bucket(bucket, tmp_path):
    """Another machine has been at it since."""
    stale = CheckpointManager(tmp_path / "b" / "checkpoints")
    stale.save(1, {"w": STATE["w"] - 99}, {"step": 1})
    stale.close()
    with machine(tmp_path / "a") as manager:
        save(manager, 1)
    with machine(tmp_path / "b") as manager:
        assert_restores(manager, 1)


def test_what_is_cleared_is_cleared_there(bucket, tmp_path):
    with machine(tmp_path / "a") as manager:
        save(manager, 1)
        manager.clear()
        assert manager.steps == steps_of_bucket() == []


# 11: after a validation, newer than the checkpoint.
@pytest.mark.parametrize("step", [2, 11])
def test_a_training_goes_on_elsewhere_to_the_same_end(bucket, tmp_path, step):
    whole = toy.train(tmp_path / "whole")
    with machine(tmp_path / "a"), pytest.raises(toy.Killed):
        toy.train(tmp_path / "a", batches=toy.stopping_at(step, toy.kill))
    with mirror.kept(tmp_path / "b", ADDRESS):
        result = toy.train(tmp_path / "b")
    toy.assert_same_run(result, whole, tmp_path / "b", tmp_path / "whole")
    # Who has nothing but the bucket has the whole run.
    with mirror.kept(tmp_path / "c", ADDRESS):
        result = toy.train(tmp_path / "c", batches=toy.stopping_at(13, toy.kill))
    toy.assert_same_run(result, whole, tmp_path / "c", tmp_path / "whole")
