import json
import shutil
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from scmultimodal.schemas.errors import InputError
from scmultimodal.training import checkpoints
from scmultimodal.training.checkpoints import CheckpointManager
from scmultimodal.training.state import TrainState

METADATA = {"config": {"seed": 3}, "window": {"loss": [0.1, 3.0]}}


def some_state():
    params = {
        "encoder/~/linear": {"w": np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)},
        "head": {"b": np.array([1.5], jnp.bfloat16)},
    }
    state = TrainState(
        params=params,
        network_state={"encoder": {"counter": np.array(9, np.int32)}},
        opt_state=optax.adamw(0.1).init(params),
        step=np.array(4, np.int32),
        rng=np.array([0, 2**32 - 1], np.uint32),
    )
    return jax.tree.map(np.asarray, state)


def assert_same(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the steps 1 and 4, not to be written to."""
    folder = tmp_path_factory.mktemp("saved")
    manager = CheckpointManager(folder)
    manager.save(1, some_state(), METADATA)
    manager.save(4, some_state(), METADATA)
    manager.close()
    return folder


@pytest.fixture
def manager(saved, tmp_path):
    """A manager of a copy of `saved`."""
    manager = CheckpointManager(shutil.copytree(saved, tmp_path / "copy"))
    yield manager
    manager.close()


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_restores_bit_for_bit(manager):
    template = jax.tree.map(jnp.zeros_like, some_state())
    state, metadata = manager.restore(4, template)
    assert_same(state, some_state())
    assert metadata == METADATA
    shapes = jax.eval_shape(lambda: template)
    assert_same(manager.restore(4, shapes)[0], some_state())


@settings(max_examples=15)
@given(
    array=st.sampled_from(["float32", "uint32", "int8", "bool", "float64"]).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(max_dims=3, max_side=4))
    )
)
def test_any_array_comes_back(tmp_path_factory, array):
    manager = CheckpointManager(tmp_path_factory.mktemp("any"))
    manager.save(1, {"a": array}, {})
    assert_same(manager.restore(1, {"a": array})[0], {"a": array})
    manager.close()


def test_keeps_the_newest(tmp_path):
    manager = CheckpointManager(tmp_path / "new", keep=2)
    assert manager.latest_step is None
    for step in (3, 20, 100):
        manager.save(step, {"a": np.full(2, step)}, {})
    assert manager.steps == [20, 100]
    assert sorted(p.name for p in manager.folder.iterdir()) == ["100", "20"]
    # The same step again replaces the old one.
    manager.save(100, {"a": np.zeros(2)}, {"again": True})
    assert manager.metadata(100) == {"again": True}
    manager.close()


def test_every_flipped_bit_is_noticed(manager):
    rng = np.random.default_rng(0)
    files = files_of(manager.folder / "4")
    assert len(files) > 5
    for path in files:
        whole = path.read_bytes()
        if not whole:
            continue
        for _ in range(10):
            broken = bytearray(whole)
            broken[rng.integers(len(whole))] ^= 1 << rng.integers(8)
            path.write_bytes(broken)
            with pytest.raises(InputError, match=path.name):
                manager.restore(4, some_state())
        path.write_bytes(whole)
    assert_same(manager.restore(4, some_state())[0], some_state())


@pytest.mark.parametrize("break_it", ["truncate", "delete", "swap"])
def test_every_other_damage_is_noticed(manager, break_it):
    for path in files_of(manager.folder / "4"):
        whole = path.read_bytes()
        if break_it == "truncate" and not whole:
            continue
        if break_it == "truncate":
            path.write_bytes(whole[:-1])
        elif break_it == "delete":
            path.unlink()
        else:
            path.write_bytes(b"of another checkpoint")
        with pytest.raises(InputError, match=r"(?s)4.*delete the folder of this step"):
            manager.restore(4, some_state())
        path.write_bytes(whole)


def test_a_stray_file_is_noticed(manager):
    (manager.folder / "4" / "state" / "stray").write_text("")
    with pytest.raises(InputError, match="stray"):
        manager.restore(4, some_state())


def test_a_step_without_manifest_is_none(manager):
    (manager.folder / "4" / "manifest.json").unlink()
    assert manager.latest_step == 1
    with pytest.raises(InputError, match="not a complete checkpoint"):
        manager.restore(4, some_state())
    # What a killed process left does not stand in the way.
    manager.save(4, some_state(), METADATA)
    assert manager.latest_step == 4
    assert_same(manager.restore(4, some_state())[0], some_state())


def test_folders_of_others_are_left_alone(manager):
    shutil.copytree(manager.folder / "4", manager.folder / "4 of Monday")
    assert manager.steps == [1, 4]
    for step in (6, 7, 8):
        manager.save(step, {"a": np.zeros(2)}, {})
    names = {path.name for path in manager.folder.iterdir()}
    assert names == {"4 of Monday", "6", "7", "8"}


def test_what_a_cut_off_save_left_goes_with_the_next(manager):
    (manager.folder / "5" / "state.tmp").mkdir(parents=True)
    (manager.folder / "1" / "manifest.json").unlink()
    manager.save(7, some_state(), METADATA)
    assert sorted(path.name for path in manager.folder.iterdir()) == ["4", "7"]


def test_an_interrupted_save_leaves_the_step_before(manager, monkeypatch):
    def fail(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr("scmultimodal.training.checkpoints._write", fail)
    said = r"7: could not be saved \(No space left on device\).*goes on from the last"
    with pytest.raises(InputError, match=said):
        manager.save(7, some_state(), METADATA)
    assert manager.steps == [1, 4]
    assert not (manager.folder / "7").exists()
    assert_same(manager.restore(4, some_state())[0], some_state())


def test_saving_behind_the_training_saves_the_same(tmp_path):
    manager = CheckpointManager(tmp_path / "new", keep=2, asynchronous=True)
    for step in (1, 4, 9):
        manager.save(step, some_state(), METADATA)
    assert manager.steps == [4, 9]
    assert_same(manager.restore(9, some_state())[0], some_state())
    manager.close()


def test_saving_behind_the_training_does_not_hold_it_up(tmp_path, monkeypatch):
    """The save is let go on only after `save` has returned."""
    manager = CheckpointManager(tmp_path, asynchronous=True)
    let_go, write = threading.Event(), checkpoints._write

    def held(path, text):
        assert let_go.wait(60)
        write(path, text)

    monkeypatch.setattr(checkpoints, "_write", held)
    manager.save(3, some_state(), METADATA)
    assert not list(tmp_path.glob("*/manifest.json"))
    let_go.set()
    assert manager.latest_step == 3
    manager.close()


@pytest.mark.parametrize(
    "then",
    [
        lambda manager: manager.save(3, some_state(), METADATA),
        CheckpointManager.wait,
        CheckpointManager.close,
        lambda manager: manager.latest_step,
    ],
    ids=["save", "wait", "close", "latest_step"],
)
def test_a_save_that_failed_behind_the_training_is_told(tmp_path, monkeypatch, then):
    manager = CheckpointManager(tmp_path, asynchronous=True)
    manager.save(1, some_state(), METADATA)
    manager.wait()

    def fail(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoints, "_write", fail)
    manager.save(2, some_state(), METADATA)
    with pytest.raises(InputError, match=r"No space.*goes on from the last"):
        then(manager)
    assert manager.steps == [1]
    manager.close()


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda s: s.params["head"].update(b=np.zeros(2, jnp.bfloat16)), r"\[2\]"),
        (lambda s: s.params["head"].update(b=np.zeros(1, np.float32)), "float32"),
        (lambda s: s.params["head"].update(w=np.zeros(1)), "params/head/w"),
        (lambda s: s.params.pop("head"), "params/head/b"),
    ],
)
def test_another_model_is_named(manager, change, names):
    template = some_state()
    change(template)
    with pytest.raises(InputError, match=names):
        manager.restore(4, template)


def test_files_can_be_checked_by_others(saved):
    manifest = json.loads((saved / "4" / "manifest.json").read_text())
    names = {p.relative_to(saved / "4").as_posix() for p in files_of(saved / "4")}
    assert set(manifest["files"]) == names - {"manifest.json"}
