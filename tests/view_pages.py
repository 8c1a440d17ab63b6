"""Pages to explore: small ones to write, and what stands in one, read back."""

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from scmultimodal.evaluation.view.content import (
    Category,
    CellMap,
    Gene,
    Layout,
    Locus,
    Number,
    Track,
)


class Written:
    """A page: its text, its facts, and its arrays by reference."""

    def __init__(self, path: Path):
        self.text = path.read_text("utf-8")
        found = re.search(r'id="facts">(.*?)</script>', self.text)
        assert found is not None
        self.facts: dict[str, Any] = json.loads(found[1])

    def array(self, reference: dict[str, Any]) -> Any:
        """An array, or words, as a browser unpacks them."""
        pattern = rf'id="array-{reference["array"]}">([\w+/=]*)</script>'
        found = re.search(pattern, self.text)
        assert found is not None
        content = zlib.decompress(base64.b64decode(found[1]))
        if reference["dtype"] == "words":
            return json.loads(content)
        return np.frombuffer(content, np.dtype(reference["dtype"]).newbyteorder("<"))

    def field(self, name: str) -> dict[str, Any]:
        """What cells can be coloured by."""
        return next(f for f in self.facts["cells"]["fields"] if f["name"] == name)


def cells(count: int = 400, *, classes: tuple[str, ...] = ("Ast", "Mic"), **more: Any):
    """Cells on the line y = 0 at x = 0, 1, 2, …; classes take turns.

    The last is of no class. A gene is 0, 1, 2, … by RNA, and the reverse by ATAC.
    """
    codes = np.arange(count) % max(1, len(classes))
    codes[-1:] = -1
    places = np.zeros((count, 2), np.float32)
    places[:, 0] = np.arange(count)
    level = np.arange(count, dtype=np.float32)
    fields = {
        "cell_ids": [f"cell-{number}" for number in range(count)],
        "layouts": [Layout(name="vectors", how="PCA", places=places)],
        "fields": [
            Category(name="type", classes=classes, codes=codes, named=True),
            Number(name="confidence", values=level / max(1, count), ends=(0.0, 1.0)),
        ],
        "genes": [
            Gene(
                symbol="Slc1a2",
                gene_id="ENSMUSG00000005089",
                speaks_for=classes[0] if classes else "",
                levels={"rna": level, "atac": level[::-1]},
            )
        ],
    }
    return CellMap(**(fields | more))


def locus(length: int = 2_000) -> Locus:
    """A track that is 1 in its first half, and a gene in the second."""
    values = np.repeat(np.float32([1, 0]), length // 2)
    truth = np.repeat(np.uint8([1, 2]), length // 2)
    gene = {
        "symbol": "Gad1",
        "strand": "-",
        "start": 10_000 + length // 2,
        "end": 10_000 + length,
        "boxes": {"exon": [[10_000 + length // 2, 10_000 + length]], "CDS": []},
    }
    return Locus(
        chrom="chr2",
        start=10_000,
        end=10_000 + length,
        tracks=[
            Track(name="exon", values=values, truth=truth),
            Track(name="intron", values=1 - values),
        ],
        genes=[gene],
        note="Two tracks.",
    )


def confusion(classes: tuple[str, ...] = ("Ast", "Mic")) -> dict[str, Any]:
    """Two models: one that is right of 3 of 4 cells of each class, and a baseline."""
    counts = [[3, 1], [1, 3]]
    models = [
        {"name": "scmultimodal", "is_baseline": False, "counts": counts},
        {"name": "logistic_regression", "is_baseline": True, "counts": counts[::-1]},
    ]
    return {"name": "rna", "classes": list(classes), "models": models}


def curves() -> dict[str, Any]:
    """A training with a validation of 0.5 at step 10, and 0.25 at step 20."""
    series = {"metric": "loss", "split": "validation", "steps": [10, 20]}
    metric = {"name": "loss", "title": "loss", "lower_is_better": True}
    training = {"name": "fine-tuning", "series": [{**series, "values": [0.5, 0.25]}]}
    return {"name": "Fine-tuning", "metrics": [metric], "trainings": [training]}
