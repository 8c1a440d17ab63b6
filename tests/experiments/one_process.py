"""Functions for another process, in a module that is loaded in no time."""

import threading


def say_and_wait(begun):
    """Says that it is there, and stays."""
    print("here")
    begun.set()
    threading.Event().wait()


def fail():
    """Raises."""
    raise ValueError("it went wrong")
