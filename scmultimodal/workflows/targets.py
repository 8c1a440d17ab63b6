"""Folders that a command makes: looked at before the work, made after it."""

from pathlib import Path

from scmultimodal.data import atomic
from scmultimodal.schemas.errors import InputError


def check(out: Path, report: str, *, overwrite: bool) -> None:
    """Looks whether a command may make this folder; makes nothing.

    Args:
        out: the folder.
        report: name of the file by which a folder that the command made is known.
        overwrite: whether such a one may be replaced.

    Raises:
        InputError: something else stands there, or such a folder that is to stay, or
            nothing may be written there.
    """
    atomic.check_writable(out)
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / report).is_file():
        problem = f"exists and holds no {report}"
        raise InputError(out, problem, "Choose another folder; nothing was written")
    if not overwrite:
        problem = f"already holds {report}"
        raise InputError(out, problem, "Give --overwrite, or choose another folder")
