"""The command line: `scmultimodal COMMAND`. What there is stands in `commands`."""

import dataclasses
import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from inspect import cleandoc
from typing import Any

import scmultimodal
from scmultimodal.cli import commands
from scmultimodal.schemas.status import Status
from scmultimodal.workflows import process

HELP, VERSION = ("-h", "--help"), "--version"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns a `schemas.status.Status`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words:
        return _say(commands.page(), Status.GIVE_UP)
    name, *rest = words
    if name in HELP:
        print(commands.page())
        return Status.DONE
    if name == VERSION:
        print(f"scmultimodal {scmultimodal.__version__}")
        return Status.DONE
    if name not in commands.MODULES:
        known = (*commands.MODULES, *HELP, VERSION)
        return _unknown("there is no", name, known, "scmultimodal --help")
    try:
        command = commands.load(name)
        importlib.import_module("tyro")  # Which `parse` needs.
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("scmultimodal"):
            raise
        status = _say(
            f"scmultimodal: {error.name} is not installed. Install the package and "
            "what it needs: pip install scmultimodal",
            Status.GIVE_UP,
        )
        if name == "doctor":
            _examine(rest)
        return status
    for word in rest:
        flag = word.split("=")[0].replace("_", "-")
        if flag.startswith("--") and flag not in ("--", *command.flags):
            page = f"scmultimodal {name} --help"
            return _unknown(f"{name} has no flag", flag, command.flags, page)
    options = parse(words)
    if name == "doctor":  # It says what is missing of all that the others need.
        return command.run(options)
    return process.run(
        lambda: command.run(options), name="scmultimodal", debug=options.debug
    )


def parse(words: Sequence[str]) -> Any:
    """The options that a line gives its command, which comes first.

    Raises:
        SystemExit: after `--help`, or where the line is wrong; it has said why.
    """
    # With rich, which the page of all commands does not wait for.
    import tyro

    name, *rest = words
    options = commands.load(name).options
    # tyro by itself would drop the examples.
    text = cleandoc(options.__doc__ or "")
    program = f"scmultimodal {name}"
    try:
        return tyro.cli(options, prog=program, description=text, args=rest)
    except BrokenPipeError:  # `--help | head`: nobody reads on.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(Status.DONE) from None


def _examine(rest: Sequence[str]) -> None:
    """Runs `doctor` where its flags, which are switches, cannot be parsed by tyro."""
    command = commands.load("doctor")
    flags = [field.name for field in dataclasses.fields(command.options)]
    command.run(command.options(**{flag: f"--{flag}" in rest for flag in flags}))


def _unknown(problem: str, word: str, known: Iterable[str], page: str) -> Status:
    near = commands.nearest(word, known)
    meant = f"Did you mean {near}? " if near else ""
    return _say(
        f"scmultimodal: {problem} {word}. {meant}All there are: {page}", Status.GIVE_UP
    )


def _say(text: str, status: Status) -> Status:
    print(text, file=sys.stderr)
    return status
