"""Verbs for queued resources, by what `gcloud` is asked and how it answers."""

import json
import shlex
import sys

import pytest

from scmultimodal.schemas.errors import InputError
from tpu import __main__ as tpu
from tpu import queued_resources, shell

POD = """
name = "one"
project = "my-project"
zone = "us-central2-b"
accelerator_type = "v4-32"
bucket = "gs://my-bucket/runs"
"""
REQUEST = (
    "compute tpus queued-resources {} one --project my-project --zone us-central2-b"
)
CREATE = REQUEST.format("create").split()
LOOK = [*REQUEST.format("describe").split(), "--format=json"]
DELETE = [*REQUEST.format("delete").split(), "--force", "--quiet"]
CHIPS = ["--accelerator-type", "v4-32", "--runtime-version", "tpu-ubuntu2204-base"]
QUEUE = ["--valid-until-duration", "1440m"]
MISSING = [1, "", "ERROR: (gcloud) NOT_FOUND: Resource 'one' was not found"]
BUSY = [1, "", "ERROR: (gcloud) UNAVAILABLE: try again"]


def said(state):
    """What `describe` says of a request in this state."""
    return [0, json.dumps({"name": "one", "state": {"state": state}}), ""]


@pytest.fixture
def do(tmp_path, slept):
    """Does a verb for the pod of a file, with further flags."""
    (tmp_path / "pod.toml").write_text(POD)

    def do(verb, *flags):
        return tpu.main([verb, "--config", str(tmp_path / "pod.toml"), *flags])

    return do


FILES = ["--metadata-from-file", "startup-script=startup.sh,pod=pod.json"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], ["--node-id", "one", *CHIPS, *QUEUE, *FILES]),
        (["--pod.spot"], ["--node-id", "one", *CHIPS, *QUEUE, *FILES, "--spot"]),
        (
            ["--pod.reserved"],
            ["--node-id", "one", *CHIPS, *QUEUE, *FILES, "--reserved"],
        ),
        (
            ["--pod.nodes", "4"],
            ["--node-count", "4", "--node-prefix", "one", *CHIPS, *QUEUE, *FILES],
        ),
        (
            ["--pod.nodes=2", "--pod.spot"],
            [
                *("--node-count", "2", "--node-prefix", "one"),
                *(*CHIPS, *QUEUE, *FILES, "--spot"),
            ],
        ),
        (
            ["--pod.internal-ips"],
            ["--node-id", "one", *CHIPS, *QUEUE, *FILES, "--internal-ips"],
        ),
        (
            ["--pod.service-account", "me@my-project.iam.gserviceaccount.com"],
            [
                *("--node-id", "one", *CHIPS, *QUEUE, *FILES, "--service-account"),
                "me@my-project.iam.gserviceaccount.com",
            ],
        ),
        (
            ["--pod.labels", "team", "cells", "cost", "low-1"],
            [
                *("--node-id", "one", *CHIPS, *QUEUE, *FILES),
                *("--labels", "cost=low-1,team=cells"),
            ],
        ),
        (
            ["--pod.queue-hours", "1.5"],
            [
                *("--node-id", "one", *CHIPS),
                *("--valid-until-duration", "90m", *FILES),
            ],
        ),
        (
            ["--pod.runtime-version", "my own; version"],
            [
                *("--node-id", "one", "--accelerator-type", "v4-32"),
                *("--runtime-version", "my own; version", *QUEUE, *FILES),
            ],
        ),
        *(
            (
                ["--pod.accelerator-type", chips],
                [
                    *("--node-id", "one", "--accelerator-type", chips),
                    *("--runtime-version", runtime, *QUEUE, *FILES),
                ],
            )
            for chips, runtime in (
                ("v4-8", "tpu-ubuntu2204-base"),
                ("v5litepod-16", "v2-alpha-tpuv5-lite"),
                ("v5p-128", "v2-alpha-tpuv5"),
                ("v6e-256", "v2-alpha-tpuv6e"),
            )
        ),
    ],
)
def test_what_is_asked_for(gcloud, do, flags, words):
    gcloud.answer("describe", MISSING, said("WAITING_FOR_RESOURCES"))
    assert do("up", *flags) == 0
    assert gcloud.calls == [LOOK, [*CREATE, *words, "--async"], LOOK]


def test_words_reach_gcloud_as_they_are(gcloud, do):
    """Spaces, quotes, dollars: there is no shell between."""
    gcloud.answer("describe", MISSING, said("ACCEPTED"))
    project = "a 'b' \"c\" $HOME `d` \\ *"
    assert do("up", "--pod.project", project) == 0
    assert [call[call.index("--project") + 1] for call in gcloud.calls] == [project] * 3


def test_facts_for_the_machines(gcloud, do):
    gcloud.answer("describe", MISSING, said("ACCEPTED"))
    assert do("up", "--pod.nodes", "2") == 0
    facts = json.loads((gcloud.folder / "files" / "pod").read_text())
    assert facts == {
        "name": "one",
        "project": "my-project",
        "zone": "us-central2-b",
        "bucket": "gs://my-bucket/runs",
        "hosts": 8,
        "hosts_a_slice": 4,
        "devices_a_host": 4,
        "budget_seconds": 86_400,
        "ends_by": "deletion",
        "gathering_seconds": 0.0,
    }
    script = (gcloud.folder / "files" / "startup-script").read_text()
    assert script == queued_resources.STARTUP.read_text()


@pytest.mark.parametrize("state", [*queued_resources.QUEUING, "ACTIVE"])
def test_what_is_there_is_not_asked_for_again(gcloud, do, capsys, state):
    gcloud.answer("describe", said(state))
    for _ in range(2):
        assert do("up") == 0
    assert gcloud.calls == [LOOK, LOOK]
    assert f"one is there already: {state}" in capsys.readouterr().out


@pytest.mark.parametrize("state", queued_resources.GONE)
def test_what_was_taken_away_is_deleted_and_asked_for_again(gcloud, do, state):
    gcloud.answer("describe", said(state), said("ACCEPTED"))
    assert do("up", "--pod.spot") == 0
    words = ["--node-id", "one", *CHIPS, *QUEUE, *FILES, "--spot", "--async"]
    assert gcloud.calls == [LOOK, DELETE, [*CREATE, *words], LOOK]


def test_down_is_safe_to_repeat(gcloud, do, capsys):
    gcloud.answer("describe", said("ACTIVE"), MISSING)
    assert do("down") == 0
    assert do("down") == 0
    assert gcloud.calls == [LOOK, DELETE, LOOK]
    assert "one is not there" in capsys.readouterr().out


def test_deleted_by_another_meanwhile(gcloud, do):
    gcloud.answer("describe", said("SUSPENDED"))
    gcloud.answer("delete", MISSING)
    assert do("down") == 0


@pytest.mark.parametrize(
    ("answer", "shown", "status"),
    [
        (said("ACTIVE"), "one: ACTIVE; 1 × v4-32, 16 chips on 4 hosts", 0),
        ([0, json.dumps({"state": "ACTIVE"}), ""], "one: ACTIVE;", 0),
        (MISSING, "one: not there; 1 × v4-32", 2),
    ],
)
def test_status(gcloud, do, capsys, answer, shown, status):
    gcloud.answer("describe", answer)
    assert do("status") == status
    assert shown in capsys.readouterr().out
    assert gcloud.calls == [LOOK]


def test_an_answer_without_a_state_is_told(gcloud, do, capsys):
    gcloud.answer("describe", [0, "ACTIVE", ""])
    assert do("status") == 2
    assert "gcloud: says no state in 'ACTIVE'" in capsys.readouterr().err


def test_waiting(gcloud, do, slept, capsys):
    waiting = said("WAITING_FOR_RESOURCES")
    gcloud.answer("describe", waiting, waiting, said("PROVISIONING"), said("ACTIVE"))
    assert do("wait") == 0
    assert gcloud.calls == [LOOK] * 4
    assert slept == [queued_resources.LOOK_EVERY] * 3
    shown = [line.split()[1:] for line in capsys.readouterr().out.splitlines()]
    assert shown == [
        ["one:", state] for state in ("WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE")
    ]


def test_taken_away_while_waiting(gcloud, do, slept):
    """It is asked for again, later each time, and not for ever."""
    gone = said("SUSPENDED")
    gcloud.answer("describe", gone, gone, said("ACCEPTED"), said("ACTIVE"))
    assert do("wait") == 0
    verbs = [call[3] for call in gcloud.calls]
    assert verbs == ["describe", "describe", "delete", "create", "describe", "describe"]


def test_asked_for_in_vain(gcloud, do, slept, capsys):
    gcloud.answer("describe", said("FAILED"))
    assert do("wait", "--pod.recreate", "3") == 2
    verbs = [call[3] for call in gcloud.calls]
    assert verbs.count("create") == 3
    assert verbs[-1] == "delete"
    assert len(slept) == 3
    assert max(slept) <= shell.LONGEST_PAUSE
    assert slept[1] > slept[0] / 2
    told = capsys.readouterr().err
    assert "one: is FAILED after 4 requests. try later, elsewhere" in told


def test_queued_for_too_long(gcloud, do, capsys):
    gcloud.answer("describe", said("WAITING_FOR_RESOURCES"))
    assert do("wait", "--pod.queue-hours", "1e-9") == 2
    assert gcloud.calls[-1] == DELETE
    assert "was WAITING_FOR_RESOURCES after 1e-09 h" in capsys.readouterr().err


def test_what_cannot_be_deleted_is_told(gcloud, do, capsys):
    gcloud.answer("describe", said("FAILED"))
    gcloud.answer("delete", [1, "", "ERROR: PERMISSION_DENIED: no"])
    assert do("wait", "--pod.recreate", "0") == 2
    said_last = capsys.readouterr().err
    assert "it could not be deleted" in said_last
    assert "run `python -m tpu down`" in said_last


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            "RESOURCE_EXHAUSTED: Quota limit TPUS has been exceeded",
            "ask for more quota",
        ),
        ("PERMISSION_DENIED: does not have permission", "roles/tpu.admin"),
        ("UNAUTHENTICATED: reauth", "gcloud auth login"),
        ("You do not currently have an active account selected", "gcloud auth login"),
        ("SERVICE_DISABLED: Cloud TPU API has not been used", "gcloud services enable"),
        ("INVALID_ARGUMENT: no such accelerator", "python -m tpu check"),
        ("unrecognized arguments: --internal-ips", "python -m tpu check"),
        ("RESOURCE_EXHAUSTED: 429 Quota exceeded", "ask for more quota"),
        ("something else", "look at what it says"),
    ],
)
def test_what_cannot_pass_is_said_at_once(gcloud, do, slept, capsys, error, remedy):
    gcloud.answer("describe", MISSING)
    gcloud.answer("create", [1, "", f"WARNING: x\nERROR: (gcloud) {error}\nbye\n"])
    assert do("up") == 2
    assert [call[3] for call in gcloud.calls] == ["describe", "create"]
    assert not slept
    told = capsys.readouterr().err
    what, _, advice = told.partition(f"ended with 1: ERROR: (gcloud) {error}. ")
    assert remedy in advice
    assert "gcloud compute tpus queued-resources create one" in what


@pytest.mark.parametrize(
    "error",
    [
        "UNAVAILABLE: The service is currently unavailable",
        "DEADLINE_EXCEEDED",
        "HTTPError 503: backend",
        "Error 429: Too many requests",
        "Connection reset by peer",
        "rate limit exceeded",
    ],
)
def test_what_may_pass_is_tried_again(gcloud, do, slept, error):
    gcloud.answer("describe", [1, "", error], [1, "", error], said("ACTIVE"))
    assert do("status") == 0
    assert len(slept) == 2
    assert 1 <= slept[0] <= 2 <= slept[1] <= 4


def test_patience_has_an_end(gcloud, do, slept, capsys):
    gcloud.answer("describe", BUSY)
    assert do("up") == 2
    assert len(gcloud.calls) == shell.ATTEMPTS
    assert (
        "ended with 1 5 times: ERROR: (gcloud) UNAVAILABLE" in capsys.readouterr().err
    )


def test_no_gcloud(do, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert do("status") == 2
    assert "gcloud: is not installed, or not on PATH" in capsys.readouterr().err


def test_a_command_that_hangs_is_ended(monkeypatch, slept):
    monkeypatch.setattr(shell, "LONGEST", 0.05)
    with pytest.raises(InputError, match=r"did not end 5 times: timed out"):
        shell.Shell().ask(
            [sys.executable, "-c", "import threading as t; t.Event().wait()"]
        )
    assert len(slept) == shell.ATTEMPTS - 1


@pytest.mark.parametrize(
    ("verb", "shown"),
    [
        ("up", ["create", "--node-id one", "--async"]),
        ("down", ["delete", "--force --quiet"]),
        ("wait", ["describe"]),
    ],
)
def test_a_dry_run_shows_and_does_nothing(gcloud, do, capsys, verb, shown):
    assert do(verb, "--dry-run", "--pod.project", "my project") == 0
    assert gcloud.calls == []
    out = capsys.readouterr().out
    assert all(words in out for words in (*shown, "--project 'my project'"))
    assert shlex.split(out)[:4] == ["gcloud", "compute", "tpus", "queued-resources"]


def test_check_tells_what_is_at_hand(gcloud, do, capsys):
    gcloud.answer("list", [0, "me@here\n", ""])
    gcloud.answer("describe", [0, "there", ""], [0, "", ""], MISSING)
    assert do("check") == 2
    out = capsys.readouterr().out
    assert ["account", "me@here"] in [line.split() for line in out.splitlines()]
    assert "NO: gcloud storage buckets describe gs://my-bucket" in out
    assert ["software", "tpu-ubuntu2204-base", "NO"] in [
        line.split() for line in out.splitlines()
    ]
    place = ["--zone", "us-central2-b", "--project", "my-project"]
    assert gcloud.calls == [
        ["--version"],
        ["auth", "list", "--filter=status:ACTIVE", "--format=value(account)"],
        ["compute", "tpus", "accelerator-types", "describe", "v4-32", *place],
        [
            *("compute", "tpus", "tpu-vm", "versions", "describe"),
            *("tpu-ubuntu2204-base", *place),
        ],
        [
            *("storage", "buckets", "describe", "gs://my-bucket"),
            "--format=value(location)",
        ],
    ]


def test_an_answer_that_was_lost(gcloud, do):
    """The request had come through: it is there when it is made again."""
    gcloud.answer("describe", MISSING, said("ACCEPTED"))
    exists = [1, "", "ERROR: (gcloud) ALREADY_EXISTS: Resource 'one' already exists"]
    gcloud.answer("create", BUSY, exists)
    assert do("up") == 0


def test_a_wait_outlasts_a_lost_connection(gcloud, do, slept):
    lost = [[1, "", "Connection reset by peer"]] * (2 * shell.ATTEMPTS)
    gcloud.answer("describe", said("ACCEPTED"), *lost, said("ACTIVE"))
    assert do("wait") == 0
    assert slept.count(queued_resources.LOOK_EVERY) == 3


def test_flags_win_over_the_file(gcloud, do, capsys, tmp_path):
    gcloud.answer("describe", said("ACTIVE"))
    path = tmp_path / "pod.toml"
    path.write_text(POD + "spot = true\n[labels]\na = 'b'\n")
    assert (
        tpu.main(["status", f"--config={path}", "--pod.accelerator-type", "v6e-8"]) == 0
    )
    assert "1 × v6e-8, 8 chips on 1 hosts" in capsys.readouterr().out
