"""Runs a study: `python -m experiments.train STUDY --out RUN [overrides]`.

The same line serves a laptop and every host of a pod. A study is a module of this
package with a `Study` (a `StudyConfig` with all its numbers), `default(preset)` and
`run(study)`.
"""

import argparse
import importlib
import importlib.metadata
import shlex
import sys
import typing
from pathlib import Path

import tyro

from scmultimodal.data import atomic, mirror
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import process

STUDIES = (
    "cell_model.pretraining",
    "cell_model.finetuning",
    "cell_model.cell_type",
    "cell_model.token_modes",
    "cell_model.attention_error",
    "cell_model.peaks",
    "cell_model.gene_values",
    "cell_model.batch_correction",
    "genome_model.kmer_pretraining",
    "genome_model.region_ranking",
    "genome_model.ranking_grid",
    "genome_model.segmentation",
    "genome_model.segmentation_encoders",
)
ON_SEVERAL_HOSTS = (
    "cell_model.pretraining",
    "cell_model.finetuning",
    "genome_model.kmer_pretraining",
    "genome_model.region_ranking",
    "genome_model.segmentation",
)
"""The others train many models, which single hosts do better, or none."""


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line and runs a study; returns a `schemas.status.Status`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] not in STUDIES:
        asked = arguments[0] if arguments else ""
        print(__doc__, "Studies: " + ", ".join(STUDIES), sep="\n", file=sys.stderr)
        return 0 if asked in ("-h", "--help") else 2
    study = importlib.import_module(f"experiments.{arguments[0]}")

    def work() -> None:
        numbers = parse(study, arguments[1:])
        _meet_other_hosts(arguments, numbers.out)
        with mirror.kept(numbers.out, numbers.bucket, writes=_is_main):
            study.run(numbers)
        if numbers.bucket is not None:
            _wait_for_all()

    return process.run(work, name=arguments[0], debug="--debug" in arguments)


def _wait_for_all() -> None:
    """Nobody leaves while the main host still sends what was made."""
    from scmultimodal.training import hosts

    hosts.barrier("sent")


def _is_main() -> bool:
    from scmultimodal.training import hosts

    return hosts.is_main()


def _meet_other_hosts(arguments: list[str], out: Path) -> None:
    """Where the environment gives this process a role: all must run the same."""
    from scmultimodal.training import hosts, meeting
    from scmultimodal.workflows import provenance

    role = meeting.from_environment()
    if role is None:
        return
    if arguments[0] not in ON_SEVERAL_HOSTS:
        raise InputError(
            arguments[0],
            f"does not train on several hosts, and {meeting.HOSTS} is {role.hosts}",
            f"run it on one, or run {', '.join(ON_SEVERAL_HOSTS)}",
        )
    identity = {
        "command": shlex.join(arguments),
        "revision": str(provenance.git_revision()),
        "version of jax": importlib.metadata.version("jax"),
    }
    hosts.join(role, identity, check=lambda: atomic.check_writable(out))


def parse(study, arguments: list[str]):
    """A study's numbers: those of `--preset`, then the overrides."""
    asked = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    asked.add_argument("--preset", nargs="?")  # A wrong one is tyro's to refuse.
    preset = asked.parse_known_args(arguments)[0].preset
    name = study.__name__.removeprefix("experiments.")
    known = typing.get_args(typing.get_type_hints(study.Study)["preset"])
    return tyro.cli(
        study.Study,
        default=study.default(preset if preset in known else "small"),
        args=arguments,
        description=study.__doc__,
        prog=f"python -m experiments.train {name}",
        config=(tyro.conf.EnumChoicesFromValues,),
    )


if __name__ == "__main__":
    sys.exit(main())
