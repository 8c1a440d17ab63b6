"""One sentence for whoever lacks an extra."""

import contextlib
from collections.abc import Iterator

from scmultimodal.schemas.errors import InputError


@contextlib.contextmanager
def required(name: str = "eval") -> Iterator[None]:
    """Wraps imports of what an extra brings.

    Raises:
        InputError: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            "scmultimodal.evaluation",
            f"{error.name} is not installed",
            f"Run: pip install 'scmultimodal[{name}]'",
        ) from error
