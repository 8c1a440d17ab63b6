"""One sentence for whoever lacks the `eval` extra."""

import contextlib
from collections.abc import Iterator

from scmultimodal.schemas.errors import InputError


@contextlib.contextmanager
def required() -> Iterator[None]:
    """Wraps imports of scikit-learn, matplotlib and umap-learn.

    Raises:
        InputError: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            "scmultimodal.evaluation",
            f"{error.name} is not installed",
            "Run: pip install 'scmultimodal[eval]'",
        ) from error
