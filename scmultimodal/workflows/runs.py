"""Run folders, read again: what was run, what it reached, how its training went."""

import contextlib
import dataclasses
import datetime
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scmultimodal.evaluation.comparison import Score
from scmultimodal.evaluation.report import Picture, Table
from scmultimodal.schemas.errors import InputError
from scmultimodal.training.metrics import FILE, read_metrics
from scmultimodal.workflows import judged, provenance, run_scores
from scmultimodal.workflows.run_kinds import KINDS

NOT_SETTINGS = {
    *("scmultimodal", "revision", "out", "debug"),
    *(provenance.ADDRESS, *provenance.RUN),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confusions:
    """Test cells by true type (rows) and what they are called (columns).

    Attributes:
        classes: the types.
        counts: model -> cells.
    """

    classes: Sequence[str]
    counts: Mapping[str, Sequence[Sequence[int]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder.

    Attributes:
        path: the folder.
        name: what it is called beside others.
        kind: of `run_kinds.KINDS`.
        config: command, code and settings: content of `config.json`, or of the file
            that a command left which trains nothing.
        scores: part of the data -> what models reached on it.
        examples: part of the data -> sha256 of the examples.
        trainings: name -> records of its `metrics.jsonl`.
        simulated: whether its data are made up.
        answers: what a model that was asked has said, as JSON has it.
        tables: the same.
        pictures: of it.
        confusions: part of the data -> what its models confused, where it was kept.
    """

    path: Path
    name: str
    kind: str
    config: Mapping[str, Any]
    scores: Mapping[str, Sequence[Score]]
    examples: Mapping[str, str]
    trainings: Mapping[str, Sequence[Mapping[str, Any]]]
    simulated: bool
    answers: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    confusions: Mapping[str, Confusions] = dataclasses.field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """All that may make a difference: numbers, data, packages and machine."""
        found = {k: v for k, v in self.config.items() if k not in NOT_SETTINGS}
        return found | {"environment": self.config.get("environment")}

    @property
    def trained_s(self) -> float:
        """Seconds that the trainings took, those before a restart included."""
        return sum(map(_seconds, self.trainings.values()), 0.0)

    def facts(self) -> dict[str, Any]:
        """What was run, as JSON has it; None where the run does not tell."""
        names = ("command", "started", "revision", "scmultimodal")
        return {
            "name": self.name,
            "kind": self.kind,
            "folder": str(self.path),
            **{name: self.config.get(name) for name in names},
            "trained_s": round(self.trained_s, 1),
            "versions": self.config.get("versions"),
            "environment": self.config.get("environment"),
        }


def read_all(paths: Sequence[Path]) -> list[Run]:
    """Reads run folders; each is named by as much of its path as tells it apart.

    Raises:
        InputError: as `read`, or a folder is given twice.
    """
    folders: dict[Path, Path] = {}
    for path in paths:
        if (first := folders.setdefault(path.resolve(), path)) is not path:
            raise InputError(
                path,
                "is given twice" if first == path else f"is the same run as {first}",
                "Give each run once",
            )
    names = _names(list(folders))
    return [read(path, name) for path, name in zip(paths, names, strict=True)]


def read(path: Path, name: str) -> Run:
    """Reads a run folder.

    Args:
        path: the folder.
        name: what to call it.

    Raises:
        InputError: it is no run folder, of a study that is not known here, or a file
            is damaged; names the file.
    """
    kind, config = _kind(path)
    facts = KINDS[kind]
    told = _json(path / judged.FILE, missing={})
    with _of_form(path / judged.FILE):
        examples = {part: own["sha256"] for part, own in told.items()}
        simulated = any(own.get("simulated") for own in told.values())
        by_class = {part: run_scores.classes(own) for part, own in told.items()}
        confusions = {
            part: Confusions(classes=own["classes"], counts=own["confusion"])
            for part, own in told.items()
            if "confusion" in own
        }
    found = _json(path / facts.file, missing=None)
    with _of_form(path / facts.file):
        scores = {} if found is None else facts.scores(name, found)
    scores = {
        part: run_scores.with_classes(of_part, by_class.get(part, {}))
        for part, of_part in scores.items()
        if of_part
    }
    trainings = _trainings(path)
    if not scores:
        scores = run_scores.last_validations(name, trainings)
    with _of_form(path / facts.config):
        tables = [] if facts.tables is None else facts.tables(config)
    return Run(
        path=path,
        name=name,
        kind=kind,
        config={k: v for k, v in config.items() if k not in facts.answers},
        scores=scores,
        examples=examples,
        trainings=trainings,
        confusions=confusions,
        simulated=simulated or any(map(_says_simulated, (found, config))),
        answers={k: v for k, v in config.items() if k in facts.answers},
        tables=tables,
        pictures=[
            Picture(path=path / file, caption=caption)
            for file, caption in facts.pictures.items()
            if (path / file).is_file()
        ],
    )


def _kind(path: Path) -> tuple[str, Mapping[str, Any]]:
    """Which kind of run a folder holds, and the content of the file that tells it."""
    files = dict.fromkeys(kind.config for kind in KINDS.values())
    contents = {file: _json(path / file, missing=None) for file in files}
    file = next((f for f, content in contents.items() if content is not None), None)
    config = contents.get(file)
    versions = config.get("versions") if isinstance(config, Mapping) else None
    if not isinstance(versions, Mapping):
        raise InputError(
            path,
            "is no run folder" if path.is_dir() else "there is no such folder",
            "Give what a command or study wrote by --out, with config.json in it, or "
            "what perturb or explain did",
        )
    for name, kind in KINDS.items():
        told = kind.config == file and kind.told_by in config
        if told and kind.never_with not in config:
            return name, config
    raise InputError(
        path / file,
        "is of a run that leaves nothing to compare",
        f"Give runs of these: {', '.join(k.title for k in KINDS.values())}",
    )


def _trainings(path: Path) -> dict[str, list[dict]]:
    """Every `metrics.jsonl`, named by its folder within the run."""
    found = {}
    for file in sorted(path.rglob(FILE)):
        name = file.parent.relative_to(path).as_posix()
        try:
            records = read_metrics(file)
            if not all({"step", "split", "seconds"} <= r.keys() for r in records):
                raise KeyError("step, split or seconds")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                file, f"is damaged ({error!r})", "Restore it, or run it again"
            ) from error
        found["training" if name == "." else name] = records
    return found


@contextlib.contextmanager
def _of_form(path: Path) -> Iterator[None]:
    """Names the file whose content is not what was expected."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            path,
            f"is not as such a run writes it ({error!r})",
            "Run it again, with this version of scmultimodal",
        ) from error


def _seconds(records: Sequence[Mapping[str, Any]]) -> float:
    """A clock that begins again at each restart, summed."""
    times = [float(record["seconds"]) for record in records]
    ends = [a for a, b in itertools.pairwise(times) if b < a]
    return sum([*ends, *times[-1:]], 0.0)


def _json(path: Path, *, missing: Any) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return missing
    except OSError as error:
        raise InputError(
            path, f"cannot be read ({error.strerror})", "Mend its permissions"
        ) from error
    except ValueError as error:
        raise InputError(
            path, f"is damaged ({error})", "Restore it, or run it again"
        ) from error


def _says_simulated(summary: Any) -> bool:
    return isinstance(summary, Mapping) and summary.get("simulated") is True


def _names(paths: Sequence[Path]) -> list[str]:
    """The last parts of paths, as many as tell them apart."""
    for count in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return names


def format_seconds(seconds: float) -> str:
    """Hours, minutes and seconds."""
    return str(datetime.timedelta(seconds=round(seconds)))
