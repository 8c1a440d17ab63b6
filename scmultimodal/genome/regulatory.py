"""Regulatory elements and polyA signals from the files that publish them.

Taken: ENCODE's candidate cis-regulatory elements (BED; registries V3 and V4), Ensembl's
Regulatory Build (GFF3, or a table with a column of kinds), GENCODE's polyA features
(GTF), and BED for polyA signals.
"""

from pathlib import Path

import pandas as pd

from scmultimodal.genome import text_files
from scmultimodal.genome.interval_tables import read_intervals, read_places
from scmultimodal.genome.intervals import check_intervals
from scmultimodal.schemas.errors import InputError

_CTCF = "CTCF"
_CANDIDATES = {
    "PLS": "promoter",
    "pELS": "enhancer",
    "dELS": "enhancer",
    "CTCF-only": _CTCF,
    "CA-CTCF": _CTCF,
    "DNase-H3K4me3": "other",
    "CA-H3K4me3": "other",
    "CA-TF": "other",
    "CA-only": "other",
    "CA": "other",
    "TF": "other",
}
"""Classes of ENCODE's registries. SegmentNT takes both kinds of enhancer-like ones."""
_BUILD = {
    "promoter": "promoter",
    "enhancer": "enhancer",
    "CTCF_binding_site": _CTCF,
    "CTCF": _CTCF,
    "promoter_flanking_region": "other",
    "open_chromatin_region": "other",
    "ocr": "other",
    "TF_binding_site": "other",
    "EMAR": "other",
}
"""Feature types of Ensembl's Regulatory Build, and of tables made from it."""
_LABELS = ("kind", "label", "feature_type", "type", "class")
_GFF_COLUMNS = 9
_REMEDY = (
    "Give ENCODE's cCREs as BED, Ensembl's Regulatory Build as GFF3, or a table with "
    f"a header: chrom, start, end and a column named {' or '.join(_LABELS)}"
)


def read_regulatory(path: str | Path) -> pd.DataFrame:
    """Reads regulatory elements; the format is recognised by content.

    An ENCODE element that is CTCF-bound gives two rows: what it is, and "CTCF".

    Args:
        path: the file, gzipped or not.

    Returns:
        chrom, start, end (0-based, half-open, bp), kind: "promoter", "enhancer", "CTCF"
        or "other".

    Raises:
        InputError: the file is missing or damaged, or a kind in it is not known.
    """
    path = Path(path)
    if _is_gff(path):
        table = _read_gff(path)
        kind = _known(table["type"], _BUILD, path)
        return table[["chrom", "start", "end"]].assign(kind=kind)
    table = read_intervals(path)
    places = table[["chrom", "start", "end"]]
    column = next((name for name in _LABELS if name in table), None)
    if column is not None:
        return places.assign(kind=_known(table[column], _BUILD | _CANDIDATES, path))
    column = next(
        (name for name in table.columns[3:] if _is_candidate(table[name]).all()), None
    )
    if column is None:
        raise InputError(path, "has no column of kinds", _REMEDY)
    group = table[column].str.split(",")
    kind = _known(group.str[0], _CANDIDATES, path)
    bound = places[group.str[-1].str.lower() == "ctcf-bound"].assign(kind=_CTCF)
    return pd.concat([places.assign(kind=kind), bound], ignore_index=True)


def read_polya(path: str | Path) -> pd.DataFrame:
    """Reads polyA signals: GENCODE's polyA GTF (its signals alone), or a BED of them.

    Returns:
        chrom, start, end (0-based, half-open, bp).

    Raises:
        InputError: the file is missing, damaged, or holds no signal.
    """
    path = Path(path)
    if not _is_gff(path):
        return read_places(path)
    table = _read_gff(path)
    signals = table[table["type"] == "polyA_signal"]
    if signals.empty:
        found = ", ".join(sorted(table["type"].unique())[:5])
        remedy = "Give GENCODE's polyAs file, or a BED of signals"
        raise InputError(path, f"holds no polyA_signal but {found}", remedy)
    return signals[["chrom", "start", "end"]].reset_index(drop=True)


def _is_gff(path: Path) -> bool:
    """Whether the first line of content has the nine columns of GTF and GFF3."""
    with text_files.reading(path, remedy=_REMEDY), text_files.open_text(path) as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                fields = line.split("\t")
                numbers = fields[3:5] if len(fields) == _GFF_COLUMNS else ["-"]
                return all(number.isdecimal() for number in numbers)
    return False


def _read_gff(path: Path) -> pd.DataFrame:
    """chrom, start, end, type of every line."""
    rows = []
    with text_files.reading(path, remedy=_REMEDY), text_files.open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            if line.startswith("#") or not line.strip():
                continue
            fields = line.split("\t")
            if len(fields) != _GFF_COLUMNS:
                problem = f"line {number} has {len(fields)} columns, not {_GFF_COLUMNS}"
                raise InputError(path, problem, "Is the file complete?")
            if not (fields[3].isdecimal() and fields[4].isdecimal()):
                problem = f"line {number}: {fields[3]!r} to {fields[4]!r}"
                raise InputError(path, problem, "Coordinates are whole numbers of bp")
            rows.append((fields[0], int(fields[3]) - 1, int(fields[4]), fields[2]))
    table = pd.DataFrame(rows, columns=["chrom", "start", "end", "type"])
    check_intervals(table, table["type"], path)
    return table


def _is_candidate(column: pd.Series) -> pd.Series:
    return column.str.split(",").str[0].isin(list(_CANDIDATES))


def _known(kinds: pd.Series, names: dict[str, str], path: Path) -> pd.Series:
    found = kinds.map(names)
    if bool(found.isna().any()):
        unknown = kinds[found.isna()].iloc[0]
        known = ", ".join(names)
        raise InputError(path, f"{unknown!r} is no kind that we know", f"Use {known}")
    return found
