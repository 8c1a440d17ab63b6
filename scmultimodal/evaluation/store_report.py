"""The facts of a prepared dataset as text for a terminal: the cells first."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from scmultimodal.evaluation import text_table

WIDTH = 88
TOP = 8
"""Names of a list that are shown."""
INDENT = 18
_HELD = "\N{NO-BREAK SPACE}"
_FILE = {"name", "bytes", "sha256"}

Facts = Mapping[str, Any]


def format_table(facts: Facts) -> str:
    """Lays out what `workflows.inspection.facts` found."""
    simulated = " (SIMULATED)" if facts["simulated"] else ""
    title = f"{facts['name']}{simulated}: {_headline(facts)}"
    blocks = [
        textwrap.fill(title, WIDTH, subsequent_indent="  "),
        _modalities(facts),
        _cells(facts),
        _datasets(facts["datasets"]),
        _source(facts),
    ]
    return "\n\n".join(block for block in blocks if block)


def _headline(facts: Facts) -> str:
    held = [m.upper() for m in facts["modalities"]]
    words = f"{facts['cells']:,} cells x {facts['genes']:,} genes, {' and '.join(held)}"
    if len(held) < 2:
        return words
    return f"{words} ({facts['cells_with']['both']:,} cells have both)"


def _modalities(facts: Facts) -> str:
    """One column for each modality."""
    found = facts["modalities"].values()
    most = max(len(numbers["bins"]) for numbers in found)
    rows = [
        ["", *(name.upper() for name in facts["modalities"])],
        ["cells", *(f"{n['cells']:,}" for n in found)],
        ["non-zero genes per cell", *(_median(n["nonzeros_per_cell"]) for n in found)],
        ["  5-95 % of cells", *(_range(n["nonzeros_per_cell"]) for n in found)],
        ["density", *(f"{100 * n['density']:.2f} %" for n in found)],
        [f"bins 1-{most}, training cells", *(_shares(n["bins"]) for n in found)],
        ["  evenness (1: all equal)", *(_evenness(n["evenness"]) for n in found)],
    ]
    return text_table.aligned(rows)


def _cells(facts: Facts) -> str:
    """Labels, batches, splits, and who is missing."""
    lines = []
    if facts["labels"] is not None:
        lines.append(_line("cell types", _names(facts["labels"])))
    if facts["batches"] is not None:
        lines.append(_line("batches", _names(facts["batches"])))
    if facts["splits"]:
        parts = (f"{name} {n:,}" for name, n in facts["splits"].items() if n)
        lines.append(_line("splits", ", ".join(parts).replace("_", " ")))
    if facts["left_out"]:
        ordered = sorted(facts["left_out"].items(), key=lambda item: -item[1])
        lines.append(_line("left out", _names(dict(ordered))))
    if facts["cell_filter"]:
        lines.append(_line("kept", filtered(facts["cell_filter"])))
    return "\n".join(lines)


def filtered(found: Facts) -> str:
    """How many cells were kept, and what the others lack."""
    poor = [f"{n:,} in {m.upper()}" for m, n in found["failed"].items() if n]
    words = f"{found['after']:,} of {found['before']:,} cells"
    if not poor:
        return words
    least = f"{100 * found['min_feature_fraction']:g} %"
    return f"{words}; fewer than {least} of the genes: {', '.join(poor)}"


def _datasets(datasets: Facts) -> str:
    """One row for each dataset; columns that say nothing are left out."""
    header = [
        "dataset", "cells", "genes known", "measured", "peaks", "lifted", "counts of",
        f"fragments within {_bands(datasets)} kb", "peaks kept", "fragments kept",
    ]  # fmt: skip
    rows = [[name, *_dataset(found)] for name, found in datasets.items()]
    used = [any(row[i] for row in rows) for i in range(len(header))]
    rows = [
        [cell or "-" for cell, use in zip(row, used, strict=True) if use]
        for row in rows
    ]
    header = [cell for cell, use in zip(header, used, strict=True) if use]
    return text_table.aligned([header, *rows])


def _dataset(found: Facts) -> list[str]:
    alignment = found.get("gene_alignment", {})
    known, of = "", alignment.get("features")
    if of:
        known = f"{100 * alignment['resolved'] / of:.1f} % of {of:,}"
    measured, peaks = found["genes_measured"], found.get("peak_aggregation", {})
    return [
        f"{found['cells']:,}",
        known,
        f"{measured:,}" if measured is not None else "",
        f"{peaks['peaks']:,}" if peaks else "",
        f"{found['liftover']['lifted']:,}" if "liftover" in found else "",
        found.get("counts", {}).get("taken_for", ""),
        _near(peaks) if peaks else "",
        *_kept(found.get("peak_tokens")),
    ]


def _kept(found: Facts | None) -> tuple[str, str]:
    """The shares of peaks, and of fragments, that the peak vocabulary has."""
    if found is None:
        return "", ""
    of_peaks = found["peaks_kept"] / max(found["peaks"], 1)
    of_fragments = found["fragments_kept"] / max(found["fragments"], 1)
    return f"{100 * of_peaks:.1f} %", f"{100 * of_fragments:.1f} %"


def _bands(datasets: Facts) -> str:
    """The distances, which are the same for all datasets."""
    found = (
        d["peak_aggregation"] for d in datasets.values() if "peak_aggregation" in d
    )
    return "/".join(f"{bp / 1e3:g}" for bp in next(found, {"bands_bp": ()})["bands_bp"])


def _near(peaks: Facts) -> str:
    """Share of the fragments within each distance of a gene."""
    kept = np.cumsum(peaks["fragments_per_band"]) / max(1, peaks["fragments"])
    return "/".join(f"{100 * share:.0f}" for share in kept) + " %"


def _source(facts: Facts) -> str:
    recipe, provenance = facts["recipe"], facts["provenance"]
    genes = facts["vocabulary"].get("how")
    version = provenance.get("scmultimodal", "an unknown version")
    revision = str(provenance.get("revision") or "unknown")
    marked = "+" if revision.endswith("+") else ""
    lines = [
        _line("genes", f"{facts['genes']:,}" + (f" ({genes})" if genes else "")),
        *([_line("peaks", _peaks(peaks))] if (peaks := facts["peak_tokens"]) else []),
        _line("bins", ", ".join(_recipe(recipe))),
        _line("store", facts["store"]),
        _line("size", f"{_bytes(facts['bytes'])}, shards: {facts['shards']:,}"),
        _line("made by", f"scmultimodal {version}, revision {revision[:12]}{marked}"),
    ]
    if "command" in provenance:
        lines.append(_line("command", provenance["command"]))
    return "\n".join([*lines, *_files(provenance.get("files", ()))])


def _peaks(found: Facts) -> str:
    """Those that are kept."""
    per_cell = found["per_cell"]
    return (
        f"{found['peaks']:,} ({found['origin'].get('how', 'given')}), "
        f"{found['median_bp']:,.0f} bp, the longest {found['longest_bp']:,}; open in a "
        f"cell {_median(per_cell)} ({_range(per_cell)})"
    )


def _files(files: Iterable[Any]) -> list[str]:
    """Name, size and sha256 of each; a store may be made of anything else."""
    known = [f for f in files if isinstance(f, Mapping) and f.keys() >= _FILE]
    if not known:
        return []
    table = text_table.aligned(
        [[f["name"], _bytes(f["bytes"]), f"sha256 {f['sha256'][:12]}"] for f in known]
    )
    titles = ["files"] + [""] * (len(known) - 1)
    lines = zip(titles, table.splitlines(), strict=True)
    return [title.ljust(INDENT) + line for title, line in lines]


def _recipe(recipe: Facts) -> list[str]:
    parts = [str(recipe.get("strategy", "")), f"1-{recipe.get('num_bins', '?')}"]
    totals = recipe.get("totals", {}).items()
    return [*parts, *(f"{m.upper()} scaled to {total:,.6g}" for m, total in totals)]


def _names(numbers: Mapping[str, int]) -> str:
    """The first names of a list with their numbers, and how many more there are."""
    shown = [f"{name} {n:,}" for name, n in list(numbers.items())[:TOP]]
    more = len(numbers) - TOP
    shown += [f"and {more} more"] if more > 0 else []
    return f"{len(numbers)}: " + ", ".join(s.replace(" ", _HELD) for s in shown)


def _median(found: Mapping[str, float | None]) -> str:
    return "-" if found["p50"] is None else f"{found['p50']:,.0f}"


def _range(found: Mapping[str, float | None]) -> str:
    return "-" if found["p5"] is None else f"{found['p5']:,.0f}-{found['p95']:,.0f}"


def _shares(bins: Sequence[int]) -> str:
    """Of each bin, or the least and the most where they are many."""
    if not sum(bins):
        return "-"
    shares = [100 * n / sum(bins) for n in bins]
    if len(shares) > TOP:
        return f"{min(shares):.1f} to {max(shares):.1f} % each"
    return " ".join(f"{share:.0f}" for share in shares) + " %"


def _evenness(value: float | None) -> str:
    # A rounded 1 would hide that they are not equal.
    return "-" if value is None else f"{np.floor(1000 * value) / 1000:.3f}"


def _bytes(number: int) -> str:
    power = min(3, (len(str(number)) - 1) // 3)
    return f"{number / 1_000**power:.3g} {('bytes', 'kB', 'MB', 'GB')[power]}"


def _line(title: str, text: str) -> str:
    """A title and what is to say of it, wrapped beside it."""
    wrapped = textwrap.fill(
        text,
        WIDTH,
        initial_indent=title.ljust(INDENT),
        subsequent_indent=" " * INDENT,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return wrapped.replace(_HELD, " ")
