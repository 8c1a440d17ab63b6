"""The README and the pages of the site, as tests read them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
_BLOCK = re.compile(r"^( *)```(?P<kind>[^\n]*)\n(?P<text>.*?)^\1```$", re.DOTALL | re.M)
_OPTIONS = re.compile(r"\A(:[\w-]+:[^\n]*\n)+")
_COMMAND = re.compile(r"(scmultimodal|make|python|pip|gcloud) ")


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        page: where it stands, below the root.
        line: its first.
        kind: "python", "shell", or "" of what is not meant to be run.
        text: what is in it.
    """

    page: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page; one that names no language may be shell."""
    text, where = page.read_text(), page.relative_to(ROOT).as_posix()
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 2
        yield Block(where, line, *_parsed(match["kind"], match["text"]))


def _parsed(said: str, text: str) -> tuple[str, str]:
    if said.startswith("{code-cell}"):
        text = _OPTIONS.sub("", text)
        if text.startswith("%%bash -e\n"):
            return "shell", text.removeprefix("%%bash -e\n")
        return "python", text
    if said == "bash" or (not said and _COMMAND.match(text)):
        return "shell", text
    return ("python" if said == "python" else ""), text


def commands(block: Block) -> list[str]:
    """The commands of a shell block, each in one line."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]
