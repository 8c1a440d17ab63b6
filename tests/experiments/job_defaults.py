"""The defaults that names of the evaluation's results lean on, and the golden of them.

`jobs.numbers` leaves defaults out of a name, so a default that changes would leave old
results under the names of new ones. After a change that is meant:

    python -m tests.experiments.job_defaults
"""

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.evaluation import jobs, links
from scmultimodal.singlecell.recipe import RecipeConfig
from scmultimodal.workflows.finetune_config import FinetuneConfig
from scmultimodal.workflows.presets import PRESETS, Preset
from scmultimodal.workflows.pretrain_config import PretrainConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "job_defaults.json"
DEFAULTS = Preset(
    pretrain=PretrainConfig(), finetune=FinetuneConfig(), recipe=RecipeConfig()
)
WRITE = "Then run `python -m tests.experiments.job_defaults`."
RAISE = (
    "Results that were made before would be taken for those of the new numbers: raise "
    f"VERSION in experiments/evaluation/jobs.py, so that all is measured anew. {WRITE}"
)
ADD = (
    "If results stay as they are without it (by default it was, or is, off), nothing "
    f"else is to do; if not, raise VERSION in experiments/evaluation/jobs.py. {WRITE}"
)


def defaults() -> dict[str, Any]:
    """`Class.field` -> default, of all that `jobs.numbers` is given, as JSON has it."""
    presets = [DEFAULTS, *PRESETS.values(), links.PRESET]
    kinds = {
        kind for preset in presets for kind in _kinds(preset) if kind is not Preset
    }
    found = {}
    for kind in sorted(kinds, key=lambda kind: kind.__name__):
        for field in dataclasses.fields(kind):
            default = field.default
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            if dataclasses.is_dataclass(default):
                default = jobs.numbers(default)
            found[f"{kind.__name__}.{field.name}"] = json.loads(json.dumps(default))
    return found


def _kinds(config: Any) -> Iterator[type]:
    """Of a configuration, and of all that it holds."""
    yield type(config)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _kinds(value)


def read() -> dict[str, Any]:
    """What was true when the golden was made: `version` and `defaults`."""
    return json.loads(GOLDEN.read_text("utf-8"))


def changes(golden: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What must not go unseen, and what is to do, in words; empty where all is same."""
    old, raised = golden["defaults"], golden["version"] != jobs.VERSION
    changed = [
        f"{name} was {old[name]!r} by default and is {found[name]!r}."
        for name in old
        if name in found and found[name] != old[name]
    ]
    others = [f"{name} is gone." for name in old if name not in found]
    others += [
        f"{n} is new, {v!r} by default." for n, v in found.items() if n not in old
    ]
    if raised:
        others.append(f"VERSION was {golden['version']} and is {jobs.VERSION}.")
    to_do = WRITE if raised else RAISE if changed else ADD
    return [*changed, *others, to_do] if changed or others else []


def main() -> int:
    """Writes the golden, unless results would be taken for what they are not."""
    found = defaults()
    if GOLDEN.exists() and RAISE in (said := changes(read(), found)):
        print(*said, sep="\n", file=sys.stderr)
        return 1
    content = {"version": jobs.VERSION, "defaults": found}
    GOLDEN.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
