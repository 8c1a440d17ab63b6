"""Run folders, read again: what was run, what it reached, how its training went."""

import contextlib
import dataclasses
import datetime
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scmultimodal.evaluation.comparison import Score
from scmultimodal.evaluation.segmentation import ElementResult, mean
from scmultimodal.genome.composition import FEATURES
from scmultimodal.schemas.errors import InputError
from scmultimodal.training.metrics import FILE, read_metrics
from scmultimodal.workflows import judged, provenance

SUMMARY = "summary.json"
OURS = "the model"
"""The one model of a run, whatever its run calls it."""
NOT_SETTINGS = {"scmultimodal", "revision", "out", "debug", *provenance.RUN}
NO_MEASURES = {
    *("step", "split", "seconds", "learning_rate", "grad_norm"),
    # Of an adversary: what is better for it is worse for the model.
    *("batch_accuracy", "adversary_loss"),
}
_SCORES = ("accuracy", "mcc", "macro_f1", "weighted_f1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder.

    Attributes:
        path: the folder.
        name: what it is called beside others.
        kind: of `KINDS`.
        config: content of `config.json`.
        scores: part of the data -> what models reached on it.
        examples: part of the data -> sha256 of the examples.
        trainings: name -> records of its `metrics.jsonl`.
        simulated: whether its data are made up.
    """

    path: Path
    name: str
    kind: str
    config: Mapping[str, Any]
    scores: Mapping[str, Sequence[Score]]
    examples: Mapping[str, str]
    trainings: Mapping[str, Sequence[Mapping[str, Any]]]
    simulated: bool

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of run.

    Attributes:
        title: heads its section.
        told_by: a key of `config.json` that runs of this kind have.
        never_with: a key that none has.
        scores: name of the run, content of the file -> its scores by part.
        file: that holds what it reached.
        metrics: what to draw.
        by_class: metric to show class by class.
        text: what a reader should know.
    """

    title: str
    told_by: str
    never_with: str = ""
    scores: Callable[[str, Any], dict[str, list[Score]]]
    file: str = SUMMARY
    metrics: tuple[str, ...]
    by_class: str = ""
    text: str = ""


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
    config = _json(path / provenance.CONFIG, missing=None)
    versions = config.get("versions") if isinstance(config, Mapping) else None
    if not isinstance(versions, Mapping):
        raise InputError(
            path,
            "is no run folder" if path.is_dir() else "there is no such folder",
            "Give what a command or study wrote by --out, with config.json in it",
        )
    fitting = (
        kind
        for kind, facts in KINDS.items()
        if facts.told_by in config and facts.never_with not in config
    )
    if (kind := next(fitting, None)) is None:
        raise InputError(
            path / provenance.CONFIG,
            "is of a run that leaves nothing to compare",
            f"Give runs of these: {', '.join(k.title for k in KINDS.values())}",
        )
    told = _json(path / judged.FILE, missing={})
    with _of_form(path / judged.FILE):
        examples = {part: facts["sha256"] for part, facts in told.items()}
        simulated = any(facts.get("simulated") for facts in told.values())
        by_class = {part: _classes(facts) for part, facts in told.items()}
    found = _json(path / KINDS[kind].file, missing=None)
    with _of_form(path / KINDS[kind].file):
        scores = {} if found is None else KINDS[kind].scores(name, found)
    scores = {
        part: _with_classes(of_part, by_class.get(part, {}))
        for part, of_part in scores.items()
        if of_part
    }
    trainings = _trainings(path)
    if not scores:
        scores = _last_validations(name, trainings)
    return Run(
        path=path,
        name=name,
        kind=kind,
        config=config,
        scores=scores,
        examples=examples,
        trainings=trainings,
        simulated=simulated or _says_simulated(found),
    )


def _cell_types(run: str, summary: Any) -> dict[str, list[Score]]:
    found: dict[str, list[Score]] = {}
    for row in summary["results"]:
        found.setdefault(row["modality"], []).append(
            Score(
                run=run,
                model=row["model"],
                values=_floats(row, _SCORES),
                is_baseline=not row["model"].startswith("scmultimodal"),
            )
        )
    return found


def _rankings(run: str, summary: Any) -> dict[str, list[Score]]:
    found = {}
    for part, rows in summary.items():
        baselines = [
            row["name"] in FEATURES or row["name"].startswith("ridge") for row in rows
        ]
        ours = OURS if baselines.count(False) == 1 else None
        found[part] = [
            Score(
                run=run,
                model=row["name"] if is_baseline else ours or row["name"],
                values={
                    "full_order": float(row["full_order"]["mean"]),
                    **_floats(row["scores"], ("pairwise", "ndcg", "mrr")),
                },
                is_baseline=is_baseline,
                notes={"full order, 95 %": _interval(row["full_order"])},
            )
            for row, is_baseline in zip(rows, baselines, strict=True)
        ]
    return found


def _segmentation(run: str, summary: Any) -> dict[str, list[Score]]:
    found: dict[str, list[Score]] = {}
    metrics = ("mcc", "f1", "auprc")
    for title, rows in summary.items():
        part, _, baseline = title.partition(", ")
        results = [
            ElementResult(name=row["name"], **_floats(row, ("share", *metrics)))
            for row in rows
        ]
        found.setdefault(part, []).append(
            Score(
                run=run,
                model="logistic_regression" if baseline else OURS,
                values={metric: mean(results, metric) for metric in metrics},
                is_baseline=bool(baseline),
                by_class={
                    row["name"]: _floats(row, ("share", *metrics))
                    for row, result in zip(rows, results, strict=True)
                    if result.is_judged
                },
            )
        )
    return found


def _encoders(run: str, summary: Any) -> dict[str, list[Score]]:
    def score(row: Any) -> Score:
        of = row["metrics"]
        elements = {n: v for n, v in of["auprc"].items() if v["value"] is not None}
        return Score(
            run=run,
            model=row["name"],
            values={m: _number(of[m]["mean"]["value"]) for m in ("mcc", "auprc")},
            is_baseline=row["name"] == "logistic_regression",
            notes={"AUPRC, 95 %": _interval(of["auprc"]["mean"])},
            by_class={
                name: {m: _number(of[m][name]["value"]) for m in ("mcc", "auprc")}
                for name in elements
                if name != "mean"
            },
        )

    return {"test": [score(row) for row in summary]}


def _kmer_losses(run: str, losses: Any) -> dict[str, list[Score]]:
    return {
        "validation": [
            Score(
                run=run,
                model=OURS if name == "model" else name,
                values={"loss": float(loss)},
                is_baseline=name != "model",
            )
            for name, loss in losses.items()
        ]
    }


def _nothing(run: str, summary: Any) -> dict[str, list[Score]]:
    return {}


# The first that fits: a study of several kinds of training has the keys of each.
KINDS: Mapping[str, Kind] = {
    "cell_types": Kind(
        title="Cell types",
        told_by="from_scratch",
        scores=_cell_types,
        metrics=("accuracy", "macro_f1"),
        by_class="f1",
        text="Test cells by modality. Baselines are shaded.",
    ),
    "ranking_grid": Kind(
        title="Region ranking, out of fold",
        told_by="folds",
        scores=_rankings,
        metrics=("full_order", "pairwise"),
        text="Spans with all regions in the right order; chance is .167.",
    ),
    "encoders": Kind(
        title="Segmentation by encoder",
        told_by="spans_v1",
        scores=_encoders,
        metrics=("auprc", "mcc"),
        by_class="auprc",
        text="Means over the elements that can be judged, and over seeds.",
    ),
    "segmentation": Kind(
        title="Segmentation",
        told_by="segmentation",
        scores=_segmentation,
        metrics=("auprc", "mcc"),
        by_class="auprc",
        text="Means over the elements that can be judged.",
    ),
    "ranking": Kind(
        title="Region ranking",
        told_by="ranking",
        scores=_rankings,
        metrics=("full_order", "pairwise"),
        text="Spans with all regions in the right order; chance is .167.",
    ),
    "kmers": Kind(
        title="Pre-training on masked k-mers",
        told_by="kmers",
        scores=_kmer_losses,
        file="losses.json",
        metrics=("loss",),
        text="Loss of hidden k-mers of held-out windows in nats, beside that of tables "
        "of frequencies.",
    ),
    "pretraining": Kind(
        title="Pre-training of cells",
        told_by="pretrain",
        never_with="finetune",
        scores=_nothing,
        metrics=("loss",),
        text="Validation cells at the last step. Losses of different objectives (see "
        "mask_weight, count_weight, contrastive_weight, adversary and mask_share) are "
        "different things.",
    ),
}


def _last_validations(
    run: str, trainings: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, list[Score]]:
    """Where nothing else was judged: what each training was validated on at last."""
    scores = []
    for name, records in trainings.items():
        of_validation = [r for r in records if r.get("split") == "validation"]
        if of_validation:
            values = {
                key: _number(value)
                for key, value in of_validation[-1].items()
                if is_measure(key)
            }
            scores.append(Score(run=run, model=name, values=values))
    return {"validation": scores} if scores else {}


def is_measure(name: str) -> bool:
    """Whether a field of a record is a metric of all examples."""
    return name not in NO_MEASURES and " " not in name and "fingerprint" not in name


def _classes(facts: Any) -> dict[str, dict[str, dict[str, float]]]:
    """What `judged.json` tells of a part: model -> class -> metrics."""
    return {
        model: {name: _floats(values, values) for name, values in classes.items()}
        for model, classes in facts.get("by_class", {}).items()
    }


def _with_classes(
    scores: Sequence[Score], by_model: Mapping[str, Mapping[str, Any]]
) -> list[Score]:
    return [
        dataclasses.replace(score, by_class=by_model.get(score.model, score.by_class))
        for score in scores
    ]


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


def _floats(row: Mapping[str, Any], names: Any) -> dict[str, float]:
    return {name: _number(row[name]) for name in names}


def _number(value: float | int | None) -> float:
    return math.nan if value is None else float(value)


def _interval(row: Mapping[str, Any]) -> str:
    if row["low"] is None or row["high"] is None:
        return "–"
    return f"[{row['low']:.3f}, {row['high']:.3f}]"


def format_seconds(seconds: float) -> str:
    """Hours, minutes and seconds."""
    return str(datetime.timedelta(seconds=round(seconds)))
