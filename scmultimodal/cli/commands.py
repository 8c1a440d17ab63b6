"""Which commands there are, and the page that lists them. Imports none of them."""

import dataclasses
import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

GROUPS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "data": {
        "prepare": (
            "prepare",
            "counts and peaks of your files to one prepared dataset",
        ),
        "prepare-ranking": (
            "dna",
            "regions of DNA to be ranked, of peaks and a genome",
        ),
        "prepare-segmentation": ("segmentation", "what every base of a genome is"),
        "inspect": ("inspect", "what a prepared dataset holds"),
    },
    "cell model": {
        "demo": ("cells", "train and judge it on real cells, start to report"),
        "pretrain": ("pretrain", "pre-train it on your own counts"),
        "finetune": ("cells", "teach and judge cell types on your own counts"),
        "embed": ("inference", "a vector for each cell of a file"),
        "annotate": ("inference", "the type of each cell of a file"),
        "impute": ("inference", "one modality of each cell from the other"),
        "perturb": ("explain", "what it makes of genes deleted, raised or closed"),
        "explain": ("explain", "which genes it tells cell types by"),
        "links": ("links", "which open peaks speak for which genes, as BEDPE"),
    },
    "genome model": {
        "convert": ("dna", "a published Nucleotide Transformer to a model of ours"),
        "encode-peaks": ("dna", "the DNA of peaks, for tokens of a cell model"),
        "segment": ("segmentation", "elements of every base, as tracks of a browser"),
        "score": ("inference", "how accessible regions of a genome are"),
        "score-variants": ("segmentation", "what variants change"),
    },
    "runs and models": {
        "report": ("report", "one page that compares runs"),
        "export": (
            "export",
            "a model for people elsewhere, checked",
        ),
        "doctor": ("doctor", "is this machine fit? What a bug report should say"),
    },
}
"""Group -> command -> (module of `scmultimodal.cli`, what it does, in a line)."""

MODULES = {name: of[0] for group in GROUPS.values() for name, of in group.items()}

EXAMPLES = """\
  scmultimodal doctor
  scmultimodal demo --quick --simulated --out runs/try
  scmultimodal finetune --data my.h5mu --label cell_type \\
      --genes genes.gtf.gz --out runs/mine"""


@dataclasses.dataclass(frozen=True)
class Command:
    """A command, loaded.

    Attributes:
        options: the dataclass of its flags; its docstring is its help.
        run: what does it.
    """

    options: type
    run: Callable[[Any], Any]

    @property
    def flags(self) -> tuple[str, ...]:
        """What may begin with two dashes."""
        fields = dataclasses.fields(self.options)
        names = [field.name for field in fields]
        names += [f"no-{field.name}" for field in fields if field.type is bool]
        return tuple(f"--{name.replace('_', '-')}" for name in (*names, "help"))


def load(name: str) -> Command:
    """`score-variants` is `ScoreVariants` and `run_score_variants` of its module."""
    module: ModuleType = importlib.import_module(f"scmultimodal.cli.{MODULES[name]}")
    options = getattr(module, name.title().replace("-", ""))
    return Command(options, getattr(module, f"run_{name.replace('-', '_')}"))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """What someone who typed `word` may have meant."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def page() -> str:
    """The help of the program: a line for each command."""
    lines = ["usage: scmultimodal COMMAND [OPTIONS]", ""]
    lines += ["Foundation models for single-cell RNA and ATAC, and for DNA."]
    for group, of_group in GROUPS.items():
        lines += ["", group]
        lines += [f"  {name:<22}{text}" for name, (_, text) in of_group.items()]
    lines += ["", "options"]
    lines += [f"  {'COMMAND --help':<22}all that a command takes, with examples"]
    lines += [f"  {'--version':<22}the version", "", "examples", EXAMPLES]
    return "\n".join(lines)
