"""The command `doctor`: is this machine fit, and what belongs into a bug report."""

import dataclasses
import json
import textwrap

from scmultimodal.schemas.status import Status

WIDTH = 88
INDENT = 22


@dataclasses.dataclass(frozen=True, kw_only=True)
class Doctor:
    """Say whether this machine is fit to run scmultimodal, with a remedy where not.

    Looks at installation, Python, packages and extras, at what jax computes on, at a
    small model from counts to vectors, and at folders, disk and memory. What it prints
    belongs into a bug report: it names no user and no token. Ends with status 2 where
    something is missing that is needed.

    Examples:
        scmultimodal doctor
        scmultimodal doctor --json > doctor.json
    """

    json: bool = False
    """Print all that was found as JSON, and nothing else."""
    debug: bool = False
    """Show a traceback with an error."""


def run_doctor(command: Doctor) -> Status:
    """`scmultimodal doctor`."""
    from scmultimodal.workflows import doctor, process

    process.quiet()
    findings = []
    for finding in doctor.examine(debug=command.debug):
        findings.append(finding)
        if not command.json:
            print(_lines(finding.name, finding.status, finding.found), flush=True)
    fit = doctor.is_fit(findings)
    if command.json:
        facts = {"fit": fit, "findings": list(map(dataclasses.asdict, findings))}
        print(json.dumps(facts, indent=1))
    else:
        print()
        for finding in findings:
            if finding.remedy:
                print(_lines(finding.name, "remedy", finding.remedy))
        print("fit" if fit else "not fit: see the remedies above")
    return Status.DONE if fit else Status.GIVE_UP


def _lines(name: str, status: str, text: str) -> str:
    start = f"{name:<15} {status:<6}"
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=f"{start:<{INDENT}} ",
        subsequent_indent=" " * (INDENT + 1),
        break_long_words=False,
        break_on_hyphens=False,
    )
