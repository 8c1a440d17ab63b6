"""Stands in for `gcloud` or `kubectl`: records what it is asked, and answers as told.

    fake_command.py FOLDER ARGUMENTS…

In the folder `calls` has the arguments of each call, each ended by NUL and each call by
a line feed after; `answers/VERB.json`, or `answers/VERB NOUN.json` of a verb with the
word after it, has a list of [status, out, err] for such calls, of which the last is for
all further ones. Files that `--metadata-from-file` and `--filename` name, or
standard input for "-", are copied to `files/`.
"""

import itertools
import json
import shutil
import sys
from pathlib import Path

VERBS = (
    "api-resources",
    "apply",
    "can-i",
    "create",
    "describe",
    "get",
    "version",
    "delete",
    "list",
    "ls",
    "cp",
    "ssh",
    "--version",
)


def main() -> int:
    folder, words = Path(sys.argv[1]), sys.argv[2:]
    with (folder / "calls").open("a") as file:
        file.write("".join(f"{word}\0" for word in words) + "\n")
    for word, after in itertools.pairwise(words):
        files = {}
        if word == "--metadata-from-file":
            files = dict(pair.split("=") for pair in after.split(","))
        elif word == "--filename":
            files = {"manifest": after}
        for name, path in files.items():
            (folder / "files").mkdir(exist_ok=True)
            if path == "-":
                (folder / "files" / name).write_text(sys.stdin.read())
            else:
                shutil.copy(path, folder / "files" / name)
    plan = _plan(folder / "answers", words)
    if plan is None:
        return 0
    answers = json.loads(plan.read_text())
    (status, out, err), rest = answers[0], answers[1:]
    if rest:
        plan.write_text(json.dumps(rest))
    print(out, end="")
    print(err, end="", file=sys.stderr)
    return status


def _plan(answers: Path, words: list[str]) -> Path | None:
    """The file with the answers to a call: the most special there is."""
    place = next(place for place, word in enumerate(words) if word in VERBS)
    verb, noun = words[place], "".join(words[place + 1 : place + 2])
    names = (f"{verb} {noun.partition('/')[0]}.json", f"{verb.strip('-')}.json")
    return next((answers / name for name in names if (answers / name).is_file()), None)


if __name__ == "__main__":
    sys.exit(main())
