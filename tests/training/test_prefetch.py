import threading

import pytest

from scmultimodal.training.prefetch import prefetch


def threads():
    return [t for t in threading.enumerate() if t.name == "prefetch"]


def test_batches_come_in_order():
    assert list(prefetch(lambda step: step**2, 3, 6)) == [(3, 9), (4, 16), (5, 25)]
    assert list(prefetch(lambda step: step, 4, 4)) == []
    assert not threads()


def test_builds_ahead_but_not_far():
    built, third = [], threading.Event()

    def build(step):
        built.append(step)
        if step == 3:
            third.set()

    steps = prefetch(build, 0, 100, depth=2)
    assert next(steps) == (0, None)
    # Step 3 is built without being asked for: two wait, and one is in the making.
    assert third.wait(timeout=30)
    assert max(built) == 3
    steps.close()
    assert not threads()
    assert max(built) <= 4


def test_an_error_is_raised_at_its_own_step():
    def build(step):
        if step == 2:
            raise ValueError("no such cell")
        return step

    steps = prefetch(build, 0, 9)
    assert [next(steps), next(steps)] == [(0, 0), (1, 1)]
    with pytest.raises(ValueError, match="no such cell") as error:
        next(steps)
    # The traceback still points into the builder.
    assert error.traceback[-1].name == "build"
    assert not threads()


def test_leaving_the_loop_stops_the_thread():
    steps = prefetch(lambda step: step, 0, 10**9)
    next(steps)
    steps.close()
    assert not threads()
