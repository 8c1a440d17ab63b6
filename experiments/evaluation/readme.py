"""Tables of a Markdown file that commands fill, between two comments each."""

from pathlib import Path

from scmultimodal.data import atomic
from scmultimodal.schemas.errors import InputError, first_line


def check(path: Path, name: str) -> None:
    """Raises InputError where a file has not exactly one place for a table."""
    _around(path, name)


def fill(path: Path, name: str, table: str) -> None:
    """Replaces what stands between `<!-- NAME -->` and `<!-- end of NAME -->`.

    Raises:
        InputError: as `check`.
    """
    before, after = _around(path, name)
    atomic.write_text(path, f"{before}\n{table}\n\n{after}")


def _around(path: Path, name: str) -> tuple[str, str]:
    """What stands up to the place, and from its end on."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            path, f"cannot be read ({first_line(error)})", "give a Markdown file"
        ) from error
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed or begin in rest:
        raise InputError(
            path,
            f"has no place, or several, for the table {name!r}",
            f"write {begin.strip()} and {end} around it once",
        )
    return before + begin, end + after
