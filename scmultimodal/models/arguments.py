"""Arguments that name one of a few things."""

from collections.abc import Iterable

from scmultimodal.schemas.errors import InputError


def check(argument: str, given: object, known: Iterable[str]) -> None:
    """Raises InputError for what is none of the names that are known."""
    names = [str(name) for name in known]
    if given not in names:
        raise InputError(argument, f"is {given!r}", f"Give one of {', '.join(names)}")
