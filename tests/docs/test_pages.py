"""What README and site show could be pasted: it parses, and names what there is."""

import ast
import importlib
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import tyro

from experiments import train
from experiments.evaluation.command import Evaluation
from scmultimodal import cli
from scmultimodal.cli import commands
from scmultimodal.workflows import exporting
from tests.docs import pages
from tpu import __main__ as launcher

BLOCKS = [block for page in pages.PAGES for block in pages.blocks(page)]
PYTHON = [block for block in BLOCKS if block.kind == "python"]
COMMANDS = {
    f"{block}: {command[:60]}": command
    for block in BLOCKS
    if block.kind == "shell"
    for command in pages.commands(block)
}
MAKEFILE = (pages.ROOT / "Makefile").read_text()
ELSEWHERE = {"gcloud", "source", "ls", "printf"}
"""Programs of others, whose words are not looked into."""
NOT_HERE = {"IPython.display", "evaluate"}
"""They come with what builds the site, and with an exported model."""
LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.M)


MATH = """bmod cdot ell exp frac gamma hat in lceil le left lfloor log mathrm mid odot
partial phi pi qquad rceil rfloor right sim sqrt sum tau tfrac tilde top varepsilon"""
"""TeX that the site's MathML has; `make docs` ends at what it does not, as \\bigg."""


def test_the_pages_were_found():
    assert {"README.md", "docs/quickstart/biologist.md"} <= {b.page for b in BLOCKS}
    assert len(PYTHON) > 10
    assert len(COMMANDS) > 40


def test_math_is_what_the_site_can_draw():
    found = set()
    for page in (pages.ROOT / "docs").rglob("*.md"):
        prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
        for text in re.findall(r"\$\$?([^$]+)\$\$?", prose):
            found |= set(re.findall(r"\\([a-zA-Z]+)", text))
    assert found == set(MATH.split())


# Blocks.


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_parses_and_imports_what_there_is(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module not in NOT_HERE:
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_command_and_its_flags_exist(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(shlex.split(command, comments=True))


@pytest.mark.parametrize(
    "command",
    [
        "scmultimodal finetune --data a --label b --gene c --out d",
        "scmultimodal fine-tune --data a",
        "python -m experiments.train cell_model.pretraining --out a --step 1",
        "python -m experiments.train cell_model.pretrain --out a",
        "python -m experiments.evaluation --section cell_types",
        "python -m experiments.benches",
        "python -m tpu launch --config pod.toml",
        "make tests",
        "python -c 'print('",
        "scmultimodels",
    ],
)
def test_one_that_does_not_is_caught(command, capsys):
    with pytest.raises((AssertionError, SystemExit, SyntaxError)):
        check(shlex.split(command))


def check(words: list[str]) -> None:
    """Raises unless a command line would be taken; runs nothing."""
    while re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if ">" in words:
        words = words[: words.index(">")]
    match [word for word in words if word != "--help"]:
        case ["scmultimodal"]:
            pass
        case ["scmultimodal", name, *rest]:
            assert name in commands.MODULES, name
            cli.parse([name, *rest])
        case ["python" | "python3", "-m", "venv" | "pip", *_]:
            pass
        case ["python", "-m", "experiments.train", name, *rest]:
            assert name in train.STUDIES
            train.parse(importlib.import_module(f"experiments.{name}"), rest)
        case ["python", "-m", "experiments.evaluation", *rest]:
            tyro.cli(Evaluation, args=rest, config=(tyro.conf.EnumChoicesFromValues,))
        case ["python", "-m", "tpu", *rest]:
            assert launcher.main([*rest, "--dry-run"]) == 0
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module), module
        case ["python", script] if Path(script).name == exporting.LOADER:
            pass
        case ["python", "-c", code]:
            ast.parse(code)
        case ["make", target, *_]:
            assert re.search(rf"^{target}:.*##", MAKEFILE, re.M), target
        case [program, *_]:
            assert program in ELSEWHERE, program


# Links.


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in LINK.findall(_prose(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), link
        assert not anchor or anchor in _anchors(target), link


def _prose(page: Path) -> str:
    """A page without its blocks, and without code."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.S | re.M)
    return re.sub(r"`[^`\n]*`", "", text)


def _anchors(page: Path) -> set[str]:
    headings = HEADING.findall(_prose(page))
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


# Messages.

TROUBLES = re.findall(
    r"^`([^`\n]+)`\n: ",
    (pages.DOCS / "howto" / "troubleshooting.md").read_text(),
    re.M,
)


@pytest.fixture(scope="module")
def messages() -> str:
    """What the code can say, one a line; "…" stands for what it fills in."""
    files = sorted((pages.ROOT / "scmultimodal").rglob("*.py"))
    found = (text for path in files for text in _texts(ast.parse(path.read_text())))
    return "\n".join(found)


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [
                v.value if isinstance(v, ast.Constant) else "…" for v in node.values
            ]
            yield "".join(map(str, parts))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            yield "".join(
                str(side.value) if isinstance(side, ast.Constant) else "…"
                for side in (node.left, node.right)
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_message_of_the_troubleshooting_is_one_of_the_code(trouble, messages):
    assert trouble in messages


def test_a_message_that_nobody_says_is_caught(messages):
    assert len(TROUBLES) > 15
    assert "is not a number of cells" not in messages
