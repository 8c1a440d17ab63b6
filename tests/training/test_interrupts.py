import signal
import threading

import pytest

from scmultimodal.training.interrupts import ASKING, deferred


@pytest.mark.parametrize("number", ASKING)
def test_the_first_signal_only_raises_the_flag(number):
    before = signal.getsignal(number)
    with deferred() as asked:
        assert asked() is None
        signal.raise_signal(number)
        assert asked() is number
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("first", ASKING)
@pytest.mark.parametrize("second", ASKING)
def test_the_second_signal_interrupts_at_once(first, second):
    before = signal.getsignal(second)
    with deferred() as asked:
        signal.raise_signal(first)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(second)
        assert asked() is first
    assert signal.getsignal(second) is before


def test_other_threads_leave_the_handlers_alone():
    before, seen = [signal.getsignal(number) for number in ASKING], []

    def work():
        with deferred() as asked:
            seen.append((asked(), [signal.getsignal(number) for number in ASKING]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, before)]
