"""`kill -9` at any moment: what was saved stays, and the end is the same bits."""

import functools
import signal

import numpy as np
import pytest

from tests.training.hosts import Host, assert_same_end, newest

INTERVAL = 4
"""Steps from save to save of `one_host`."""
STEPS_OF_A_LIFE = 12
"""About as many as a life has at most."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """(folder, how often saves touched the disk) of a training that nobody kills."""

    @functools.cache
    def train(steps):
        folder = tmp_path_factory.mktemp("whole") / "run"
        host = Host([folder, steps], {}, devices=1)
        status, said = host.end()
        assert status == 0, said
        (touches,) = host.numbers("touches")
        return folder, touches

    return train


@pytest.mark.parametrize("saves", ["synchronous", "asynchronous"])
@pytest.mark.parametrize("kills", [3, pytest.param(24, marks=pytest.mark.long)])
def test_kill_9_loses_no_committed_step(
    start, undisturbed, tmp_path, tally, saves, kills
):
    random = np.random.default_rng(kills)
    steps, run, lost = (2 + kills) * STEPS_OF_A_LIFE, tmp_path / "run", 0
    command = [run, steps, *(["--asynchronous"] if saves == "asynchronous" else [])]
    whole, touches = undisturbed(steps)
    touches_of_a_life = touches * STEPS_OF_A_LIFE // steps
    for kill in range(kills):
        before, in_a_save = newest(run), kill % 3 == 1
        moment = random.integers(1, touches_of_a_life if in_a_save else STEPS_OF_A_LIFE)
        how = ["--die-at-touch", moment] if in_a_save else []
        (host,) = start(*command, "--linger", *how, hosts=1, devices=1)
        if in_a_save:
            host.go_on(2 * steps)
        else:
            host.go_on(moment)
            host.until_batch(moment)
            host.process.kill()
        status, said = host.end()
        assert status == -signal.SIGKILL, said
        # The first batch makes parameters; it went on from what was there.
        assert host.numbers("batch")[1] == before
        told = max(host.numbers("saved"), default=before)
        assert newest(run) >= (told if saves == "synchronous" else told - INTERVAL)
        lost += newest(run) < told
    (host,) = start(*command, hosts=1, devices=1)
    status, said = host.end()
    assert status == 0, said
    assert_same_end(run, whole)
    # Nor has a save that was cut off left anything.
    kept = [sorted((r / "checkpoints").iterdir(), key=str) for r in (run, whole)]
    assert [p.name for p in kept[0]] == [p.name for p in kept[1]]
    under_way = f", {lost} lost that were under way" if lost else ""
    tally(
        f"{kills} x kill -9, {kills // 3} of them during a save, {saves} saves: no "
        f"committed step lost{under_way}; the same bits at the end"
    )
