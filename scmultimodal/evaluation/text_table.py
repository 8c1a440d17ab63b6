"""Tables for a terminal."""

from collections.abc import Sequence


def aligned(
    rows: Sequence[Sequence[str]], *, names: int = 1, ruled: bool = False
) -> str:
    """Columns of text: those of names to the left, all else to the right.

    Args:
        rows: cells, as many in each row; the heads first.
        names: columns that hold names, from the first.
        ruled: draws a rule below the heads.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if ruled:
        rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    sides = [str.ljust if i < names else str.rjust for i in range(len(widths))]
    return "\n".join(
        "  ".join(
            put(cell, width)
            for put, cell, width in zip(sides, row, widths, strict=True)
        ).rstrip()
        for row in rows
    )
