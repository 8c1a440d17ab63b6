"""Where the prepared data of a run are, for its page."""

import os
from collections.abc import Sequence
from pathlib import Path

from scmultimodal.data.store import Store
from scmultimodal.schemas.errors import InputError


def find(places: Sequence[str | os.PathLike | None]) -> Path:
    """The first of several folders, or addresses, that holds what was prepared.

    Args:
        places: the run's own first; None where none was given.

    Raises:
        InputError: none does, or a bucket cannot be read.
    """
    for place in places:
        if place and (folder := Store.find(place)) is not None:
            return folder
    remedy = "Put them back to see what is computed from them"
    raise InputError(places[0], "the prepared data of the run are not there", remedy)
