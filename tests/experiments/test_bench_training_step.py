"""What `make bench` writes, from times that are known."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.bench import report, shape, sweeps, training_step, turns
from experiments.bench.shape import Shape
from experiments.bench.turns import Player

SMALL = Shape(tokens=40, dim=8, layers=2, heads=2, key_size=4)
PRODUCT_FLOP = 1e6


class Timed(Player):
    """A player whose time is known; without torch where it has none."""

    def __init__(self, name: str, module: str, **settings: Any):
        self.name, self.module, self.settings = name, module, settings
        self.facts, self.absent, self.peak_mb = {}, None, None
        self.seconds, self.losses = [], []
        if module == "product":
            self.facts = {"flop": PRODUCT_FLOP, "platform": "cpu"}
        if module == "ours":
            mb = 10.0 + 7 * (settings["shape"].cells - 1)
            self.facts = {"temporary_mb": mb, "compile_seconds": 1.5}
        if module == "torch_performer" and not TORCH:
            self.absent = "torch is not installed"

    def warm_up(self) -> None:
        pass

    def play(self) -> None:
        if self.absent:
            return
        seconds = {"product": 0.5, "literal": 9.0, "torch_performer": 12.0}
        bfloat16 = self.settings.get("dtype") == "bfloat16"
        exact = self.settings.get("attention") == "exact"
        tokens = self.settings["shape"].tokens if "shape" in self.settings else 0
        mine = seconds.get(self.module, tokens / 10)
        # One slow turn changes no median.
        slow = 100 if len(self.seconds) == 1 else 0
        self.seconds.append(
            (mine / 2 if bfloat16 else mine) * (5 if exact else 1) + slow
        )
        self.losses.append(1.0)

    def close(self) -> None:
        pass


TORCH = True


@pytest.fixture(params=[True, False], ids=["torch", "no torch"])
def torch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(turns, "Player", Timed)
    monkeypatch.setitem(globals(), "TORCH", request.param)
    return request.param


def test_results_of_the_headline(torch: bool, tmp_path: Path, capsys):
    training_step.main(
        training_step.Config(shape=SMALL, turns=3, out=tmp_path, product_width=8)
    )
    results = json.loads((tmp_path / "training_step.json").read_text())
    needed = shape.step_flop(SMALL, last_layer_rows=SMALL.predicted)
    # Ours takes 4 s, 2 in bfloat16; a product takes PRODUCT_FLOP in half a second.
    assert results["ratios"] == {
        "performer_pytorch_float32": 3.0 if torch else None,
        "performer_pytorch_bfloat16": 3.0 if torch else None,
        "literal_jax": 2.25,
        "matmul_share": pytest.approx(needed / 4 / (PRODUCT_FLOP / 0.5)),
    }
    assert results["temporary_mb"]["batch_1"] == 10
    assert results["temporary_mb"]["per_further_cell"] == 7
    assert results["exponents"] == {"ours": pytest.approx(1)}
    # At a fourth of the tokens, to ours there: 1 s.
    softmax = results["ratios_of_softmax_attention"]
    assert softmax == {"exact_jax": 5.0, "sdpa_float32": 60.0 if torch else None}
    assert results["compile_seconds"]["ours"] == 1.5
    assert results["contestants"]["ours"]["seconds"] == [4, 104, 4]
    assert results["turns"] == 3
    assert {"machine", "versions", "revision", "config"} <= results.keys()
    assert (tmp_path / "training_step.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "| literal port to JAX | 40 | 9,000 | 2.25 |" in printed
    words = "12,000 | 3.00" if torch else "torch is not installed | – | – | – |"
    assert f"| performer-pytorch, float32 | 40 | {words}" in printed


def test_results_of_the_sweeps(torch: bool, tmp_path: Path, capsys):
    config = sweeps.Config(shape=SMALL, turns=3, out=tmp_path, threads=1)
    sweeps.main(config)
    results = json.loads((tmp_path / "sweeps.json").read_text())
    assert list(results["axes"]) == list(config.axes)
    tokens = results["axes"]["tokens"]
    assert tokens["exponents"]["ours"] == pytest.approx(1)
    assert tokens["second_over_first"] == {
        "20": 6.0 if torch else None,
        "40": 3.0 if torch else None,
        "80": 1.5 if torch else None,
    }
    assert list(results["axes"]["chunk"]["contestants"]) == ["ours"]
    for axis in config.axes:
        picture = tmp_path / f"sweep_{axis}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    theirs = "12,000 | – | 3.00 |" if torch else "torch is not installed | – | – |"
    assert f"| 40 | 4,000 | 10 | {theirs}" in printed


def test_bfloat16_is_held_against_ours_in_bfloat16_where_that_runs():
    def timed(module: str, seconds: float, **settings: Any) -> Player:
        player = Timed("", module, shape=SMALL, **settings)
        player.seconds = [seconds]
        return player

    theirs = timed("torch_performer", 6.0, dtype="bfloat16")
    ours, low = timed("ours", 3.0), timed("ours", 1.0, dtype="bfloat16")
    chunked = timed("ours", 9.0, attention="exact")
    assert report.ratio_to_ours(theirs, [ours, chunked]) == 2
    assert report.ratio_to_ours(theirs, [ours, low, chunked]) == 6
    assert report.ratio_to_ours(theirs, [chunked]) is None


def test_exponent_of_a_power():
    assert report.exponent([1, 2, 4], [3.0, 12.0, 48.0]) == pytest.approx(2)
    assert report.exponent([1, 2, 4], [3.0, None, 48.0]) == pytest.approx(2)
    assert report.exponent([1, 2], [3.0, None]) is None


@pytest.mark.long
def test_the_whole_bench_runs(tmp_path: Path):
    small = Shape(tokens=64, dim=8, layers=2, heads=2, key_size=8)
    config = training_step.Config(shape=small, turns=1, out=tmp_path, product_width=8)
    results = training_step.main(config)
    assert results["ratios"]["literal_jax"] > 0
    assert results["ratios"]["matmul_share"] > 0
    assert results["temporary_mb"]["batch_1"] > 0
    for player in results["contestants"].values():
        reason = player["absent"] or "not installed"
        assert reason.endswith("not installed"), player["name"]
        assert player["absent"] or len(player["losses"]) == 1


@pytest.mark.long
def test_a_batch_is_split_over_devices():
    small = Shape(tokens=64, cells=4, dim=8, layers=2, heads=2, key_size=8)
    with turns.starting() as start:
        players = [
            start(f"{devices} devices", "ours", shape=small, devices=devices)
            for devices in (1, 2)
        ]
        turns.take_turns(players, 2)
    one, two = (player.losses for player in players)
    assert len(one) == len(two) > 0
    assert two == pytest.approx(one, rel=1e-5)
    assert players[1].facts["temporary_mb"] < players[0].facts["temporary_mb"]
