"""What all commands have in common."""

import re
import subprocess
import sys

import pytest

import scmultimodal
from scmultimodal import cli
from scmultimodal.cli import commands


@pytest.mark.parametrize("command", commands.MODULES)
def test_help_shows_examples(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert f"Examples:\n    scmultimodal {command}" in printed


@pytest.mark.parametrize("command", commands.MODULES)
def test_flags_are_those_that_help_shows(capsys, command):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    flag = r"^[│ ] (?:-h, )?(--[a-z-]+)(?:, (--no-[a-z-]+))?"
    found = re.findall(flag, capsys.readouterr().out, re.MULTILINE)
    shown = {one for pair in found for one in pair if one}
    assert "--help" in shown
    assert shown <= set(commands.load(command).flags)


def test_the_page_has_a_line_for_each_command(capsys):
    assert cli.main(["--help"]) == 0
    page = capsys.readouterr().out
    lines = page.splitlines()
    assert len(lines) < 50
    assert max(map(len, lines)) <= 80
    for command in commands.MODULES:
        assert sum(line.startswith(f"  {command} ") for line in lines) == 1
    for group in ("data", "cell model", "genome model", "runs and models"):
        assert group in lines
    *_, examples = page.partition("\nexamples")
    assert examples.count("\n  scmultimodal ") == 3


def test_the_examples_of_the_page_are_valid():
    (*parts,) = commands.EXAMPLES.replace("\\\n", " ").splitlines()
    for part in parts:
        program, *words = part.split()
        assert program == "scmultimodal"
        assert type(cli.parse(words)) is commands.load(words[0]).options


def test_no_command_is_answered_with_the_page(capsys):
    assert cli.main([]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == commands.page() + "\n"


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"scmultimodal {scmultimodal.__version__}\n"


def test_a_page_that_nobody_reads_on_ends_quietly():
    """As of `--help | head`."""
    command = [sys.executable, "-m", "scmultimodal", "explain", "--help"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as shown:
        shown.stdout.close()
        assert shown.stderr.read() == ""
    assert shown.returncode == 0


def test_python_runs_the_package_as_a_program():
    command = [sys.executable, "-m", "scmultimodal", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"scmultimodal {scmultimodal.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["finetun"], "there is no finetun. Did you mean finetune?"),
        (["prepare_rankng"], "there is no prepare_rankng. Did you mean prepare-rank"),
        (["xyzzy"], "there is no xyzzy. All there are: scmultimodal --help"),
        (["--verson"], "there is no --verson. Did you mean --version?"),
        (
            ["finetune", "--dat", "x"],
            "finetune has no flag --dat. Did you mean --data?",
        ),
        (
            ["finetune", "--no-from_scrach"],
            "finetune has no flag --no-from-scrach. Did you mean --no-from-scratch?",
        ),
        (
            ["report", "a", "--ouput=x"],
            "report has no flag --ouput. Did you mean --out?",
        ),
        (
            ["demo", "--xyzzy"],
            "no flag --xyzzy. All there are: scmultimodal demo --help",
        ),
    ],
)
def test_typos_are_answered_with_what_is_nearest(capsys, words, said):
    assert cli.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("scmultimodal: ")
    assert said in line


def test_flags_may_have_underscores_and_equals_signs(capsys):
    words = ["prepare", "--genes=a", "--out", "b", "--min_cells_per_class=3"]
    with pytest.raises(SystemExit) as stopped:
        cli.main([*words, "--num-bins", "no number"])
    assert stopped.value.code == 2
    printed = capsys.readouterr().err
    assert "--num-bins" in printed
    assert "--min" not in printed


def test_a_package_that_is_not_installed_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tyro", None)
    monkeypatch.delitem(sys.modules, "scmultimodal.cli.report", raising=False)
    monkeypatch.delattr(cli, "report", raising=False)
    assert cli.main(["report", "a", "--out", "b"]) == 2
    assert "tyro is not installed" in capsys.readouterr().err
