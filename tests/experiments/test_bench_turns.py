"""Contestants of a bench take turns, each in a process of its own."""

import os
from pathlib import Path

import pytest

from experiments.bench import turns
from experiments.bench.turns import Player

FAKE = "tests.experiments.fake_contestant"


def test_turns_alternate_and_one_works_at_a_time(tmp_path: Path):
    log = tmp_path / "log"
    with turns.starting() as start:
        players = [start(name, FAKE, sign=name, log=str(log)) for name in "ab"]
        assert turns.take_turns(players, 2) == 2

    def once(name: str) -> list[str]:
        return [f"{name} begins step", f"{name} ends step"]

    # Each is warmed up before the next is even built.
    warm = [line for name in "ab" for line in [f"{name} is built", *once(name)]]
    assert log.read_text().splitlines() == [*warm, *2 * (once("a") + once("b"))]
    assert len({os.getpid(), *(player.facts["pid"] for player in players)}) == 3
    for player in players:
        assert len(player.seconds) == 2
        assert player.losses == [1.0, 1.5]  # Its second and third step.
        assert player.peak_mb == 10  # Beyond what it had before the first.
        assert player.median == sum(player.seconds) / 2


def test_who_is_missing_or_dies_leaves_the_others_alone(tmp_path: Path):
    log = str(tmp_path / "log")
    with turns.starting() as start:
        players = [
            start("missing", FAKE, sign="missing", log=log, needs="torch"),
            start("dying", FAKE, sign="dying", log=log, dies_at=2),
            start("well", FAKE, sign="well", log=log),
        ]
        turns.take_turns(players, 2)
    missing, dying, well = players
    assert missing.absent == "torch is not installed"
    assert dying.absent == "failed with status 3"
    for player in (missing, dying):
        assert player.median is None
        assert player.memory_mb is None
    assert well.absent is None
    assert len(well.seconds) == 2


class Instant(Player):
    """A player without a process."""

    def __init__(self, name: str):
        self.name, self.turns = name, 0

    def play(self) -> None:
        self.turns += 1


@pytest.mark.parametrize(("minutes", "taken"), [(0.0, 1), (60.0, 5)])
def test_no_turn_is_begun_that_would_end_too_late(minutes: float, taken: int):
    players = [Instant("a"), Instant("b")]
    assert turns.take_turns(players, 5, minutes=minutes) == taken
    assert [player.turns for player in players] == [taken, taken]
