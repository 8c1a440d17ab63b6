import threading

import pytest

from scmultimodal.data.prefetch import prefetch


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("prefetch")]


@pytest.mark.parametrize("depth", [0, 1, 2, 10])
def test_items_come_in_order_and_the_thread_ends(depth):
    assert list(prefetch(lambda s: s * s, 3, 4, depth=depth)) == [9, 16, 25, 36]
    assert not threads()


def test_no_step_gives_no_item():
    assert list(prefetch(str, 0, 0)) == []


def test_steps_are_built_ahead_in_another_thread():
    built = {step: threading.Event() for step in range(4)}
    builders = set()

    def build(step):
        builders.add(threading.current_thread())
        built[step].set()
        return step

    items = prefetch(build, 0, 4, depth=2)
    assert next(items) == 0
    assert built[2].wait(timeout=10)
    assert not built[3].is_set()
    assert threading.current_thread() not in builders
    assert list(items) == [1, 2, 3]


def test_an_error_is_raised_at_its_own_step():
    def build(step):
        if step == 2:
            raise OSError("the disk is gone")
        return step

    items = prefetch(build, 0, 5, depth=4)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(items)
    assert not threads()


def test_leaving_early_stops_the_thread_and_builds_no_more():
    built = []
    items = prefetch(lambda step: built.append(step) or step, 0, 1_000, depth=2)
    assert next(items) == 0
    items.close()
    assert not threads()
    assert len(built) <= 3
