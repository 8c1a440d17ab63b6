"""`scmultimodal doctor`: what is well, and every fault that it can tell."""

import getpass
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import jax
import numpy as np
import pytest

from scmultimodal import cli
from scmultimodal.workflows import doctor, self_check, trained

PACKAGES = {
    "scmultimodal": [
        "jax<0.13,>=0.10",
        "numpy>=2.0",
        'gcsfs>=2025.3; extra == "gcs"',
        'jax[cuda12]>=0.10; extra == "gpu"',
        'dask>=2024.8; extra == "scale"',
        'distributed>=2024.8; extra == "scale"',
        'tomli>=2; python_version < "3"',
    ],
    "jax": ["jaxlib>=0.10", 'jax-cuda12-plugin==0.10.*; extra == "cuda12"'],
    "gcsfs": [],
    "numpy": [],
    "dask": [],
}
VERSIONS = {
    "scmultimodal": "0.1.0",
    "jax": "0.10.2",
    "numpy": "2.4.6",
    "dask": "2026.8",
}


class Metadata(dict):
    def get_all(self, name):
        return self[name]


@pytest.fixture
def installed(monkeypatch):
    """What is installed: name -> version. There are five packages in this world."""
    versions = dict(VERSIONS)

    def version(name):
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    fields = {"Requires-Python": ">=3.11", "Provides-Extra": ["gcs", "gpu", "scale"]}
    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: PACKAGES.get(name))
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: Metadata(fields))
    return versions


@pytest.fixture
def look(monkeypatch, capsys):
    """Looks at one thing alone, by the command: its status, and what it found."""

    def look(check):
        monkeypatch.setattr(doctor, "_CHECKS", {check: doctor._CHECKS[check]})
        status = cli.main(["doctor", "--json"])
        told = json.loads(capsys.readouterr().out)
        assert told["fit"] is (status == 0)
        return status, {one["name"]: one for one in told["findings"]}

    return look


def test_a_machine_that_is_fit(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SCMULTIMODAL_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "fit"
    names = [line[:16].strip() for line in printed.splitlines()]
    looked_at = [name for name in doctor._CHECKS if name not in ("writing", "flags")]
    assert set(looked_at) | {"cache folder", "working folder"} <= set(names)
    assert f"{platform.python_version()}, {platform.system()}" in printed
    assert f"jax {jax.__version__}" in printed
    assert f"{self_check.CELLS} simulated cells" in printed
    assert " bad " not in printed


def test_without_jax_the_rest_is_looked_at_all_the_same():
    code = (
        "import sys; sys.modules['jax'] = None\n"
        "from scmultimodal import cli; sys.exit(cli.main(['doctor', '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    told = {one["name"]: one for one in json.loads(done.stdout)["findings"]}
    for name in ("devices", "pmap", "self-check"):
        assert told[name]["status"] == "bad"
        assert "ModuleNotFoundError" in told[name]["found"]
        assert told[name]["remedy"]
    assert told["machine"]["status"] == "good"


def test_without_what_reads_flags_and_versions_it_says_so():
    code = (
        "import sys; sys.modules |= dict.fromkeys(['tyro', 'packaging'])\n"
        "from scmultimodal import cli; from scmultimodal.workflows import doctor\n"
        "for slow in ('devices', 'pmap', 'self-check'): del doctor._CHECKS[slow]\n"
        "sys.exit(cli.main(['doctor', '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert said.startswith("scmultimodal: tyro is not installed.")
    assert said.endswith("pip install scmultimodal")
    told = {one["name"]: one for one in json.loads(done.stdout)["findings"]}
    for name in ("python", "packages", "extras"):
        assert told[name]["status"] == "bad"
        assert "packaging" in told[name]["found"]
        assert "pip install scmultimodal" in told[name]["remedy"]
    assert told["machine"]["status"] == "good"


# Packages.


def test_packages_are_named_with_their_versions(installed, look):
    status, told = look("packages")
    assert status == 0
    assert told["packages"]["found"] == "jax 0.10.2, numpy 2.4.6"


def test_a_package_that_is_missing(installed, look):
    del installed["numpy"]
    status, told = look("packages")
    assert status == 2
    assert told["packages"]["found"] == "jax 0.10.2"
    assert told["package numpy"]["found"] == "is not installed"
    assert told["package numpy"]["remedy"] == "pip install 'numpy>=2.0'"


@pytest.mark.parametrize("version", ["0.9.1", "0.13.0"])
def test_a_package_of_a_version_that_is_not_allowed(installed, look, version):
    installed["jax"] = version
    status, told = look("packages")
    assert status == 2
    found = f"is {version}, and has to be <0.13,>=0.10"
    assert told["package jax"]["found"] == found
    assert told["package jax"]["remedy"] == "pip install 'jax<0.13,>=0.10'"


def test_the_package_itself_is_not_installed(installed, look):
    del installed["scmultimodal"]
    status, told = look("installation")
    assert status == 2
    assert "PackageNotFoundError" in told["installation"]["found"]
    assert "pip install" in told["installation"]["remedy"]


def test_code_of_another_version_than_what_is_installed(installed, look):
    installed["scmultimodal"] = "0.0.9"
    status, told = look("installation")
    assert status == 0
    assert told["installation"]["status"] == "note"
    assert "installed as 0.0.9" in told["installation"]["found"]


def test_a_python_that_is_too_old(installed, look, monkeypatch):
    monkeypatch.setattr(platform, "python_version", lambda: "3.10.14")
    status, told = look("python")
    assert status == 2
    assert told["python"]["remedy"] == "Take Python >=3.11"


# Extras: none is needed.


@pytest.mark.parametrize("there", [[], ["dask"]])
def test_extras_that_are_absent_or_there_in_part_are_no_fault(installed, look, there):
    del installed["dask"]
    installed |= dict.fromkeys(there, "2026.8")
    status, told = look("extras")
    assert status == 0
    assert told["extras"]["found"] == "none; not installed: gcs, gpu, scale"
    assert list(told) == ["extras"]


def test_an_extra_of_a_version_that_is_not_allowed(installed, look):
    installed |= {"distributed": "2023.1", "dask": "2026.8"}
    status, told = look("extras")
    assert status == 0
    assert told["extra scale"]["status"] == "note"
    found = "distributed is 2023.1, and has to be >=2024.8"
    assert told["extra scale"]["found"] == found
    assert told["extra scale"]["remedy"] == "pip install 'scmultimodal[scale]'"


def test_an_extra_that_adds_to_what_a_package_needs(installed, look):
    installed |= {"distributed": "2026.8", "jax-cuda12-plugin": "0.10.2"}
    _, told = look("extras")
    assert told["extras"]["found"] == "gpu, scale; not installed: gcs"


def test_an_extra_that_does_not_import(installed, look, monkeypatch):
    installed["gcsfs"] = "2026.9"
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    status, told = look("extras")
    assert status == 0
    assert "ModuleNotFoundError" in told["extra gcs"]["found"]
    monkeypatch.setitem(sys.modules, "gcsfs", shutil)
    assert look("extras")[1]["extras"]["found"].startswith("gcs; ")


# Devices and the model.


def test_a_flag_that_jax_does_not_know_ends_it_and_not_the_doctor(look, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_of_tomorrow=true")
    status, told = look("flags")
    assert status == 2
    assert "Unknown flag in XLA_FLAGS: --xla_of_tomorrow" in told["flags"]["found"]
    assert "XLA_FLAGS" in told["flags"]["remedy"]
    assert "XLA_FLAGS" not in os.environ


def test_a_device_that_fails(look, monkeypatch):
    def fail():
        raise RuntimeError("Unable to initialize backend 'cuda': no device\nmore")

    monkeypatch.setattr(jax, "devices", fail)
    status, told = look("devices")
    assert status == 2
    found = "RuntimeError: Unable to initialize backend 'cuda': no device"
    assert told["devices"]["found"] == found
    assert "JAX_PLATFORMS=cpu" in told["devices"]["remedy"]


@pytest.mark.parametrize(
    ("check", "function", "words"),
    [("devices", "jit", "512 x 512 numbers is wrong"), ("pmap", "pmap", "a sum over")],
)
def test_a_device_that_computes_wrong(look, monkeypatch, check, function, words):
    def wrong(f, **options):
        return lambda *arrays: np.zeros_like(arrays[0])

    monkeypatch.setattr(jax, function, wrong)
    status, told = look(check)
    assert status == 2
    assert words in told[check]["found"]


@pytest.mark.parametrize(
    ("change", "words"),
    [(lambda x: x + 1e-3, "something else"), (lambda x: x * np.nan, "not finite")],
)
def test_a_model_that_is_not_the_same_when_loaded(monkeypatch, change, words):
    outputs, called = trained.outputs, []

    def wrong(model, reference):
        found = outputs(model, reference)
        called.append(True)
        return {n: change(x) for n, x in found.items()} if len(called) > 1 else found

    monkeypatch.setattr(trained, "outputs", wrong)
    with pytest.raises(ArithmeticError, match=words):
        self_check.run()


def test_debug_lets_an_error_through(monkeypatch):
    def fail():
        raise ZeroDivisionError

    monkeypatch.setattr(doctor, "_CHECKS", {"self-check": fail})
    with pytest.raises(ZeroDivisionError):
        cli.main(["doctor", "--debug"])


# Folders.


def test_a_folder_of_data_that_is_none(look, monkeypatch, tmp_path):
    monkeypatch.setenv("SCMULTIMODAL_DATA", str(tmp_path / "none"))
    status, told = look("data folder")
    assert status == 2
    assert told["data folder"]["found"].endswith("none is no folder")
    monkeypatch.delenv("SCMULTIMODAL_DATA")
    assert look("data folder")[0] == 0


def test_a_cache_that_cannot_be_made(look, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    status, told = look("writing")
    assert status == 2
    assert "cannot be written to (Not a directory)" in told["cache folder"]["found"]
    assert "XDG_CACHE_HOME" in told["cache folder"]["remedy"]
    assert told["working folder"]["status"] == "good"


def test_a_folder_that_may_not_be_written_to(look, monkeypatch, tmp_path):
    def refuse(dir):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    status, told = look("writing")
    assert status == 2
    assert "Permission denied" in told["working folder"]["found"]


def test_a_disk_that_is_nearly_full(look, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    usage = shutil._ntuple_diskusage(10**12, 10**12 - 10**8, 10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    status, told = look("writing")
    assert status == 0
    assert told["cache folder"]["status"] == "note"
    assert told["cache folder"]["found"].endswith("0.1 GB free")


# What is printed.


def test_remedies_end_the_page(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SCMULTIMODAL_DATA", str(tmp_path / "none"))
    checks = {name: doctor._CHECKS[name] for name in ("data folder", "machine")}
    monkeypatch.setattr(doctor, "_CHECKS", checks)
    assert cli.main(["doctor"]) == 2
    *_, remedy, verdict = capsys.readouterr().out.splitlines()
    assert remedy.startswith("data folder     remedy ")
    assert remedy.endswith(" Set SCMULTIMODAL_DATA to a folder, or unset it")
    assert verdict == "not fit: see the remedies above"


def test_it_names_no_user_and_no_token(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/users/ann"))
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    assert doctor.anonymous("in /users/ann/lib") == "in ~/lib"
    assert doctor.anonymous("/scratch/ann/runs") == "/scratch/USER/runs"
    assert doctor.anonymous("/data/annotation") == "/data/annotation"
    assert doctor.anonymous("https://ann:word@host/x") == "https://host/x"
    assert doctor.anonymous("HF_TOKEN=hf_abcDEF123 ") == "HF_TOKEN=hf_… "


def test_variables_are_shown_that_it_knows_alone(look, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("SCMULTIMODAL_API_KEY", "secret")
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/scratch/x")
    _, told = look("environment")
    assert "XLA_FLAGS=--xla_dump_to=/scratch/x" in told["environment"]["found"]
    assert "secret" not in told["environment"]["found"]
