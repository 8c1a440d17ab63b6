"""What every command does around its work: settings before, an exit status after."""

import contextlib
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping

from scmultimodal.schemas.errors import (
    InputError,
    PassingError,
    PreemptedError,
    TrainingDivergedError,
)
from scmultimodal.schemas.status import Status

_STATUS: Mapping[type[BaseException], Status] = {
    PassingError: Status.RESTART_ME,
    InputError: Status.GIVE_UP,
    TrainingDivergedError: Status.DIVERGED,
    PreemptedError: Status.RESTART_ME,
    KeyboardInterrupt: Status.INTERRUPTED,
}


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
    except SystemExit:  # Of --help, or of a flag that there is not.
        raise
    except BaseException as error:
        known = (s for kind, s in _STATUS.items() if isinstance(error, kind))
        status = next(known, Status.FAILED)
        said = str(error) or "stopped"
        if debug or status is Status.FAILED:
            _leave(status, said)
            raise
        print(f"{name}: {said}", file=sys.stderr, flush=True)
        _leave(status, said)
        return status
    _leave(Status.DONE)
    return Status.DONE


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Within it SIGTERM unwinds the work as Ctrl-C does: nothing half-made stays.

    Raises:
        PreemptedError: SIGTERM came.
    """

    def end(signum: int, frame: object) -> None:
        raise PreemptedError("asked to end (SIGTERM), and left nothing half-made")

    # Only the main thread may set handlers; elsewhere no signal arrives anyway.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _leave(status: Status, reason: str | None = None) -> None:
    """Ends the part of this process in a training of several hosts, if it has one."""
    # With jax, which a command that only shows its help does not wait for.
    from scmultimodal.training import hosts

    hosts.leave(status, reason)


def quiet() -> None:
    """Keeps warnings that are of no use to whoever runs a command to itself."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    # Duplicate names end in one line of ours.
    for words in ("names are not unique", "Duplicated obs_names", "autosharding"):
        warnings.filterwarnings("ignore", message=f".*{words}")
    warnings.showwarning = _show


def _show(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as a line, without the place in the code that gave it."""
    print(f"scmultimodal: {message}", file=sys.stderr, flush=True)


def prepare() -> None:
    """Keeps compiled programs between runs, and the terminal free of noise.

    A cache of compiled programs that the user has named is left as it is.
    """
    import jax

    quiet()
    if jax.config.jax_compilation_cache_dir is None:
        import pooch

        folder = pooch.os_cache("scmultimodal") / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
