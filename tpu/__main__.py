"""`python -m tpu VERB`: launches a study on several hosts."""

import sys

import tyro

from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.status import Status
from tpu import local

VERBS = {"run": local}


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line and does what the verb says; returns a `Status`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    verb = VERBS.get(arguments[0]) if arguments else None
    if verb is None:
        print(f"{__doc__}\n\nVerbs: {', '.join(VERBS)}", file=sys.stderr)
        return Status.DONE if arguments[:1] in (["-h"], ["--help"]) else Status.GIVE_UP
    command, of_study = tyro.cli(
        verb.Run,
        args=arguments[1:],
        return_unknown_args=True,
        description=verb.__doc__,
        prog=f"python -m tpu {arguments[0]}",
    )
    try:
        return verb.run(command, of_study)
    except InputError as error:
        print(f"tpu: {error}", file=sys.stderr)
        return Status.GIVE_UP


if __name__ == "__main__":
    sys.exit(main())
