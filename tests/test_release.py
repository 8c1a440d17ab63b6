"""What is released: the archives, installed alone, and the files that release them."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import scmultimodal

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME = f"scmultimodal-{scmultimodal.__version__}"
PYTHONS = ("3.11", "3.13")
HEAVY = {"gpu", "tpu", "parity"}
"""Extras of accelerators, and torch."""
EXTRAS = ["", *sorted(PROJECT["optional-dependencies"].keys() - HEAVY)]
ROUND_TRIP = """
import pathlib, sys
import numpy as np
import scmultimodal
from scmultimodal import CellModel, datasets
from scmultimodal.modules.performer import PerformerConfig
from scmultimodal.workflows import prepare, pretrain
from scmultimodal.workflows.pretrain_config import PretrainConfig

assert pathlib.Path(scmultimodal.__file__).is_relative_to(sys.prefix)
data = datasets.simulate_multiome(num_cells=60, num_genes=30)
genes, config = datasets.simulated_genes(data), prepare.PrepareConfig()
store = prepare.run(data, genes, config, pathlib.Path("data"), provenance={})
path = PerformerConfig(dim=8, num_layers=1, num_heads=1, key_size=4)
config = PretrainConfig(path=path)
model = CellModel(pretrain.untrained(store, config))
model.save("model")
vectors = model.embed(data)
np.testing.assert_array_equal(CellModel.load("model").embed(data), vectors)
assert vectors.shape == (60, 8) and vectors.any()
"""


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Folder with the sdist, and the wheel that is built from it."""
    pytest.importorskip("hatchling", reason="`make setup` installs hatchling")
    folder = tmp_path_factory.mktemp("dist")
    _run(
        *(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT),
        cwd=folder,
    )
    return folder


def test_the_wheel_ships_the_package_alone(archives):
    (wheel,) = archives.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    information = f"{NAME}.dist-info"
    assert {name.split("/")[0] for name in names} == {"scmultimodal", information}
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "scmultimodal").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package <= names
    assert "scmultimodal/py.typed" in names
    assert f"{information}/licenses/LICENSE" in names
    assert f"{information}/entry_points.txt" in names


def test_the_sdist_holds_what_its_tests_need_and_nothing_of_the_machine(archives):
    with tarfile.open(archives / f"{NAME}.tar.gz") as archive:
        members = archive.getnames()
    names = {name.removeprefix(f"{NAME}/") for name in members}
    for folder in ("scmultimodal", "experiments", "tests", "tpu", ".ci"):
        tracked = _run("git", "ls-files", folder, cwd=ROOT).split()
        assert set(tracked) <= names
        assert tracked
    files = ["README.md", "CHANGELOG.md", "LICENSE", "CITATION.cff", "Makefile"]
    assert {*files, "pyproject.toml", "PKG-INFO"} <= names
    parts = {part for name in names for part in Path(name).parts}
    assert not parts & {".git", ".venv", ".github", "runs", "shared", "__pycache__"}


@pytest.mark.long
@pytest.mark.parametrize("extra", EXTRAS, ids=lambda extra: extra or "none")
@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_works_alone(archives, tmp_path, version, extra):
    python = _venv(_interpreter(version), tmp_path / "venv")
    (wheel,) = archives.glob("*.whl")
    _install(python, f"{wheel}[{extra}]" if extra else str(wheel), required=not extra)
    try:
        _run(python, "-I", "-c", ROUND_TRIP, cwd=tmp_path)
        command = python.with_name("scmultimodal")
        told = json.loads(_run(command, "doctor", "--json", cwd=tmp_path))
        assert told["fit"] is True
        here, _, _ = _found(told, "extras").partition(";")
        assert not extra or extra in here.split(", ")
        noted = [one for one in told["findings"] if one["status"] != "good"]
        assert noted == []
    finally:
        shutil.rmtree(tmp_path / "venv")


def test_releases_take_no_token():
    workflows = {
        path.stem: yaml.safe_load(path.read_text())
        for path in (ROOT / ".github" / "workflows").glob("*.yml")
    }
    assert set(workflows) == {"test", "docs", "release"}
    for content in workflows.values():
        assert content["permissions"] == {"contents": "read"}
        assert not re.search(
            r"secrets\.|password|token:(?! write)", json.dumps(content)
        )
    jobs = workflows["release"]["jobs"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert (jobs["publish"]["needs"], jobs["build"]["needs"]) == ("build", "test")
    tested = workflows["test"]["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert tested == list(PYTHONS)


@pytest.mark.parametrize("name", ["bug", "idea"])
def test_issues_are_asked_what_doctor_prints(name):
    path = ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml"
    form = yaml.safe_load(path.read_text())
    (field,) = (one for one in form["body"] if one["id"] == "doctor")
    assert "scmultimodal doctor" in field["attributes"]["label"]


def _interpreter(version: str) -> Path:
    """One that can make environments; skips where the machine has none."""
    found = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    if on_path := shutil.which(f"python{version}"):
        found.insert(0, Path(on_path))
    for candidate in found:
        works = [candidate, "-c", "import ensurepip"]
        if subprocess.run(works, capture_output=True).returncode == 0:
            return candidate
    pytest.skip(f"no Python {version} with venv on this machine")


def _venv(interpreter: Path, folder: Path) -> Path:
    _run(interpreter, "-m", "venv", folder, cwd=folder.parent)
    return folder / "bin" / "python"


def _install(python: Path, what: str, *, required: bool) -> None:
    """Skips where the index lacks what an extra wants."""
    pins = ROOT / ".ci" / "constraints.txt"
    command = [python, "-m", "pip", "install", "--quiet", "--constraint", pins, what]
    done = subprocess.run(command, capture_output=True, text=True)
    if not required and "No matching distribution found" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr


def _found(told: dict, name: str) -> str:
    return next(one["found"] for one in told["findings"] if one["name"] == name)


def _run(*command: object, cwd: Path) -> str:
    """Without the paths and settings of the process that tests."""
    kept = {n: v for n, v in os.environ.items() if n not in ("PYTHONPATH", "XLA_FLAGS")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, env=kept
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
