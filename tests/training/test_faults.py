"""Damaged files, a full disk, a closed folder: noticed, and nothing good is lost."""

import contextlib
import dataclasses
import os
import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from scmultimodal.schemas.errors import InputError
from scmultimodal.training.config import LoopConfig, RunningConfig
from scmultimodal.training.loop import fit
from scmultimodal.weights import export, genome_model
from tests import builders
from tests.regression import RegressionTask, regression_batch
from tests.training.hosts import newest

CONFIG = LoopConfig(
    num_steps=14, evaluate_every=5, checkpoint_every=4, keep_best="loss", best_is="min"
)


def train(folder, *, config=CONFIG, batches=regression_batch, validating=None, **how):
    def validation_batches(share):
        if validating is not None:
            validating()
        return [regression_batch(100)]

    return fit(
        # Wide enough for checkpoints to be larger than all other files.
        RegressionTask(width=20_000),
        train_batches=lambda step, share: batches(step),
        validation_batches=validation_batches,
        config=config,
        folder=folder,
        running=RunningConfig(**how),
    ).state


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return train(tmp_path_factory.mktemp("undisturbed"))


def assert_same(state, other):
    jax.tree.map(np.testing.assert_array_equal, state, other)


# Damage: each returns the files that are not what they were.


def flip(random, path, folder):
    content = bytearray(path.read_bytes())
    content[random.integers(len(content))] ^= 1 << random.integers(8)
    path.write_bytes(content)
    return [path]


def truncate(random, path, folder):
    path.write_bytes(path.read_bytes()[: random.integers(path.stat().st_size)])
    return [path]


def delete(random, path, folder):
    path.unlink()
    return [path]


def swap(random, path, folder):
    content = path.read_bytes()
    others = [file for file in files_of(folder) if file.read_bytes() != content]
    other = others[random.integers(len(others))]
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)
    return [path, other]


def files_of(folder):
    """All that hold something."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)


@dataclasses.dataclass(frozen=True)
class Kept:
    """What lies on disk to be used again, the files that this needs, and how."""

    folder: Path
    files: Callable[[Path], list[Path]]
    use: Callable[[Path], object]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A training that was killed, and two exports."""
    base = tmp_path_factory.mktemp("kept")
    return [killed_training(base / "run"), cell(base / "cell"), genome(base / "genome")]


def killed_training(folder):
    class Killed(Exception):  # noqa: N818
        pass

    def batches(step):
        if step == 13:
            raise Killed
        return regression_batch(step)

    with pytest.raises(Killed):
        train(folder, batches=batches)
    assert newest(folder) == 12

    def files(folder):
        return files_of(folder / "checkpoints" / "12") + files_of(folder / "best")

    return Kept(folder, files, train)


def some_params(name):
    random = np.random.default_rng(0)
    return {name: {"w": random.normal(size=(30, 20)).astype(np.float32)}}


def cell(folder):
    model = export.StoredModel(
        config=export.ModelConfig(encoder=builders.encoder_config(40)),
        vocabulary=builders.gene_vocabulary(),
        params=some_params("cell_encoder/x"),
        network_state={},
        reference={"rna": np.ones((2, 40), np.uint8)},
    )
    return Kept(export.save(model, folder), files_of, export.load)


def genome(folder):
    model = genome_model.StoredGenomeModel(
        config=genome_model.GenomeModelConfig(
            encoder=builders.dna_encoder_config(), k=2
        ),
        params=some_params("nucleotide_transformer/x"),
        reference={"token_ids": np.ones((2, 4), np.int32)},
    )
    return Kept(genome_model.save(model, folder), files_of, genome_model.load)


@pytest.mark.parametrize(
    ("damage", "times"),
    [
        *((damage, 3) for damage in (flip, truncate, delete, swap)),
        pytest.param(flip, 97, marks=pytest.mark.long),
        pytest.param(truncate, 11, marks=pytest.mark.long),
        pytest.param(delete, 10, marks=pytest.mark.long),
        pytest.param(swap, 10, marks=pytest.mark.long),
    ],
)
def test_damage_is_noticed(kept, undisturbed, tmp_path, tally, damage, times):
    random, passed_over = np.random.default_rng(times), 0
    for time in range(times):
        what = kept[time % len(kept)]
        folder = shutil.copytree(what.folder, tmp_path / str(time))
        files = what.files(folder)
        damaged = damage(random, files[random.integers(len(files))], folder)
        if folder / "checkpoints/12/manifest.json" in damaged and damage is delete:
            # That is how a save looks that was cut off: the one before is taken.
            assert_same(what.use(folder), undisturbed)
            passed_over += 1
            continue
        with pytest.raises(InputError) as error:
            what.use(folder)
        names = {name for path in damaged for name in (path.name, path.parent.name)}
        assert any(name in str(error.value) for name in names), error.value
    tally(
        f"{times} x {damage.__name__} a file of checkpoints and exports: "
        f"{times - passed_over} noticed, {passed_over} passed over to the same bits"
    )


# Room.


@contextlib.contextmanager
def largest_file():
    """Yields what sets the size above which a file can no longer grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# Orbax leaves a task of a save that failed.
left_task = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
REMEDY = r".*\. free space .* goes on from the last checkpoint\.$"


@left_task
@pytest.mark.parametrize(
    ("keep_best", "size", "says"),
    [
        (None, 100_000, r"checkpoints/8: could not be saved \("),
        ("loss", 100_000, r"best/5: could not be saved \("),
        (None, 1, r"metrics\.jsonl: cannot be written \(File too large\)"),
    ],
)
def test_a_full_disk_leaves_the_last_good_checkpoint(
    undisturbed, tmp_path, keep_best, size, says
):
    config = dataclasses.replace(CONFIG, keep_best=keep_best)
    said = f"^{tmp_path}/{says}{REMEDY}"
    with largest_file() as limit, pytest.raises(InputError, match=said):
        # The first validation is after step 5.
        train(tmp_path, config=config, validating=lambda: limit(size))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["4"]
    assert_same(train(tmp_path, config=config).opt_state, undisturbed.opt_state)


@left_task
def test_a_disk_that_is_full_behind_the_training(undisturbed, tmp_path):
    """The save of step 8 may be done by step 10, or be the one that fails."""
    config = dataclasses.replace(CONFIG, keep_best=None, evaluate_every=10)
    how = {"config": config, "asynchronous_saves": True}
    said = rf"^{tmp_path}/checkpoints/(\d+): could not be saved \({REMEDY}"
    with largest_file() as limit, pytest.raises(InputError, match=said) as error:
        train(tmp_path, validating=lambda: limit(100_000), **how)
    failed = int(re.search(said, str(error.value))[1])
    assert newest(tmp_path) == failed - 4 >= 4
    assert_same(train(tmp_path, **how).opt_state, undisturbed.opt_state)


@pytest.mark.parametrize("name", ["", "checkpoints", "best"])
def test_a_file_where_a_folder_should_be_is_told_before_the_first_step(tmp_path, name):
    path = tmp_path / "run" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("years of work")
    with pytest.raises(InputError, match=f"{path} is no folder"):
        train(tmp_path / "run", validating=pytest.fail)
    assert path.read_text() == "years of work"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_told_before_the_first_step(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=f"{tmp_path} may not be written to"):
        train(tmp_path / "run", validating=pytest.fail)


# Folders of steps.


def test_the_best_that_a_checkpoint_knows_must_be_there(kept, tmp_path):
    folder = shutil.copytree(kept[0].folder, tmp_path / "run")
    shutil.rmtree(folder / "best")
    with pytest.raises(InputError, match=r"best/10: is missing"):
        train(folder)


@pytest.mark.parametrize("kind", ["checkpoints/12", "best/10"])
def test_a_step_under_the_name_of_another_is_noticed(kept, tmp_path, kind):
    folder = shutil.copytree(kept[0].folder, tmp_path / "run")
    (folder / kind).rename((folder / kind).with_name("13"))
    with pytest.raises(InputError, match=f"13: holds step {kind.split('/')[1]}"):
        train(folder)
