"""What every command does around its work: settings before, an exit status after."""

import enum
import sys
import warnings
from collections.abc import Callable

from scmultimodal.schemas.errors import (
    InputError,
    PreemptedError,
    TrainingDivergedError,
)


class Status(enum.IntEnum):
    """How a process ended, for whoever started it."""

    DONE = 0
    GIVE_UP = 2
    """The input or the command line is wrong: the same call would fail again."""
    DIVERGED = 3
    """The loss was not finite: other settings are needed."""
    RESTART_ME = 75
    """Asked to end, and saved: the same call goes on (EX_TEMPFAIL of sysexits.h)."""
    INTERRUPTED = 130
    """Ctrl-C."""


def run(work: Callable[[], None], *, name: str, debug: bool) -> Status:
    """Does the work of a command.

    Args:
        work: what to do.
        name: begins the one line that an expected error is told in.
        debug: lets errors through, with their traceback.
    """
    prepare()
    try:
        work()
    except (
        InputError,
        TrainingDivergedError,
        PreemptedError,
        KeyboardInterrupt,
    ) as error:
        if debug:
            raise
        print(f"{name}: {str(error) or 'stopped'}", file=sys.stderr)
        return _status(error)
    return Status.DONE


def _status(error: BaseException) -> Status:
    match error:
        case PreemptedError():
            return Status.RESTART_ME
        case TrainingDivergedError():
            return Status.DIVERGED
        case KeyboardInterrupt():
            return Status.INTERRUPTED
    return Status.GIVE_UP


def prepare() -> None:
    """Keeps compiled programs between runs, and the terminal free of noise.

    A cache of compiled programs that the user has named is left as it is.
    """
    import jax

    warnings.filterwarnings("ignore", category=FutureWarning)
    # Duplicate names end in one line of ours.
    warnings.filterwarnings("ignore", message=".*names are not unique")
    if jax.config.jax_compilation_cache_dir is None:
        import pooch

        folder = pooch.os_cache("scmultimodal") / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
