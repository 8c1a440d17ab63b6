"""What the site has beyond Sphinx: equations, tables and help that are never copied.

Equations become MathML, which browsers draw by themselves, without script or font from
elsewhere. `{results}` is a table of the evaluation, made of its JSON; `{help}` is what
a command says of itself.
"""

import contextlib
import functools
import importlib
import io
import os
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest import mock

from docutils import nodes
from docutils.utils.math import latex2mathml
from jupyter_cache.executors import utils
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from experiments import train
from experiments.evaluation import command as evaluation
from experiments.evaluation import results, texts
from scmultimodal.cli import commands as cli_commands

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "experiments" / "results"
_PROGRAMS = {
    "scmultimodal": "scmultimodal.cli",
    "python -m experiments.train": "experiments.train",
    "python -m tpu": "tpu.__main__",
}


class Results(SphinxDirective):
    """`{results} SECTION`: its table, and what the README says of it."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The table, or a sentence where nothing was measured."""
        name = self.arguments[0]
        path = RESULTS / f"{name}.json"
        for read in (path, README):
            self.env.note_dependency(str(read))
        return self.parse_text_to_nodes(f"{table_of(name, path)}\n\n{said_of(name)}")


def table_of(name: str, path: Path) -> str:
    """The table that a JSON of the evaluation makes."""
    if not path.exists():
        command = f"python -m experiments.evaluation --sections {name}"
        return f"*Not measured yet: `{command}`.*"
    return texts.markdown(evaluation.SECTIONS[name], results.read(path))


def said_of(name: str) -> str:
    """The paragraph that follows a table of the README."""
    after = README.read_text().partition(f"<!-- end of {name} -->\n\n")[2]
    paragraph = after.partition("\n\n")[0]
    return paragraph if paragraph.startswith("What it says:") else ""


def fill_in(app: Sphinx, page: str, source: list[str]) -> None:
    """Writes what a page asks for by a comment, such as `% every command`."""
    for comment, text in _ASKED.items():
        if f"% {comment}" in source[0]:
            source[0] = source[0].replace(f"% {comment}", text())


def commands() -> str:
    """A section for each `scmultimodal COMMAND`."""
    return _sections(f"scmultimodal {name}" for name in cli_commands.MODULES)


def studies() -> str:
    """A section for each `python -m experiments.train STUDY`."""
    return _sections(f"python -m experiments.train {name}" for name in train.STUDIES)


def runbook() -> str:
    """`tpu/README.md`; what it links to in its folder is named alone."""
    text = (ROOT / "tpu" / "README.md").read_text()
    return re.sub(r"\[([^\]\n]+)\]\((?!https?:)[^)\s]+\)", r"\1", text)


def _sections(programs: Iterable[str]) -> str:
    return "\n".join(f"## {p.split()[-1]}\n\n```{{help}} {p}\n```\n" for p in programs)


_ASKED = {"every command": commands, "every study": studies, "the runbook": runbook}


def mark_examples(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Code in a docstring, which stands indented by itself, is shown as code."""
    for number in range(len(lines) - 2, 0, -1):
        before, blank, line = lines[number - 1 : number + 2]
        if before[:1].strip() and not blank and line.startswith("    "):
            lines[number:number] = ["", "::"]


class Help(SphinxDirective):
    """`{help} COMMAND`: what `COMMAND --help` prints."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """A block of text as a terminal of 88 columns shows it."""
        text = help_of(self.arguments[0])
        return [nodes.literal_block(text, text, language="text")]


def help_of(command: str) -> str:
    """What `COMMAND --help` prints."""
    program = next(p for p in _PROGRAMS if command.startswith(p))
    words = command.removeprefix(program).split()
    main = importlib.import_module(_PROGRAMS[program]).main
    shown = io.StringIO()
    plain = {"COLUMNS": "88", "NO_COLOR": "1", "TERM": "dumb"}
    with (
        mock.patch.dict(os.environ, plain),
        contextlib.redirect_stdout(shown),
        contextlib.suppress(SystemExit),
    ):
        main([*words, "--help"])
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.getvalue()).strip("\n")
    lines = (
        line if line.startswith(" ") else textwrap.fill(line, 88)
        for line in text.splitlines()
    )
    return "\n".join(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the directives and the equations."""
    app.add_directive("results", Results)
    app.add_directive("help", Help)
    app.connect("source-read", fill_in)
    app.connect("autodoc-process-docstring", mark_examples, priority=400)
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    # IPython hands on what bash says in pieces, and myst-nb shows a line for each.
    utils.executenb = functools.partial(utils.executenb, coalesce_streams=True)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(latex2mathml.tex2mathml(node.astext()))
    raise nodes.SkipNode


def _block(writer: HTML5Translator, node: nodes.math_block) -> None:
    equation = latex2mathml.tex2mathml(node.astext(), as_block=True)
    writer.body.append(f'<div class="math">{equation}</div>\n')
    raise nodes.SkipNode
