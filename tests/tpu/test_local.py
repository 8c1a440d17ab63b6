"""The local launcher: it starts hosts, again where they ask for it, and reports."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from scmultimodal.data import locks
from scmultimodal.training.metrics import read_metrics
from tests import builders
from tests.training.hosts import run
from tpu import __main__ as tpu
from tpu import local

LOCAL = ["run", "--backend", "local"]


@pytest.fixture
def launch(tmp_path, monkeypatch, capfdbinary):
    """Runs hosts by a plan; returns (status, what is shown)."""
    monkeypatch.setattr(local, "PROGRAM", "tests.tpu.some_host")

    def launch(plan, *arguments):
        (tmp_path / "plan").write_text(plan)
        status = tpu.main([*LOCAL, "some.study", "--out", str(tmp_path), *arguments])
        return status, capfdbinary.readouterr().out.decode()

    return launch


def test_hosts_get_their_roles_and_the_flags_of_the_study(launch, tmp_path):
    status, shown = launch(
        "0 0 0", "--hosts", "3", "--devices-per-host", "4", "--x", "1"
    )
    assert status == 0
    expected = f"host 0 of 3: some.study --x 1 --out {tmp_path}\ndevices 4\n"
    assert expected in shown.replace("\r", "")
    assert "host 1 of 3" not in shown
    for host in range(3):
        said = (tmp_path / "hosts" / f"{host}.log").read_text()
        assert said == expected.replace("host 0", f"host {host}")
    assert shown.count("0 done") == 3


def test_what_was_killed_or_asks_for_it_is_started_again(launch, tmp_path):
    status, shown = launch("SIGKILL 75\n75 0\n0 0", "--hosts", "2")
    assert status == 0
    assert shown.count("0 done") == 2
    lives = [(tmp_path / f"lives_{host}").read_text() for host in range(2)]
    assert lives == ["xxx", "xx"]
    said = (tmp_path / "pod" / "machine_0" / "startup.log").read_text()
    ended = [line for line in said.splitlines() if "starting again" in line]
    assert [line.split()[3] for line in ended] == ["-9;", "75;"]


def test_a_machine_that_dies_is_started_again(launch, tmp_path):
    """What it had started is ended first."""
    status, shown = launch("machine\n0", "--hosts", "1")
    assert status == 0
    rows = [line.split(maxsplit=3) for line in shown.splitlines()[-2:]]
    assert [(row[1], row[3]) for row in rows] == [
        ("0", "killed by SIGKILL"),
        ("1", "0 done"),
    ]
    assert (tmp_path / "lives_0").read_text() == "xx"


def test_what_has_ended_is_run_anew_when_asked_again(launch, tmp_path):
    assert launch("0", "--hosts", "1")[0] == 0
    assert launch("0\n0", "--hosts", "1")[0] == 0
    assert (tmp_path / "lives_0").read_text() == "xx"
    ended = json.loads((tmp_path / "hosts" / "ended.json").read_text())
    assert (ended["status"], ended["why"]) == (0, "the study ended")


def test_restarts_are_bounded(launch, tmp_path):
    status, _ = launch("75 75\n" * 9, "--hosts", "2", "--restarts", "2")
    assert status == 75
    assert (tmp_path / "lives_0").read_text() == "xxx"


@pytest.mark.parametrize("leeway", [0.0, -1.0])
def test_a_host_that_does_not_end_after_the_others_is_killed(
    launch, monkeypatch, leeway
):
    """Also where its time is over before anybody waits for it."""
    monkeypatch.setattr(local, "LEEWAY", leeway)
    how = ["--hosts", "2", "--restarts", "0", "--heartbeat-seconds", "0.2"]
    status, shown = launch("75 wait", *how)
    assert status == 75
    assert "killed by SIGKILL" in shown.splitlines()[-1]


@pytest.mark.parametrize(("plan", "expected"), [("2 75", 2), ("75 3", 3), ("2 3", 2)])
def test_a_host_that_gives_up_is_not_started_again(launch, tmp_path, plan, expected):
    status, _ = launch(f"{plan}\n0 0", "--hosts", "2")
    assert status == expected
    host = plan.split().index(str(expected))
    assert (tmp_path / f"lives_{host}").read_text() == "x"


def until_there(path, launcher):
    """Returns once a file is there; fails if the launcher ends before."""
    while not path.exists():
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"the launcher ended with {launcher.wait(0.1)}")


def test_asked_to_end_the_launcher_asks_a_host_and_starts_none(tmp_path):
    (tmp_path / "plan").write_text("wait\n0")
    code = (
        "import sys; from tpu import local, __main__ as t;"
        "local.PROGRAM = 'tests.tpu.some_host'; sys.exit(t.main())"
    )
    command = [*LOCAL, "some.study", "--hosts", "1", "--out", str(tmp_path)]
    launcher = subprocess.Popen(
        [sys.executable, "-c", code, *command], stdout=subprocess.PIPE, text=True
    )
    for line in launcher.stdout:
        if line.startswith("devices"):
            break
    until_there(tmp_path / "ready_0", launcher)
    launcher.send_signal(signal.SIGTERM)
    shown, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == 75
    assert "75 restart me" in shown
    assert (tmp_path / "lives_0").read_text() == "x"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], "Verbs: check, up"),
        ([], "Verbs: check, up"),
    ],
)
def test_a_wrong_command_line_is_told(arguments, words, capsys):
    assert tpu.main(arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value", "least"), [("--hosts", "0", 1), ("--restarts", "-1", 0)]
)
def test_numbers_that_cannot_be_are_told(tmp_path, capsys, flag, value, least):
    with pytest.raises(SystemExit, match="2"):
        tpu.main([*LOCAL, "s", "--out", str(tmp_path / "x"), flag, value])
    assert f"{flag}: is {value}. Give {least} or more." in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


CELLS = [
    *("cell_model.pretraining", "--data.dataset", "simulated", "--steps", "6"),
    *("--batch-size", "8", "--checkpoint-every", "2", "--path.dim", "8"),
    *("--path.num-layers", "1", "--path.num-heads", "1", "--path.key-size", "8"),
]
TWO_HOSTS = ["--hosts", "2", "--devices-per-host", "2", "--heartbeat-seconds", "5"]


@pytest.fixture(scope="module")
def regions(tmp_path_factory):
    """The flags of a ranking study on spans of random DNA."""
    rows = range(64)
    spans = [[builders.dna(48, seed=3 * row + i) for i in range(3)] for row in rows]
    store = builders.region_store(
        tmp_path_factory.mktemp("spans") / "spans",
        spans,
        np.random.default_rng(0).permuted(np.tile([1, 2, 3], (64, 1)), axis=1),
        num_tokens=9,
        split=np.repeat([0, 1, 2], [40, 12, 12]),
    )
    return [
        *("genome_model.region_ranking", "--head", "linear", "--steps", "6"),
        *("--data.spans", str(store.path), "--batch-size", "8"),
        *("--checkpoint-every", "2", "--shape.dim", "8", "--shape.num-layers", "1"),
        *("--shape.num-heads", "2", "--shape.hidden", "8"),
    ]


@pytest.fixture(scope="module")
def kmers(tmp_path_factory):
    """The flags of a pre-training on random DNA."""
    fasta = tmp_path_factory.mktemp("dna") / "random.fa"
    fasta.write_text(f">chr1\n{builders.dna(4_000, seed=1)}\n")
    return [
        *("genome_model.kmer_pretraining", "--fasta", str(fasta), "--steps", "6"),
        *("--k", "2", "--window-bp", "24", "--batch-size", "8"),
        *("--validation-windows", "12", "--table-windows", "50"),
        *("--checkpoint-every", "2", "--shape.dim", "8", "--shape.num-layers", "1"),
        *("--shape.num-heads", "2", "--shape.hidden", "8"),
    ]


INERT = {
    "cells": (),
    "regions": ("accessibility_head/score/b", "nucleotide_transformer/norm_offset"),
    "kmers": (),
}
"""Parameters of a study that move no loss, and their moments. The scores of all regions
of a span may be raised alike, by the linear head's bias or by what it reads of the last
offset: what those get as gradient is rounding, of which Adam makes steps."""


def fingerprints(out):
    """Of the batches that a training was given."""
    return [
        record["batch_fingerprint"]
        for record in read_metrics(out / "metrics.jsonl")
        if record["split"] == "train"
    ]


@pytest.mark.long
@pytest.mark.parametrize("study", ["cells", "regions", "kmers"])
def test_a_real_study_is_the_same_on_two_hosts(study, request, tmp_path, monkeypatch):
    """Bit for bit within a topology; within rounding on one host of four devices.

    Hosts meet though a proxy is named, which gRPC would ask even for localhost.
    """
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    words = CELLS if study == "cells" else request.getfixturevalue(study)
    for out in ("one", "another"):
        run("tpu", *LOCAL, *words, *TWO_HOSTS, "--out", tmp_path / out)
    run("experiments.train", *words, "--out", tmp_path / "alone", devices=4)
    one, another, alone = (
        builders.checkpoint_arrays(tmp_path / out)
        for out in ("one", "another", "alone")
    )
    assert list(one) == list(alone) == [2, 4, 6]
    jax.tree.map(np.testing.assert_array_equal, one, another)
    differ = {
        name
        for name, array in one[6].items()
        if not np.allclose(array, alone[6][name], 1e-5, 1e-7)
    }
    assert {name for name in differ if not name.endswith(INERT[study])} == set()
    seen = [fingerprints(tmp_path / out) for out in ("one", "another", "alone")]
    assert seen[0] == seen[1] == seen[2] != []


@pytest.mark.long
def test_a_real_study_survives_a_kill_to_the_same_bits(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = ["tpu", *LOCAL, *CELLS, *TWO_HOSTS, "--out"]
    run(*words, whole)
    launcher = subprocess.Popen(
        [sys.executable, "-m", *words, str(killed)], stdout=subprocess.PIPE, text=True
    )
    until_there(killed / "checkpoints" / "2" / "manifest.json", launcher)
    of_host = ["pkill", "-KILL", "-n", "-f", f"experiments.train.*{killed}"]
    assert subprocess.run(of_host, check=False).returncode == 0
    shown, _ = launcher.communicate(timeout=300)
    assert launcher.returncode == 0
    assert [line.split(maxsplit=3)[3] for line in shown.splitlines()[-2:]] == [
        "0 done",
        "0 done",
    ]
    said = [log.read_text() for log in killed.glob("pod/machine_*/startup.log")]
    assert sum("ended with -9; starting again" in one for one in said) == 1
    jax.tree.map(
        np.testing.assert_array_equal,
        builders.checkpoint_arrays(whole)[6],
        builders.checkpoint_arrays(killed)[6],
    )


@pytest.mark.long
def test_machines_with_disks_of_their_own_go_on_from_the_bucket(tmp_path):
    """One goes with its disk, to the same bits; one host of four goes on from there."""
    words = ["tpu", *LOCAL, *CELLS, *TWO_HOSTS, "--out"]
    run(*words, f"file://{tmp_path}/whole")
    lost = tmp_path / "lost"
    launcher = subprocess.Popen(
        [sys.executable, "-m", *words, f"file://{lost}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    until_there(lost / "checkpoints" / "2" / "manifest.json", launcher)
    machine = ["pkill", "-KILL", "-f", f"tpu.worker {lost}/pod/machine_0"]
    assert subprocess.run(machine, check=False).returncode == 0
    shown, _ = launcher.communicate(timeout=300)
    assert launcher.returncode == 0
    assert ["0", "1", "0", "done"] in [
        line.split()[:2] + line.split()[3:] for line in shown.splitlines()
    ]
    arrays = [builders.checkpoint_arrays(tmp_path / out) for out in ("whole", "lost")]
    jax.tree.map(np.testing.assert_array_equal, arrays[0][6], arrays[1][6])
    assert not (lost / "runs").exists()
    assert (lost / "model" / "config.json").is_file()
    for step in ("4", "6"):
        shutil.rmtree(lost / "checkpoints" / step)
    first = lost / "checkpoints" / "2" / "manifest.json"
    saved = first.stat().st_mtime_ns
    alone = ["experiments.train", *CELLS, "--out", tmp_path / "alone"]
    run(*alone, "--bucket", f"file://{lost}", devices=4)
    found = builders.checkpoint_arrays(lost)[6]
    for name, array in arrays[0][6].items():
        np.testing.assert_allclose(found[name], array, 1e-5, 1e-7, err_msg=name)
    assert first.stat().st_mtime_ns == saved  # It went on from there.


def test_a_second_launcher_is_refused(launch, tmp_path):
    with locks.held(tmp_path / "pod" / "lock", wait=False) as mine:
        assert mine
        assert launch("0", "--hosts", "1")[0] == 2
    assert not (tmp_path / "lives_0").exists()
