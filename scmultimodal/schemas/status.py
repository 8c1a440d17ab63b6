"""How a process ends, for whoever started it."""

import enum


class Status(enum.IntEnum):
    """Exit statuses of every command."""

    DONE = 0
    FAILED = 1
    """An error that nobody expected: the traceback tells."""
    GIVE_UP = 2
    """The input or the command line is wrong: the same call would fail again."""
    DIVERGED = 3
    """The loss was not finite: other settings are needed."""
    RESTART_ME = 75
    """Asked to end and saved, or lost another host: the same call goes on
    (EX_TEMPFAIL of sysexits.h)."""
    INTERRUPTED = 130
    """Ctrl-C; of a machine on GKE: told to stop, or over its budget."""
