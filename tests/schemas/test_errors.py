"""Errors that a person is meant to read."""

import copy
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from scmultimodal.schemas.errors import InputError

ERROR = InputError("a.tsv", "value -1.", "Give 0 or more")


def test_a_message_of_three_parts():
    assert str(ERROR) == "a.tsv: value -1. Give 0 or more."


def fail():
    raise ERROR


def test_it_comes_back_whole_from_a_worker():
    """Without its parts it would break the pool, and nobody would see the message."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        error = pool.submit(fail).exception()
    for other in (error, copy.copy(ERROR)):
        assert isinstance(other, InputError)
        assert str(other) == str(ERROR)
        assert (other.source, other.problem, other.remedy) == (
            "a.tsv",
            "value -1.",
            "Give 0 or more",
        )
