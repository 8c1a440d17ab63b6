"""`python -m tpu.scaling`: what a training takes on TPUs, by arithmetic.

    python -m tpu.scaling                                  # all generations
    python -m tpu.scaling --accelerator v5e --price 1.2    # one, and what it costs
    python -m tpu.scaling --readme tpu/README.md           # fills its tables

Nothing of it was measured on a TPU. What was measured, on a CPU, is in footprint.json
(`python -m tpu.scaling.measuring`); what Google Cloud says of its chips is in chips.py;
the formulae are in formulae.py; all else is assumed, and a flag changes it.
"""

import dataclasses
import sys
from pathlib import Path

import tyro

from experiments.evaluation import readme
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.status import Status
from tpu.scaling import footprint, tables
from tpu.scaling.case import Assumptions, Case
from tpu.scaling.chips import CHIPS
from tpu.scaling.tables import Cases

SECTIONS = {
    "costs": (tables.of_chips, tables.of_network, tables.of_run, tables.of_corpus),
    "batches": (tables.of_batches,),
    "scaling": (tables.of_scaling, tables.of_data, tables.of_checkpoints),
}
"""Tables by their place in the README."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """What is reckoned, and where it goes."""

    assumed: tyro.conf.OmitArgPrefixes[Assumptions] = dataclasses.field(
        default_factory=Assumptions
    )
    readme: Path | None = None
    """File whose tables are filled, in place of printing them."""

    def __post_init__(self):
        if self.readme is not None and not self.readme.is_file():
            raise InputError(self.readme, "is no file", "Name the README to fill")


def main(arguments: list[str] | None = None) -> int:
    """Prints the tables, or fills those of a file; returns a `Status`."""
    try:
        command = tyro.cli(
            Command, args=arguments, description=__doc__, prog="python -m tpu.scaling"
        )
        found = sections(cases(command.assumed))
        for name, text in found.items():
            if command.readme is None:
                print(f"{name}\n\n{text}\n")
            else:
                readme.fill(command.readme, name, text)
    except InputError as error:
        print(f"tpu: {error}", file=sys.stderr)
        return Status.GIVE_UP
    return Status.DONE


def cases(assumed: Assumptions) -> Cases:
    """One for each generation that is asked for.

    Raises:
        InputError: the preset was not measured.
    """
    network, prepared = footprint.network(assumed.preset), footprint.cells()
    return {
        name: Case(assumed=assumed, network=network, prepared=prepared, chip=chip)
        for name, chip in CHIPS.items()
        if assumed.accelerator in (None, name)
    }


def sections(cases: Cases) -> dict[str, str]:
    """The tables of each section, one below the other."""
    return {
        name: "\n\n".join(table(cases) for table in chosen)
        for name, chosen in SECTIONS.items()
    }


if __name__ == "__main__":
    sys.exit(main())
