"""The runbook's lines are those that the launcher takes."""

import re
import shlex
from pathlib import Path

import pytest

import tpu
from tpu import __main__ as launcher
from tpu import local

README = Path(tpu.__file__).with_name("README.md")
BLOCKS = re.findall(r"^```\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
COMMANDS = [
    line
    for block in BLOCKS
    for line in block.replace("\\\n", " ").splitlines()
    if re.match(r"python -m tpu (?!\.)[a-z]", line)
]
POD = """
name = "lab"
project = "my-project"
zone = "us-central2-b"
accelerator_type = "v4-32"
bucket = "gs://my-bucket/lab"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where somebody who reads the runbook stands."""
    (tmp_path / "pod.toml").write_text(POD)
    (tmp_path / "data" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # No gcloud.
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_line_of_the_runbook_is_shown_and_changes_nothing(
    folder, bucket, capsys, monkeypatch, command
):
    monkeypatch.setattr("tpu.source.pack", lambda: ("c" * 64, b"code"))
    words = shlex.split(command)[3:]
    assert launcher.main([*words, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert shown.strip()
    assert not bucket.store
    assert sorted(p.name for p in folder.iterdir()) == ["data", "pod.toml"]


def test_the_runbook_has_every_verb():
    verbs = {shlex.split(command)[3] for command in COMMANDS}
    assert verbs == set(launcher.VERBS)


def test_what_local_hosts_would_run(capsys, tmp_path):
    words = ["run", "s", "--backend", "local", "--hosts", "2", "--out", str(tmp_path)]
    assert launcher.main([*words, "--name", "a b", "--dry-run"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert shlex.split(first)[1:] == [
        *(
            "SCMULTIMODAL_HOST=0",
            "JAX_NUM_CPU_DEVICES=1",
            "python",
            "-m",
            local.PROGRAM,
        ),
        *("s", "--name", "a b", "--out", str(tmp_path)),
    ]
    assert second == first.replace("HOST=0", "HOST=1")
    assert not list(tmp_path.iterdir())
