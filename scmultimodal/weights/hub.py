"""Model folders on the Hugging Face hub (extra `hub`): fetched, and pushed.

Files are cached by huggingface-hub; its own settings say where, and whether it may use
the network (`HF_HUB_OFFLINE`).
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scmultimodal.schemas.errors import InputError

MODEL_FILES = ("*.json", "*.safetensors")
"""What a model is read from."""
_NAME = r"[\w.-]+/[\w.-]+"
# A pathlib.Path makes one slash of two.
_ADDRESS = re.compile(rf"hf:/{{1,2}}(?P<repository>{_NAME})(?:@(?P<revision>[^@\s]+))?")
_LOG_IN = "Log in by: hf auth login; or set HF_TOKEN"
_REASONS = {
    "GatedRepoError": ("asks for consent first", f"Give it on its page. {_LOG_IN}"),
    "RepositoryNotFoundError": (
        "is not there, or is private and you are not logged in",
        f"Check the name. {_LOG_IN}",
    ),
    "RevisionNotFoundError": ("has no such revision", "Check what is behind the @"),
    "LocalTokenNotFoundError": ("asks you to be logged in", _LOG_IN),
    "LocalEntryNotFoundError": (
        "is not in the cache, and the hub cannot be reached",
        "Check the network and HF_HUB_OFFLINE, or give a folder",
    ),
}
"""By the name of the error: a version of the hub may lack one."""


def is_address(path: str | os.PathLike) -> bool:
    """Whether something is an address of the hub and no path."""
    return os.fspath(path).startswith("hf:/")


def download(address: str | os.PathLike, patterns: Sequence[str] = MODEL_FILES) -> Path:
    """Fetches a model by "hf://owner/name" or "hf://owner/name@revision".

    Args:
        address: of the model.
        patterns: of the files that are wanted.

    Returns:
        The folder that its files are cached in.

    Raises:
        InputError: no such address, or it cannot be fetched.
    """
    found = _ADDRESS.fullmatch(os.fspath(address))
    if found is None:
        raise InputError(
            address, "is no address of the hub", "Write it as hf://owner/name"
        )
    return fetch(found["repository"], patterns, found["revision"])


def fetch(
    repository: str, patterns: Sequence[str], revision: str | None = None
) -> Path:
    """Fetches those files of a repository that fit patterns; returns their folder.

    Raises:
        InputError: huggingface-hub is not installed, or cannot fetch them.
    """
    client = _client(repository)
    how = {} if revision is None else {"revision": revision}
    with _naming(repository, "could not be fetched"):
        return Path(
            client.snapshot_download(repository, allow_patterns=list(patterns), **how)
        )


def check_push(repository: str) -> None:
    """Looks whether something may be pushed at all, before the work.

    Raises:
        InputError: no name of a repository, no huggingface-hub, or nobody logged in.
    """
    if not re.fullmatch(_NAME, repository):
        raise InputError(repository, "is no repository", "Write it as owner/name")
    if _client(repository).get_token() is None:
        raise InputError(repository, "asks you to be logged in", _LOG_IN)


def push(folder: Path, repository: str, message: str) -> str:
    """Uploads the files of a folder; a repository that is not there is made, private.

    Returns:
        Where it is to be seen.

    Raises:
        InputError: as `check_push`, or the hub refuses.
    """
    check_push(repository)
    client = _client(repository)
    with _naming(repository, "could not be pushed to"):
        address = client.create_repo(repository, exist_ok=True, private=True)
        client.upload_folder(
            repo_id=repository, folder_path=folder, commit_message=message
        )
    return str(address)


def _client(repository: str) -> Any:
    try:
        import huggingface_hub  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise InputError(
            repository,
            "is reached by huggingface-hub, which is not installed",
            "Run: pip install 'scmultimodal[hub]', or give a folder",
        ) from error
    return huggingface_hub


@contextmanager
def _naming(repository: str, problem: str) -> Iterator[None]:
    """Says in one line what the hub says in many."""
    try:
        yield
    except Exception as error:
        # The hub has its own errors, and those of three network libraries.
        for kind in type(error).__mro__:
            if kind.__name__ in _REASONS:
                raise InputError(repository, *_REASONS[kind.__name__]) from error
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise InputError(repository, "refuses you", _LOG_IN) from error
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(
            repository,
            f"{problem} ({reason})",
            "Check the name and the network, or give a folder",
        ) from error
