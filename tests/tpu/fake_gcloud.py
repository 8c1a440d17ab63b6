"""Stands in for `gcloud`: records what it is asked, and answers as it was told to.

In the folder that FAKE_GCLOUD names, `calls` has the arguments of each call, each ended
by NUL and each call by a line feed after; `answers/VERB.json` has a list of [status,
out, err] for the calls of a verb, of which the last is for all further ones. Files that
`--metadata-from-file` names are copied to `metadata/`.
"""

import itertools
import json
import os
import shutil
import sys
from pathlib import Path

VERBS = (
    "create",
    "describe",
    "delete",
    "list",
    "ls",
    "cp",
    "ssh",
    "--version",
)


def main() -> int:
    folder = Path(os.environ["FAKE_GCLOUD"])
    words = sys.argv[1:]
    with (folder / "calls").open("a") as file:
        file.write("".join(f"{word}\0" for word in words) + "\n")
    for word, after in itertools.pairwise(words):
        if word == "--metadata-from-file":
            for pair in after.split(","):
                name, _, path = pair.partition("=")
                (folder / "metadata").mkdir(exist_ok=True)
                shutil.copy(path, folder / "metadata" / name)
    verb = next(word for word in words if word in VERBS)
    plan = folder / "answers" / f"{verb.strip('-')}.json"
    if not plan.is_file():
        return 0
    answers = json.loads(plan.read_text())
    (status, out, err), rest = answers[0], answers[1:]
    if rest:
        plan.write_text(json.dumps(rest))
    print(out, end="")
    print(err, end="", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
