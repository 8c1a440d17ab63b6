"""The command `export`: a model for people who have not got this package."""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """Write a trained model as a folder that others can load, read and check.

    Weights (safetensors), settings, vocabulary with medians and bins, a reference with
    what the model made of it; programs that run by jax alone (jax.export, StableHLO; on
    CPU, GPU and TPU); for cell models a loader in plain numpy, evaluate.py; and a card,
    README.md, with what the run measured. Ends with a check of all of it.

    Examples:
        scmultimodal export --model runs/demo --out models/cortex --license cc-by-4.0
        scmultimodal export --model runs/ranking --out models/open --push me/open-dna
        scmultimodal export --check models/cortex
        scmultimodal export --check hf://me/open-dna --json
    """

    model: str | None = None
    """Run folder, exported model, or hf://owner/name."""
    out: Path | None = None
    """Folder to make."""
    license: str | None = None
    """Licence of the weights, as the Hugging Face hub names it: cc-by-4.0."""
    push: str | None = None
    """Then upload it to this repository of the hub, owner/name (extra hub). One that is
    not there is made, private."""
    check: str | None = None
    """Check a folder, or hf://owner/name, that somebody gave you, and write nothing."""
    overwrite: bool = False
    """Replace an older model of the same kind that stands at --out, and its card."""
    json: bool = False
    """Print files, checks and addresses as JSON, and nothing else."""
    debug: bool = False
    """Show a traceback with an error."""


def run_export(command: Export) -> None:
    """`scmultimodal export`."""
    from scmultimodal.weights import hub
    from scmultimodal.workflows import exporting

    _refuse(command)
    if command.check is not None:
        checks = _check(command.check)
        print(_as_json({}, checks) if command.json else _format_checks(checks))
        return
    found = exporting.run(
        command.model,
        command.out,
        license=command.license,
        name=command.push,
        overwrite=command.overwrite,
    )
    checks, address = _check(str(command.out)), None
    if not command.json:
        print(f"{_format_files(found.sizes)}\n\n{_format_checks(checks)}\n")
    if command.push is not None:
        address = hub.push(command.out, command.push, "Export a scmultimodal model")
    facts = {
        "metrics": found.metrics,
        "licence": command.license,
        "hub": address,
        "model": str(command.out),
    }
    if command.json:
        print(_as_json({"files": found.sizes, **facts}, checks))
        return
    facts["licence"] = command.license or "not recorded: give --license"
    print("\n".join(f"{name:<8} {said}" for name, said in facts.items() if said))


def _refuse(command: Export) -> None:
    """Raises InputError for flags that do not fit, before the work."""
    from scmultimodal.schemas.errors import InputError
    from scmultimodal.weights import hub

    if command.check is not None:
        alone = Export(check=command.check, json=command.json, debug=command.debug)
        if command != alone:
            problem = "writes nothing, and another flag is given"
            raise InputError("--check", problem, "Give --check alone, or with --json")
        return
    if command.model is None or command.out is None:
        missing = "--model" if command.model is None else "--out"
        raise InputError(missing, "is missing", "Give --model and --out, or --check")
    if command.push is not None:
        hub.check_push(command.push)
    if command.license is not None and not re.fullmatch(r"[\w.-]+", command.license):
        problem = f"is no licence of the hub: {command.license!r}"
        raise InputError("--license", problem, "Write it as cc-by-4.0, or other")


def _check(folder: str) -> dict[str, Any]:
    """What became of the model and of each companion: `exporting.Checked`."""
    from scmultimodal.models import CellModel, GenomeModel
    from scmultimodal.weights import export
    from scmultimodal.workflows import exporting

    is_cells = isinstance(exporting.load(folder), export.StoredModel)
    face = CellModel if is_cells else GenomeModel
    worst = face.load(folder).self_check()
    return {
        face.__name__: exporting.Checked(difference=worst),
        **exporting.check(folder),
    }


def _as_json(facts: Mapping[str, Any], checks: Mapping[str, Any]) -> str:
    said = {name: dataclasses.asdict(of) for name, of in checks.items()}
    return json.dumps({**facts, "checks": said}, indent=1, allow_nan=False)


def _format_files(sizes: Mapping[str, int]) -> str:
    width = max(map(len, sizes))
    return "\n".join(f"{n:<{width}}  {size:>12,} bytes" for n, size in sizes.items())


def _format_checks(checks: Mapping[str, Any]) -> str:
    width = max(map(len, checks))
    lines = [f"{name:<{width}}  {said}" for name, said in checks.items()]
    return "\n".join(
        [f"{'checked':<{width}}  largest difference from the reference", *lines]
    )
