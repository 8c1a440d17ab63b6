"""What the tests of the commands share."""

import dataclasses

import pytest

from scmultimodal import cli
from scmultimodal.evaluation import projection
from scmultimodal.workflows import presets
from scmultimodal.workflows.finetune_config import FinetuneConfig
from tests import builders


@pytest.fixture
def tiny(monkeypatch, lightly_compiled):
    """The small preset, smaller; UMAP has tests of its own and is slow to compile."""
    small = dataclasses.replace(
        presets.SMALL,
        pretrain=builders.small_pretraining(steps=3, batch_size=32, tokens="nonzero"),
        finetune=FinetuneConfig(epochs=1, batch_size=64, hidden=(16,)),
    )
    monkeypatch.setitem(presets.PRESETS, "small", small)
    monkeypatch.setattr(projection, "umap", lambda vectors: vectors[:, :2])


@pytest.fixture
def refused(capsys):
    """Runs a command that fails; returns the one line that it leaves behind."""

    def run(out, command):
        assert cli.main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("scmultimodal: ")
        assert not out.exists()
        return line

    return run
