"""Whether this machine is fit to run the package: one finding after the other.

Nothing that may be missing is imported before it is looked for.
"""

import dataclasses
import getpass
import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import scmultimodal
from scmultimodal.schemas.errors import first_line

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PACKAGE = "scmultimodal"
VARIABLES = ("JAX_PLATFORMS", "XLA_FLAGS", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
"""Environment variables that are shown; those of the package are too."""
IMPORTED = {"gcs": "gcsfs", "hub": "huggingface_hub"}
"""Extras that no command asks for before it is at work: what they import."""
FREE_DISK = 2**30
_ABSENT = "is not installed"
_SECRET = re.compile("TOKEN|KEY|SECRET|PASSWORD|CREDENTIAL")

Status = Literal["good", "note", "bad"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """What one look showed.

    Attributes:
        name: of what was looked at.
        found: in words.
        status: "bad" where the package cannot work; "note" where a part of it cannot.
        remedy: what to do about it.
    """

    name: str
    found: str
    status: Status = "good"
    remedy: str = ""


def examine(*, debug: bool = False) -> Iterator[Finding]:
    """Looks at everything, at what the rest needs first. Names no user and no token.

    With `debug` an error comes through.
    """
    for name, check in _CHECKS.items():
        try:
            findings = list(check())
        except Exception as error:  # Whatever it is, the others are looked at too.
            if debug:
                raise
            text = f"{type(error).__name__}: {first_line(error)}"
            remedy = _REMEDIES[name]
            findings = [Finding(name=name, found=text, status="bad", remedy=remedy)]
        for finding in findings:
            yield dataclasses.replace(
                finding,
                found=anonymous(finding.found),
                remedy=anonymous(finding.remedy),
            )


def is_fit(findings: list[Finding]) -> bool:
    """Whether nothing is missing that is needed."""
    return all(finding.status != "bad" for finding in findings)


def anonymous(text: str) -> str:
    """Without the user's name, home and credentials of addresses."""
    text = re.sub(r"://[^/\s@]+@", "://", text)
    text = re.sub(r"\b(hf_|gh[pousr]_|ya29\.)[\w.-]+", r"\1…", text)
    text = text.replace(str(Path.home()), "~") if Path.home() != Path("/") else text
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # A number without a name.
        return text
    return re.sub(rf"(?<=[/\\]){re.escape(user)}(?=[/\\]|\b)", "USER", text)


def _installation() -> Iterator[Finding]:
    folder = Path(scmultimodal.__file__).parent
    version = importlib.metadata.version(PACKAGE)
    if version == scmultimodal.__version__:
        yield Finding(name="installation", found=f"{version} in {folder}")
        return
    yield Finding(
        name="installation",
        found=f"{scmultimodal.__version__} in {folder}, installed as {version}",
        status="note",
        remedy="Install it again: pip install -e .",
    )


def _python() -> Iterator[Finding]:
    from packaging.specifiers import SpecifierSet

    allowed = SpecifierSet(importlib.metadata.metadata(PACKAGE)["Requires-Python"])
    version = platform.python_version()
    fits = allowed.contains(version, prereleases=True)
    yield Finding(
        name="python",
        found=f"{version}, {platform.system()} {platform.release()} "
        f"{platform.machine()}",
        status="good" if fits else "bad",
        remedy="" if fits else f"Take Python {allowed}",
    )


def _packages() -> Iterator[Finding]:
    """Those that every installation has, against what the package allows."""
    from packaging.utils import canonicalize_name

    lacking, versions = {}, []
    for needed in _requirements():
        lacking |= dict(_lacking(needed))
        if canonicalize_name(needed.name) not in map(canonicalize_name, lacking):
            versions.append(f"{needed.name} {importlib.metadata.version(needed.name)}")
    yield Finding(name="packages", found=", ".join(sorted(versions, key=str.lower)))
    for name, (problem, wanted) in lacking.items():
        yield Finding(
            name=f"package {name}",
            found=problem,
            status="bad",
            remedy=f"pip install '{wanted}'",
        )


def _extras() -> Iterator[Finding]:
    """Which are there; one of a wrong version, or that does not import, is noted.

    One that is there in part is not: others bring matplotlib too.
    """
    here, absent = [], []
    for extra in importlib.metadata.metadata(PACKAGE).get_all("Provides-Extra") or ():
        lacking = [one for needed in _requirements(extra) for one in _lacking(needed)]
        problems = [f"{name} {problem}" for name, (problem, _) in lacking]
        if any(problem == _ABSENT for _, (problem, _) in lacking):
            absent.append(extra)
        elif problem := ", ".join(problems) or _import_problem(extra):
            yield _broken(extra, problem)
        else:
            here.append(extra)
    found = f"{', '.join(here) or 'none'}; not installed: {', '.join(absent) or 'none'}"
    yield Finding(name="extras", found=found)


def _broken(extra: str, problem: str) -> Finding:
    return Finding(
        name=f"extra {extra}",
        found=problem,
        status="note",
        remedy=f"pip install '{PACKAGE}[{extra}]'",
    )


def _import_problem(extra: str) -> str:
    if extra not in IMPORTED:
        return ""
    try:
        importlib.import_module(IMPORTED[extra])
    except Exception as error:
        return f"{type(error).__name__}: {first_line(error)}"
    return ""


def _flags() -> Iterator[Finding]:
    """Whether XLA knows its flags: at one that it does not it ends the process."""
    if not (flags := os.environ.get("XLA_FLAGS")):
        return
    words = [sys.executable, "-c", "import jax; jax.devices()"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    unknown = [line for line in done.stderr.splitlines() if "Unknown flag" in line]
    if not unknown:
        return
    del os.environ["XLA_FLAGS"]
    yield Finding(
        name="flags",
        found=f"XLA_FLAGS={flags} ends jax ({unknown[0].rpartition('] ')[2]}); the "
        "rest is looked at without",
        status="bad",
        remedy="Unset XLA_FLAGS, or take out what this jax does not know",
    )


def _devices() -> Iterator[Finding]:
    """What jax computes on, and whether it computes right."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    devices = jax.devices()
    kinds = sorted({device.device_kind for device in devices})
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, 512, 512)).astype(np.float32)
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision="highest"))
    result = np.asarray(product(left, right))
    if not np.allclose(result, left @ right, atol=1e-2):
        raise ArithmeticError("a product of 512 x 512 numbers is wrong")
    start = time.perf_counter()
    product(left, right).block_until_ready()
    milliseconds = 1_000 * (time.perf_counter() - start)
    yield Finding(
        name="devices",
        found=f"{len(devices)} x {', '.join(kinds)} ({jax.default_backend()}); "
        f"a product of 512 x 512 numbers in {milliseconds:.1f} ms",
    )


def _pmap() -> Iterator[Finding]:
    """Whether the devices of this host add up."""
    import jax
    import numpy as np

    number = jax.local_device_count()
    summed = jax.pmap(lambda x: jax.lax.psum(x, "devices"), axis_name="devices")
    found = np.asarray(summed(np.arange(1.0, number + 1, dtype=np.float32)))
    if not (found == number * (number + 1) / 2).all():
        raise ArithmeticError(f"a sum over {number} devices is {found.tolist()}")
    yield Finding(name="pmap", found=f"a sum over {number} devices is right")


def _self_check() -> Iterator[Finding]:
    """A small model is made of simulated cells, kept, loaded and asked."""
    from scmultimodal.workflows import self_check

    start = time.perf_counter()
    cells = self_check.run()
    seconds = time.perf_counter() - start
    found = (
        f"a model of {cells} simulated cells is the same when loaded; {seconds:.0f} s"
    )
    yield Finding(name="self-check", found=found)


def _data() -> Iterator[Finding]:
    """The folder of public data that the environment may name."""
    folder = os.environ.get("SCMULTIMODAL_DATA")
    if not folder:
        yield Finding(
            name="data folder",
            found="SCMULTIMODAL_DATA is not set: data are downloaded",
        )
        return
    there = Path(folder).is_dir()
    yield Finding(
        name="data folder",
        found=folder if there else f"{folder} is no folder",
        status="good" if there else "bad",
        remedy="" if there else "Set SCMULTIMODAL_DATA to a folder, or unset it",
    )


def _writing() -> Iterator[Finding]:
    """Where downloads and compiled programs go, and where runs do by default."""
    import pooch

    places = {"cache folder": pooch.os_cache(PACKAGE), "working folder": Path.cwd()}
    remedies = {
        "cache folder": "Let it be written to, or set XDG_CACHE_HOME to another folder",
        "working folder": "Work in a folder that you may write to, or give --out one",
    }
    for name, folder in places.items():
        yield _writable(name, Path(folder), remedies[name])


def _writable(name: str, folder: Path, remedy: str) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"scmultimodal")
    except OSError as error:
        found = f"{folder} cannot be written to ({error.strerror})"
        return Finding(name=name, found=found, status="bad", remedy=remedy)
    free = shutil.disk_usage(folder).free
    found = f"{folder}, {_gigabytes(free)} free"
    if free < FREE_DISK:
        return Finding(name=name, found=found, status="note", remedy="Free some disk")
    return Finding(name=name, found=found)


def _machine() -> Iterator[Finding]:
    from scmultimodal.singlecell import cores

    pages = {"SC_PHYS_PAGES": "of memory", "SC_AVPHYS_PAGES": "free"}
    words = [
        f"{_gigabytes(os.sysconf(name) * os.sysconf('SC_PAGE_SIZE'))} {what}"
        for name, what in pages.items()
        if name in os.sysconf_names  # Linux alone tells what is free.
    ]
    yield Finding(
        name="machine",
        found=f"{os.cpu_count()} cores, {cores.num_cores()} threads; "
        + ", ".join(words),
    )


def _environment() -> Iterator[Finding]:
    shown = {
        name: value
        for name, value in sorted(os.environ.items())
        if name in VARIABLES or name.startswith("SCMULTIMODAL_")
    }
    words = " ".join(
        f"{name}={'…' if _SECRET.search(name) else value}"
        for name, value in shown.items()
    )
    yield Finding(name="environment", found=words or "nothing is set")


def _requirements(extra: str = "") -> Iterator["Requirement"]:
    """What the package needs; with an extra, what that adds."""
    from packaging.requirements import Requirement

    for line in importlib.metadata.requires(PACKAGE) or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None:
            wanted = not extra
        elif extra:
            wanted = marker.evaluate({"extra": extra}) and not marker.evaluate()
        else:
            wanted = marker.evaluate()
        if wanted:
            yield requirement


def _lacking(wanted: "Requirement") -> Iterator[tuple[str, tuple[str, str]]]:
    """What of a requirement is not there: name -> (what is wrong, what to install).

    jax[cuda12] needs jax, and what the extra of jax adds.
    """
    from packaging.requirements import Requirement

    asked = f"{wanted.name}{_extras_of(wanted)}{wanted.specifier}"
    try:
        version = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        yield wanted.name, (_ABSENT, asked)
        return
    if not wanted.specifier.contains(version, prereleases=True):
        yield wanted.name, (f"is {version}, and has to be {wanted.specifier}", asked)
    for line in importlib.metadata.requires(wanted.name) or ():
        requirement = Requirement(line)
        for extra in wanted.extras:
            marker = requirement.marker
            if marker and not marker.evaluate() and marker.evaluate({"extra": extra}):
                for name, (problem, _) in _lacking(requirement):
                    yield name, (problem, asked)


def _extras_of(wanted: "Requirement") -> str:
    return f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:,.1f} GB"


_CHECKS: Mapping[str, Callable[[], Iterator[Finding]]] = {
    "installation": _installation,
    "python": _python,
    "packages": _packages,
    "extras": _extras,
    "machine": _machine,
    "environment": _environment,
    "flags": _flags,
    "devices": _devices,
    "pmap": _pmap,
    "self-check": _self_check,
    "data folder": _data,
    "writing": _writing,
}
_AGAIN = "Install it again: pip install scmultimodal"
_COMPUTE = (
    "Update the driver and the extra gpu or tpu, or set JAX_PLATFORMS=cpu to compute "
    "on the processor"
)
_REMEDIES: Mapping[str, Any] = {
    **dict.fromkeys(_CHECKS, "Paste all of this into a bug report"),
    **dict.fromkeys(
        ("installation", "python", "packages", "extras", "writing"), _AGAIN
    ),
    **dict.fromkeys(("devices", "pmap"), _COMPUTE),
}
"""Of a check that raised."""
