"""How many regions were given for ranking, and what became of them."""

from collections.abc import Sequence
from typing import Any

from scmultimodal.genome.regions import RegionTable
from scmultimodal.genome.span_table import DROPPED, ChromosomeSpans


def say(found: Sequence[ChromosomeSpans], within: int, regions: int) -> list[str]:
    """How many spans there are, of how many regions, and what was left out.

    Args:
        found: the spans of all chromosomes.
        within: regions that lie where spans may lie.
        regions: that were given.
    """
    spans = sum(len(f.table) for f in found)
    dropped = sum(f.dropped for f in found).sum(axis=0)
    reasons = [
        f"{count:,} {reason.replace('_', ' ')}"
        for reason, count in zip(DROPPED, dropped, strict=True)
        if count
    ]
    said = [f"{spans:,} spans", f"{within:,} of {regions:,} regions lie in a part"]
    return [*said, f"spans left out: {', '.join(reasons)}"] if reasons else said


def choices(
    found: Sequence[ChromosomeSpans],
    tables: Sequence[RegionTable],
    given: Sequence[int],
    within: Sequence[int],
    samples: Sequence[str],
) -> dict[str, Any]:
    """What was given and what was dropped; JSON.

    Args:
        found: the spans of all chromosomes.
        tables: what they were made of.
        given: regions of each table before those without a sequence were left out.
        within: regions of each table that lie where spans may lie.
        samples: names over all tables.
    """
    dropped = sum(f.dropped for f in found)
    return {
        "tables": [
            {
                "source": table.source,
                "regions": regions,
                "regions_without_sequence": regions - len(table.regions),
                "regions_within_split": inside,
                "mean_length_bp": table.lengths()[0],
                "sd_length_bp": table.lengths()[1],
                "open_regions": dict(
                    zip(table.samples, (table.values > 0).sum(0).tolist(), strict=True)
                ),
            }
            for table, regions, inside in zip(tables, given, within, strict=True)
        ],
        "spans_dropped": {
            sample: dict(zip(DROPPED, row, strict=True))
            for sample, row in zip(samples, dropped.tolist(), strict=True)
        },
    }
