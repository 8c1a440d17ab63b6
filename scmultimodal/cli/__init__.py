"""The command line: `scmultimodal demo`, `prepare`, `finetune` and others."""

import re
from inspect import cleandoc
from typing import Annotated, Any

import tyro

from scmultimodal.cli.cells import Demo, Finetune, run_demo, run_finetune
from scmultimodal.cli.dna import (
    Convert,
    PrepareRanking,
    run_convert,
    run_prepare_ranking,
)
from scmultimodal.cli.explain import Explain, Perturb, run_explain, run_perturb
from scmultimodal.cli.export import Export, run_export
from scmultimodal.cli.inference import (
    Annotate,
    Embed,
    Impute,
    Score,
    run_annotate,
    run_embed,
    run_impute,
    run_score,
)
from scmultimodal.cli.inspect import Inspect, run_inspect
from scmultimodal.cli.prepare import Prepare, run_prepare
from scmultimodal.cli.report import Report, run_report
from scmultimodal.cli.segmentation import (
    PrepareSegmentation,
    ScoreVariants,
    Segment,
    run_prepare_segmentation,
    run_score_variants,
    run_segment,
)
from scmultimodal.workflows import process


def _subcommand(command: type) -> Any:
    """Shows the docstring as it stands: tyro by itself would drop the examples."""
    text = cleandoc(command.__doc__ or "")
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", command.__name__).lower()
    return tyro.conf.subcommand(name, description=text)


Command = (
    Annotated[Demo, _subcommand(Demo)]
    | Annotated[Prepare, _subcommand(Prepare)]
    | Annotated[Inspect, _subcommand(Inspect)]
    | Annotated[Finetune, _subcommand(Finetune)]
    | Annotated[Embed, _subcommand(Embed)]
    | Annotated[Annotate, _subcommand(Annotate)]
    | Annotated[Impute, _subcommand(Impute)]
    | Annotated[Perturb, _subcommand(Perturb)]
    | Annotated[Explain, _subcommand(Explain)]
    | Annotated[PrepareRanking, _subcommand(PrepareRanking)]
    | Annotated[PrepareSegmentation, _subcommand(PrepareSegmentation)]
    | Annotated[Segment, _subcommand(Segment)]
    | Annotated[Score, _subcommand(Score)]
    | Annotated[ScoreVariants, _subcommand(ScoreVariants)]
    | Annotated[Convert, _subcommand(Convert)]
    | Annotated[Export, _subcommand(Export)]
    | Annotated[Report, _subcommand(Report)]
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
    Prepare: run_prepare,
    Inspect: run_inspect,
    Finetune: run_finetune,
    Embed: run_embed,
    Annotate: run_annotate,
    Impute: run_impute,
    Perturb: run_perturb,
    Explain: run_explain,
    PrepareRanking: run_prepare_ranking,
    PrepareSegmentation: run_prepare_segmentation,
    Segment: run_segment,
    Score: run_score,
    ScoreVariants: run_score_variants,
    Convert: run_convert,
    Export: run_export,
    Report: run_report,
}
