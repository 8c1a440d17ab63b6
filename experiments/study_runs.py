"""The study's runs, each as the line that makes it.

    python -m experiments.study_runs
    python -m experiments.study_runs pretraining_mixed --pods tpu/pods \\
        --data gs://b/data --models gs://b/data --runs gs://b/runs

Numbers, what each run starts from, and the figure that the study published are in
study_runs.toml. What the lines read is prepared by `experiments.study_datasets`, and
sent to the bucket of a pod by `python -m tpu push`.
"""

import dataclasses
import itertools
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments import train
from experiments.prepare_lines import format_line
from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import process

FILE = Path(__file__).with_name("study_runs.toml")
RECKONED = "cell_model.pretraining"
"""The study that `tpu.scaling` knows."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyRun:
    """A run of the study; the fields are described in the file."""

    name: str
    study: str
    source: str
    flags: str
    pod: str
    after: tuple[str, ...] = ()
    published: Mapping[str, float] = dataclasses.field(default_factory=dict)
    note: str = ""

    def __post_init__(self):
        if self.study not in train.ON_SEVERAL_HOSTS:
            raise ValueError(f"{self.study} does not train on several hosts")

    def words(self, *, data: str, runs: str, models: str) -> list[str]:
        """The study and its flags, `--out` among them."""
        places = {"data": data, "runs": runs, "models": models}
        flags = [word.format(**places) for word in self.flags.split()]
        return [self.study, *flags, "--out", f"{runs}/{self.name}"]


def read(path: Path = FILE) -> dict[str, StudyRun]:
    """Reads the runs, each combination of `each` as a run of its own.

    Raises:
        InputError: an entry has a mistake, or starts from a run that is not before it.
    """
    found: dict[str, StudyRun] = {}
    for name, fields in tomllib.loads(path.read_text("utf-8")).items():
        source = f"{path.name}, {name}"
        for each in _each(name, fields):
            run = configs.from_json(StudyRun, each, source=source)
            if strange := set(run.after) - set(found):
                problem = f"starts from {min(strange)!r}, which is not before it"
                raise InputError(source, problem, "Name runs that stand above")
            found[run.name] = run
    return found


def _each(name: str, fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The fields of every run that an entry stands for."""
    rest = {key: value for key, value in fields.items() if key != "each"}
    choices = fields.get("each", {})
    for values in itertools.product(*choices.values()):
        chosen = dict(zip(choices, values, strict=True))
        flags = [f"--{flag} {value}" for flag, value in chosen.items()]
        yield rest | {
            "name": "_".join([name, *values]),
            "flags": " ".join([rest["flags"], *flags]),
        }


def format_run(run: StudyRun, words: Sequence[str], pods: Path | None = None) -> str:
    """The line, of a pod where there are some, and what is known of it as comments."""
    reckoned = "" if run.study == RECKONED else " (memory and hours not reckoned)"
    facts = [f"{run.name}: {run.source}; on {run.pod} or larger{reckoned}"]
    if run.after:
        facts.append(f"after {', '.join(run.after)}")
    figures = ", ".join(f"{name} {value:g}" for name, value in run.published.items())
    facts.append(f"the study reached {figures}" if figures else "no figure published")
    if run.note:
        facts.append(" ".join(run.note.split()))
    program = ["experiments.train"]
    if pods is not None:
        program = ["tpu", "run", "--config", str(pods / f"{run.pod}.toml")]
    line = format_line(["python", "-m", *program, *words])
    return "\n".join([*(f"# {fact}" for fact in facts), line])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """What is asked."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Runs; all if not given."""
    data: str = "data"
    """Where the prepared data sets are."""
    runs: str = "runs"
    """Where run folders go."""
    models: str = "models"
    """Where the published Nucleotide Transformer is, in nt-v2-50m."""
    pods: Path | None = None
    """Folder of pod files: lines for pods of Google Cloud."""
    debug: bool = False
    """Show a traceback with an error."""


def run(command: Command) -> None:
    """Prints the lines.

    Raises:
        InputError: a name is of no run, or a place is not for this machine.
    """
    known = read()
    if strange := set(command.names) - set(known):
        raise InputError(
            min(strange), "is no run of the study", f"Name some of {', '.join(known)}"
        )
    for flag in ("runs", "models"):
        if command.pods is None and "://" in getattr(command, flag):
            problem = f"is {getattr(command, flag)}, which lines without --pods cannot"
            raise InputError(
                f"--{flag}",
                f"{problem} use",
                "Give a folder of this machine, or --pods",
            )
    places = {"data": command.data, "runs": command.runs, "models": command.models}
    chosen = [known[name] for name in command.names or known]
    lines = [format_run(one, one.words(**places), command.pods) for one in chosen]
    print("\n\n".join(lines))


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line and prints; returns a `schemas.status.Status`."""
    command = tyro.cli(
        Command,
        args=arguments,
        description=__doc__,
        prog="python -m experiments.study_runs",
    )
    return process.run(lambda: run(command), name="runs", debug=command.debug)


if __name__ == "__main__":
    sys.exit(main())
