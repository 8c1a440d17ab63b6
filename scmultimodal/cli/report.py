"""The command `report`: a page of one run, or of several side by side."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from scmultimodal.schemas.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """Write one page that compares runs, with its pictures and a JSON beside it.

    What was run, by which command, where and for how long; the settings that differ;
    scores beside those of baselines, the best bold, and the difference to the first
    run; learning curves; scores class by class. Runs that were judged on other examples
    are shown, and said not to be comparable. Runs of several kinds (cell types, region
    ranking, segmentation, pre-training) have a section for each kind, and so has what
    `perturb` and `explain` left: their tables and pictures. One run alone has its page
    made anew.

    Examples:
        scmultimodal report runs/demo runs/best --out runs/demo-against-best
        scmultimodal report runs/ranking --out runs/ranking-page
        scmultimodal report runs/deleted runs/closed runs/markers --out runs/asked
        scmultimodal report runs/demo --open
        scmultimodal report tracks --open
    """

    runs: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")
    ]
    """Run folders: what a command or a study wrote by --out; or perturb, or explain."""
    out: Path | None = None
    """Folder to make: report.html, report.json and pictures. Needed without --open."""
    open: bool = False
    """Make one page to explore the run in, and show it in the browser: cells on a map,
    confusion matrices, curves, scores, tracks along a genome (of what `segment` wrote,
    too). It needs the run's model and prepared data; what is not there is said. It is
    view.html at --out, or in the run's folder `report`, and may be sent to others."""
    overwrite: bool = False
    """Replace a report that stands at --out."""
    debug: bool = False
    """Show a traceback with an error."""


def run_report(command: Report) -> None:
    """`scmultimodal report`."""
    if command.open:
        from scmultimodal.workflows import view

        page = view.run(command.runs, command.out, overwrite=command.overwrite)
        shown = view.open_in_browser(page)
        print(f"page    {page}" + ("" if shown else "   (open it in a browser)"))
        return
    if command.out is None:
        raise InputError("--out", "is missing", "Give a folder, or --open for a page")
    from scmultimodal.workflows import comparison

    page = comparison.run(command.runs, command.out, overwrite=command.overwrite)
    print(f"report  {page}\nfacts   {command.out / 'report.json'}")
