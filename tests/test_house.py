"""The rules of the house: floors, what ships, what no file may hold."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import importlinter.api
import jax.numpy as jnp
import jaxtyping
import pytest
from importlinter.contracts.layers import LayersContract
from packaging.requirements import Requirement

import scmultimodal
from scmultimodal.ops import favor

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "scmultimodal"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CODE = [
    path
    for folder in ("scmultimodal", "experiments", "tpu")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
MACHINE_WORDS = re.compile(
    r"(?<![\w.$}-])/(work|root|farm|home|tmp)/"  # somebody's machine
    r"|index[-_]url|find[-_]links|(pypi|pythonhosted|npmjs)\.org|download\.pytorch",
    re.IGNORECASE,
)
OWNERS = {
    "sklearn": "scmultimodal/evaluation/",
    "umap": "scmultimodal/evaluation/",
    "matplotlib": "scmultimodal/evaluation/",
    "orbax": "scmultimodal/training/checkpoints.py",
    "rax": "scmultimodal/ops/ranking.py",
    "distributed": "scmultimodal/workflows/runners.py",
}
"""Packages that one room or file alone may import, at whatever depth."""
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


@pytest.fixture
def in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """import-linter reads pyproject.toml of the working folder."""
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT)


@pytest.fixture
def layers() -> LayersContract:
    configuration = importlinter.api.read_configuration(str(ROOT / "pyproject.toml"))
    (options,) = (
        contract
        for contract in configuration["contracts_options"]
        if contract["type"] == "layers"
    )
    return LayersContract(
        options["name"], configuration["session_options"], contract_options=options
    )


# Floors.


def test_no_import_crosses_a_floor():
    # In a process of its own: it sets up logging on the stdout it finds.
    lint = Path(sys.executable).with_name("lint-imports")
    _run(str(lint), "--no-cache", "--no-logo", cwd=ROOT)


@pytest.mark.usefixtures("in_root")
@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("scmultimodal.ops.favor", "scmultimodal.modules.performer"),
        ("scmultimodal.modules.performer", "scmultimodal.data.store"),
        ("scmultimodal.training.loop", "experiments"),
    ],
)
def test_an_import_that_points_up_is_caught(
    layers: LayersContract, importer: str, imported: str
):
    # A check takes the ignored imports out of its graph: one graph for each.
    assert layers.check(_graph(layers), verbose=False).kept
    graph = _graph(layers)
    graph.add_import(importer=importer, imported=imported)
    assert not layers.check(graph, verbose=False).kept


def test_every_room_stands_on_a_floor(layers: LayersContract):
    rooms = {
        f"scmultimodal.{path.stem}"
        for path in PACKAGE.iterdir()
        if (path / "__init__.py").exists()
        or (path.suffix == ".py" and path.stem != "__init__")
    }
    placed = {tail.name for layer in layers.layers for tail in layer.module_tails}
    assert rooms <= placed, "put them into [tool.importlinter]"


# Code.


def test_package_modules_have_docstrings():
    assert [_name(path) for path in CODE if not ast.get_docstring(_tree(path))] == []


def test_imports_are_absolute_and_annotations_live():
    # Postponed annotations would switch jaxtyping off without a word.
    for path in CODE:
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{_name(path)}:{node.lineno}: relative"
                assert node.module != "__future__", f"{_name(path)}:{node.lineno}"


def test_nothing_unpickles():
    for path in CODE:
        assert not _imported(path) & UNSAFE, _name(path)
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert ast.unparse(node.value) == "False", (
                    f"{_name(path)}:{node.value.lineno}"
                )


@pytest.mark.parametrize("package", OWNERS)
def test_packages_stay_with_their_owner(package: str):
    importers = [_name(path) for path in CODE if package in _imported(path)]
    strangers = [name for name in importers if not name.startswith(OWNERS[package])]
    assert strangers == []


@pytest.mark.parametrize(
    "work",
    [
        "import scmultimodal",
        "import scmultimodal.schemas",
        "from scmultimodal import cli; cli.main(['--help'])",
        "from scmultimodal import cli; cli.main(['finetun'])",
    ],
)
def test_import_is_light(work: str):
    heavy = ["jax", "haiku", "sklearn", "matplotlib", "umap", "numba", "anndata"]
    heavy += ["distributed", "orbax", "rax", "mudata", "pandas", "numpy", "tyro"]
    code = f"import sys; {work}; print([m for m in {heavy} if m in sys.modules])"
    assert _run(sys.executable, "-c", code, cwd=ROOT).splitlines()[-1] == "[]"


def test_models_bring_no_pictures_baselines_or_training():
    """Importing them takes within 1.5 s of jax's own import, most of it anndata's."""
    heavy = ["matplotlib", "sklearn", "umap", "bioframe", "orbax", "optax", "tyro"]
    heavy += ["distributed", "pooch", "requests", "scib_metrics", "torch", "IPython"]
    work = "from scmultimodal import CellModel, GenomeModel"
    code = f"import sys; {work}; print([m for m in {heavy} if m in sys.modules])"
    assert _run(sys.executable, "-c", code, cwd=ROOT).splitlines()[-1] == "[]"


def test_shapes_are_checked_in_tests():
    # numpy rules would broadcast a scale of one number; the checker of pyproject's
    # --jaxtyping-packages must not let it pass.
    with pytest.raises(jaxtyping.TypeCheckError):
        favor.layer_norm(jnp.ones((2, 3)), jnp.ones(1), jnp.ones(3))


# Files.


def test_no_file_names_a_machine_or_registry():
    found = []
    for path in _tracked_files():
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            if MACHINE_WORDS.search(line):
                found.append(f"{_name(path)}:{number}: {line.strip()[:80]}")
    assert found == []


def test_every_requirement_is_pinned():
    lines = [
        line
        for name in ("constraints.txt", "constraints-docs.txt")
        for line in (ROOT / ".ci" / name).read_text().splitlines()
    ]
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    versions = {_canonical(pin.name): str(pin.specifier)[2:] for pin in pins}
    project = PYPROJECT["project"]
    wanted = [
        *project["dependencies"],
        *project["optional-dependencies"]["eval"],
        *project["optional-dependencies"]["log"],
        *project["optional-dependencies"]["scale"],
        *PYPROJECT["dependency-groups"]["dev"],
        *PYPROJECT["dependency-groups"]["docs"],
        *PYPROJECT["build-system"]["requires"],
    ]
    for requirement in map(Requirement, wanted):
        version = versions.get(_canonical(requirement.name))
        assert version, f"no pin for {requirement}: add it to .ci/constraints.txt"
        assert requirement.specifier.contains(version), f"{requirement}, pin {version}"


def test_versions_agree():
    version = PYPROJECT["project"]["version"]
    assert scmultimodal.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_ci_entry_runs_by_itself():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def _graph(contract: LayersContract) -> grimp.ImportGraph:
    options = contract.session_options
    return grimp.build_graph(
        *options["root_packages"],
        cache_dir=None,
        exclude_type_checking_imports=options.get(
            "exclude_type_checking_imports", False
        ),
    )


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def _imported(path: Path) -> set[str]:
    """Top-level packages that a file imports anywhere, inside functions too."""
    names = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return {name.split(".")[0] for name in names}


def _tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: no list of files")
    listing = _run("git", "ls-files", "-z", "-co", "--exclude-standard", cwd=ROOT)
    paths = [ROOT / name for name in listing.split("\0") if name]
    return [path for path in paths if path.is_file()]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _run(*command: str, cwd: Path) -> str:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
