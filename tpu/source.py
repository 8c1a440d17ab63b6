"""Our code as one file, named by what is in it: what a machine of a pod unpacks."""

import gzip
import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

from scmultimodal.schemas.errors import InputError

ROOT = Path(__file__).parents[1]


def pack(root: Path = ROOT) -> tuple[str, bytes]:
    """(sha256, tar.gz) of the files of a checkout that git knows, as they are now.

    The same files give the same bytes, whenever and wherever.

    Raises:
        InputError: it is no checkout, or a file that git knows is not there.
    """
    try:
        listed = subprocess.run(
            ["git", "-C", str(root), "ls-files", "-z"], capture_output=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(
            root, "is no checkout of git", "run from a clone of the repository"
        ) from error
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in sorted(filter(None, listed.decode().split("\0"))):
            _add(archive, root, name)
    content = packed.getvalue()
    return hashlib.sha256(content).hexdigest(), content


def _add(archive: tarfile.TarFile, root: Path, name: str) -> None:
    path = root / name
    try:
        info = archive.gettarinfo(path, name)
        if info.isreg():
            with path.open("rb") as file:
                content = file.read()
    except OSError as error:
        raise InputError(
            path, f"cannot be read ({error.strerror})", "restore it, or `git rm` it"
        ) from error
    info.mtime = info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o755 if info.mode & 0o100 else 0o644
    archive.addfile(info, io.BytesIO(content) if info.isreg() else None)
