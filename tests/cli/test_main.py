"""What all commands have in common."""

import pytest

from scmultimodal import cli


@pytest.mark.parametrize(
    "command",
    [
        *("demo", "prepare", "inspect", "finetune", "perturb", "explain"),
        *("prepare-ranking", "convert", "report"),
        *("embed", "annotate", "impute", "score"),
    ],
)
def test_help_shows_examples(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert f"Examples:\n    scmultimodal {command}" in printed
