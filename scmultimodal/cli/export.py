"""The command `export`: a model for people who have not got this package."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path


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
        scmultimodal export --check hf://me/open-dna
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
    debug: bool = False
    """Show a traceback with an error."""


def run_export(command: Export) -> None:
    """`scmultimodal export`."""
    from scmultimodal.schemas.errors import InputError
    from scmultimodal.weights import hub
    from scmultimodal.workflows import exporting

    if command.check is not None:
        if command != Export(check=command.check, debug=command.debug):
            problem = "writes nothing, and another flag is given"
            raise InputError("--check", problem, "Give --check alone")
        print(_format_checks(_check(command.check)))
        return
    if command.model is None or command.out is None:
        missing = "--model" if command.model is None else "--out"
        raise InputError(missing, "is missing", "Give --model and --out, or --check")
    if command.push is not None:
        hub.check_push(command.push)
    if command.license is not None and not re.fullmatch(r"[\w.-]+", command.license):
        problem = f"is no licence of the hub: {command.license!r}"
        raise InputError("--license", problem, "Write it as cc-by-4.0, or other")
    found = exporting.run(
        command.model,
        command.out,
        license=command.license,
        name=command.push,
        overwrite=command.overwrite,
    )
    checks = _check(str(command.out))
    width = max(map(len, found.sizes))
    lines = [f"{n:<{width}}  {size:>12,} bytes" for n, size in found.sizes.items()]
    print("\n".join(lines), end=f"\n\n{_format_checks(checks)}\n\n")
    print(f"metrics  {found.metrics}")
    print(f"licence  {command.license or 'not recorded: give --license'}")
    if command.push is not None:
        address = hub.push(command.out, command.push, "Export a scmultimodal model")
        print(f"hub      {address}")
    print(f"model    {command.out}")


def _check(folder: str) -> dict[str, str]:
    """What became of the model and of each companion, in words."""
    from scmultimodal.models import CellModel, GenomeModel
    from scmultimodal.weights import export
    from scmultimodal.workflows import exporting

    is_cells = isinstance(exporting.load(folder), export.StoredModel)
    face = CellModel if is_cells else GenomeModel
    return {
        face.__name__: f"{face.load(folder).self_check():.1e}",
        **exporting.check(folder),
    }


def _format_checks(checks: Mapping[str, str]) -> str:
    width = max(map(len, checks))
    lines = [f"{name:<{width}}  {said}" for name, said in checks.items()]
    return "\n".join(
        [f"{'checked':<{width}}  largest difference from the reference", *lines]
    )
