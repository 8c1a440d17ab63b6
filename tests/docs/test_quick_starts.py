"""Quick starts, pasted as they stand into a clean environment: `make test-docs`."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.docs import pages

pytestmark = pytest.mark.docs

QUICKSTART = pages.DOCS / "quickstart"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a clone, and scmultimodal installed as the page says."""
    folder = tmp_path_factory.mktemp("user")
    listing = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    told = subprocess.run(listing, cwd=pages.ROOT, capture_output=True, check=True)
    for name in told.stdout.decode().split("\0"):
        if name and (pages.ROOT / name).is_file():
            copy = folder / "scmultimodal" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(pages.ROOT / name, copy)
    paste(pages.blocks(QUICKSTART / "install.md"), folder, venv=None)
    return folder


def paste(blocks, folder: Path, venv: Path | None) -> str:
    """Runs blocks one after the other in one shell; returns what they said."""
    lines = [] if venv is None else [f"source {venv}/bin/activate"]
    for block in blocks:
        if block.kind == "shell":
            lines.append(block.text)
        elif block.kind == "python":
            lines.append(f"python - <<'PASTED'\n{block.text}PASTED")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment() -> Mapping[str, str]:
    """That of a user, but for pinned versions and faster compiling."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRT"))}
    pins = " ".join(
        str(pages.ROOT / ".ci" / f"constraints{part}.txt") for part in ("", "-docs")
    )
    flags = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    return kept | {"PIP_CONSTRAINT": pins, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


@pytest.mark.parametrize("person", ["biologist", "researcher", "evaluator"])
def test_a_quick_start_works_as_it_stands(folder, person):
    place = folder / person
    place.mkdir()
    said = paste(pages.blocks(QUICKSTART / f"{person}.md"), place, folder / "scmm")
    assert "Traceback" not in said
    left = {path.relative_to(place).as_posix() for path in place.rglob("*")}
    assert (
        left
        >= {
            "biologist": {"umap.png", "annotated.h5mu", "runs/mine/report/index.html"},
            "researcher": {"runs/idea/metrics.jsonl"},
            "evaluator": {
                "runs/try/pretrain/model/model.safetensors",
                "models/try/evaluate.py",
            },
        }[person]
    )


def test_the_six_lines_of_the_readme_work(folder, data_folder):
    place = folder / "readme"
    place.mkdir()
    demo = pages.Block("README.md", 0, "shell", "scmultimodal demo --quick\n")
    lines = next(
        b for b in pages.blocks(pages.ROOT / "README.md") if b.kind == "python"
    )
    said = paste([demo, lines], place, folder / "scmm")
    assert "SIMULATED" not in said
