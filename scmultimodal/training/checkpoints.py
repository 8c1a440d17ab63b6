"""The only user of Orbax: checkpoints that are whole, or are noticed not to be.

Saving may go on behind the training (`asynchronous`): the arrays are the caller's own
copies, and one thread writes them as it would otherwise. A process killed meanwhile
loses that step alone.

A step is a folder: Orbax's arrays in `state/`, `metadata.json`, and, written last,
`manifest.json` with the sha256 of every file. A folder without a manifest is no
checkpoint. Orbax itself restores a flipped bit without a word.

Of a run folder that is kept in a bucket too (`data.mirror`) the steps are those of the
bucket: one is saved when it is there, and is fetched where this machine lacks it.
"""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Collection
from concurrent import futures
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from scmultimodal.data import mirror, remote
from scmultimodal.schemas.errors import InputError, PassingError

MANIFEST = "manifest.json"
METADATA = "metadata.json"

# Orbax reports every save on the root logger of absl.
logging.getLogger("absl").setLevel(logging.ERROR)


class CheckpointManager:
    """Checkpoints of one run, by step, the newest `keep` of them.

    States are trees of host arrays (`parallel.unreplicate`), hence they fit any number
    of devices. On return of `save` the step is on disk; with `asynchronous`, on return
    of the next call of any method.
    """

    def __init__(self, folder: Path, keep: int = 3, *, asynchronous: bool = False):
        """Looks into `folder`, which the first save creates."""
        if keep < 1:
            raise InputError("CheckpointManager", f"keep is {keep}", "keep at least 1")
        self.folder, self.keep = Path(folder).absolute(), keep
        self._bucket = mirror.counterpart(self.folder)
        self._orbax = _of_this_host_alone()
        self._writer = futures.ThreadPoolExecutor(1, "save") if asynchronous else None
        self._pending: futures.Future | None = None

    @property
    def steps(self) -> list[int]:
        """Steps that were saved completely, in order."""
        self.wait()
        return self._complete()

    def _complete(self) -> list[int]:
        where = self.folder if self._bucket is None else self._bucket
        with contextlib.ExitStack() as stack:
            if self._bucket is not None:
                stack.enter_context(remote.access(where, "read"))
            return sorted(
                int(path.parent.name)
                for path in where.glob(f"*/{MANIFEST}")
                if path.parent.name.isdecimal()
            )

    @property
    def latest_step(self) -> int | None:
        """The newest step, or None where there is none."""
        return self.steps[-1] if self.steps else None

    def save(self, step: int, state: Any, metadata: dict) -> None:
        """Saves a state with metadata (JSON), then removes the oldest beyond `keep`.

        What killed processes left of other steps goes too.

        Raises:
            InputError: it cannot be written, as on a full disk; with `asynchronous`,
                by the next call of any method. The steps before are as they were.
        """
        self.wait()
        if self._writer is None:
            self._save(step, state, metadata)
        else:
            self._pending = self._writer.submit(self._save, step, state, metadata)

    def wait(self) -> None:
        """Returns once the save that goes on, if any, has ended.

        Raises:
            InputError: it failed.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _save(self, step: int, state: Any, metadata: dict) -> None:
        folder = self.folder / str(step)
        try:
            # The step may be of an earlier life of this run.
            self._forget(step)
            folder.mkdir(parents=True)
            arrays = ocp.args.StandardSave(_flatten(state))
            self._orbax.save(folder / "state", args=arrays)
            (folder / METADATA).write_text(json.dumps(metadata, indent=1))
            _write(folder / MANIFEST, _manifest(_digests(folder)))
            if self._bucket is not None:
                mirror.send_folder(folder, self._bucket / str(step), last=MANIFEST)
        # Orbax tells of a full disk by exceptions of several kinds.
        except Exception as error:
            with contextlib.suppress(Exception):
                self._forget(step)
            raise _kind(error)(
                folder,
                f"could not be saved ({_first_line(error)})",
                "free space or mend permissions; the same call goes on from the last "
                "checkpoint",
            ) from error
        # The step is saved: what cannot be removed now goes after the next one.
        with contextlib.suppress(Exception):
            kept = set(self._complete()[-self.keep :])
            for where in self._places():
                _prune(where, kept)

    def clear(self) -> None:
        """Removes all steps.

        Raises:
            InputError: they cannot be removed.
        """
        self.wait()
        for step in self._complete():
            try:
                self._forget(step)
            except Exception as error:
                raise _kind(error)(
                    self.folder / str(step),
                    f"cannot be removed ({_first_line(error)})",
                    "mend permissions, or choose another folder",
                ) from error

    def _places(self) -> list[Path | epath.Path]:
        """Here, and in the bucket."""
        return [self.folder, *([] if self._bucket is None else [self._bucket])]

    def _forget(self, step: int) -> None:
        """Removes a step here, whatever becomes of it in the bucket."""
        try:
            if self._bucket is not None:
                with remote.access(self._bucket, "written"):
                    _delete(self._bucket / str(step))
        finally:
            _delete(self.folder / str(step))

    def _fetched(self, step: int) -> Path:
        """The folder of a step on this machine, fetched where the bucket has another.

        Raises:
            InputError: the bucket cannot be read.
        """
        folder = self.folder / str(step)
        if self._bucket is not None:
            there, here = self._bucket / str(step), folder / MANIFEST
            with remote.access(there, "read"):
                if not (there / MANIFEST).exists():
                    _reject(there, "is not a complete checkpoint")
                text = (there / MANIFEST).read_text()
            if not here.exists() or here.read_text() != text:
                mirror.fetch_folder(there, folder)
        return folder

    def restore(self, step: int, template: Any) -> tuple[Any, dict]:
        """Returns the (state, metadata) of a step, bit for bit as saved.

        Args:
            step: one of `steps`.
            template: tree with the structure, shapes and dtypes to expect.

        Raises:
            InputError: the step is absent, a file of it was changed, or it holds other
                arrays than the template.
        """
        folder, metadata = self.folder / str(step), self.metadata(step)
        arrays = self._orbax.restore(folder / "state")
        expected = _flatten(template)
        _compare(folder, arrays, expected)
        leaves = [arrays[name] for name in expected]
        return jax.tree.unflatten(jax.tree.structure(template), leaves), metadata

    def metadata(self, step: int) -> dict:
        """The metadata of a step, whose files are checked first as `restore` does."""
        self.wait()
        folder = self._fetched(step)
        _verify(folder)
        return json.loads((folder / METADATA).read_text())

    def close(self) -> None:
        """Ends the save that goes on, and lets go of threads.

        Raises:
            InputError: that save failed.
        """
        try:
            self.wait()
        finally:
            if self._writer is not None:
                self._writer.shutdown()
            self._orbax.close()


def _prune(where: Path | epath.Path, kept: Collection[int]) -> None:
    """Removes all steps but some, each as far as it can be."""
    with contextlib.suppress(Exception):
        for path in where.iterdir():
            if path.name.isdecimal() and int(path.name) not in kept:
                with contextlib.suppress(Exception):
                    _delete(path)


def _delete(folder: Path | epath.Path) -> None:
    """Removes a step, its manifest first: a half-removed step is none."""
    (folder / MANIFEST).unlink(missing_ok=True)
    if folder.exists():
        epath.Path(folder).rmtree()


def _of_this_host_alone() -> ocp.Checkpointer:
    """Orbax that does not wait for other hosts: arrays are whole on each of them."""
    host = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=host,
        active_processes={host},
        barrier_sync_key_prefix=f"host{host}",
    )
    return ocp.Checkpointer(
        ocp.StandardCheckpointHandler(multiprocessing_options=options),
        multiprocessing_options=options,
    )


def _kind(error: Exception) -> type[InputError]:
    """What to raise from an error: one that may pass stays one."""
    return PassingError if isinstance(error, PassingError) else InputError


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _flatten(tree: Any) -> dict[str, Any]:
    """{"params/module/name": array}, in the order of `jax.tree.leaves`."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): _array(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _array(leaf: Any) -> Any:
    return leaf if isinstance(leaf, jax.ShapeDtypeStruct) else np.asarray(leaf)


def _compare(folder: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raises unless names, shapes and dtypes agree."""
    for name in sorted(found.keys() | expected.keys()):
        kinds = [
            f"{array.dtype}{list(array.shape)}" if array is not None else "nothing"
            for array in (found.get(name), expected.get(name))
        ]
        if kinds[0] != kinds[1]:
            raise InputError(
                folder,
                f"holds {kinds[0]} as {name} where the model has {kinds[1]}",
                "resume with the configuration of the run, or choose another folder",
            )


def _digests(folder: Path) -> dict[str, str]:
    """{relative path: sha256} of every file but the manifest."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): _digest(path)
        for path in files
        if path != folder / MANIFEST
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(digests: dict[str, str]) -> str:
    """The manifest as text; it vouches for itself too."""
    own = hashlib.sha256(json.dumps(digests).encode()).hexdigest()
    return json.dumps({"files": digests, "sha256": own}, indent=1)


def _verify(folder: Path) -> None:
    """Raises unless the files of a step are those that its manifest names."""
    try:
        text = (folder / MANIFEST).read_text()
        digests = json.loads(text)["files"]
        intact = text == _manifest(digests)
    except FileNotFoundError:
        _reject(folder, "is not a complete checkpoint")
    except (ValueError, KeyError, TypeError):
        intact = False
    if not intact:
        _reject(folder / MANIFEST, "was changed since it was saved")
    found = _digests(folder)
    for name in sorted(found.keys() | digests.keys()):
        if name not in found:
            _reject(folder / name, "is missing from the checkpoint")
        if found[name] != digests.get(name):
            _reject(folder / name, "was changed since it was saved (sha256 differs)")


def _reject(source: Path | epath.Path, problem: str) -> None:
    raise InputError(
        source, problem, "delete the folder of this step to go on from the one before"
    )


def _write(path: Path, text: str) -> None:
    """Writes a file so that it is there in full or not at all."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
