"""The command line: `scmultimodal demo`, `finetune`, `prepare-ranking`, `convert`."""

import inspect
import re
from typing import Annotated, Any

import tyro

from scmultimodal.cli.cells import Demo, Finetune, run_demo, run_finetune
from scmultimodal.cli.dna import (
    Convert,
    PrepareRanking,
    run_convert,
    run_prepare_ranking,
)
from scmultimodal.workflows import process


def _subcommand(command: type) -> Any:
    """Shows the docstring as it stands: tyro by itself would drop the examples."""
    text = inspect.cleandoc(command.__doc__ or "")
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", command.__name__).lower()
    return tyro.conf.subcommand(name, description=text)


Command = (
    Annotated[Demo, _subcommand(Demo)]
    | Annotated[Finetune, _subcommand(Finetune)]
    | Annotated[PrepareRanking, _subcommand(PrepareRanking)]
    | Annotated[Convert, _subcommand(Convert)]
)


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns a `schemas.status.Status`."""
    command = tyro.cli(
        Command,
        prog="scmultimodal",
        description="Foundation models for single-cell RNA and ATAC, and for DNA.",
        args=arguments,
    )
    return process.run(
        lambda: _RUNNERS[type(command)](command),
        name="scmultimodal",
        debug=command.debug,
    )


_RUNNERS = {
    Demo: run_demo,
    Finetune: run_finetune,
    PrepareRanking: run_prepare_ranking,
    Convert: run_convert,
}
