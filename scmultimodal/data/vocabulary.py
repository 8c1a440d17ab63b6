"""The genes a model knows: names, places and the medians of their features."""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64, Shaped

from scmultimodal.data import atomic
from scmultimodal.schemas.errors import InputError

FILE_NAME = "vocabulary.json"
SCHEMA_VERSION = 1
GENE_COLUMNS = ("gene_id", "symbol", "chrom", "start", "end", "strand")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GeneVocabulary:
    """Genes in the order of the model's features, with what normalises them.

    Attributes:
        gene_ids: Ensembl gene IDs without version (the symbol where there is none).
        symbols: gene symbols.
        chroms: chromosomes; empty where a gene has no known place.
        starts: 0-based start in bp, −1 where unknown.
        ends: half-open end in bp, −1 where unknown.
        strands: "+", "-" or ".".
        rna_medians: non-zero median of each RNA feature over training cells.
        atac_medians: the same for gene-level ATAC.
        atac_unit: stored ATAC counts times this are gene-level values (SPEC 2.2.4).
        recipe: how counts become bins; anything that JSON holds.
    """

    gene_ids: Shaped[np.ndarray, " genes"]
    symbols: Shaped[np.ndarray, " genes"]
    chroms: Shaped[np.ndarray, " genes"]
    starts: Int64[np.ndarray, " genes"]
    ends: Int64[np.ndarray, " genes"]
    strands: Shaped[np.ndarray, " genes"]
    rna_medians: Float32[np.ndarray, " genes"]
    atac_medians: Float32[np.ndarray, " genes"]
    atac_unit: float = 1 / 6
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        _check(self)

    @property
    def num_genes(self) -> int:
        """Number of features of each modality."""
        return len(self.gene_ids)

    @classmethod
    def from_frame(
        cls,
        genes: pd.DataFrame,
        *,
        rna_medians: Shaped[np.ndarray, " genes"] | None = None,
        atac_medians: Shaped[np.ndarray, " genes"] | None = None,
        atac_unit: float = 1 / 6,
        recipe: dict[str, Any] | None = None,
    ) -> "GeneVocabulary":
        """Builds a vocabulary from a gene table as `genome.read_genes` returns it.

        Args:
            genes: columns `GENE_COLUMNS`; `gene_id` may be the index instead.
            rna_medians: 1 everywhere if not given.
            atac_medians: 1 everywhere if not given.
            atac_unit: value of one stored ATAC count.
            recipe: how counts become bins.
        """
        if "gene_id" not in genes:
            genes = genes.rename_axis(index="gene_id").reset_index()
        if missing := [name for name in GENE_COLUMNS if name not in genes]:
            raise InputError(
                "gene table",
                f"has no column {', '.join(missing)}",
                f"Give the columns {', '.join(GENE_COLUMNS)}",
            )
        ones = np.ones(len(genes), np.float32)
        return cls(
            gene_ids=_strings(genes["gene_id"]),
            symbols=_strings(genes["symbol"]),
            chroms=_strings(genes["chrom"]),
            starts=genes["start"].to_numpy(np.int64),
            ends=genes["end"].to_numpy(np.int64),
            strands=_strings(genes["strand"]),
            rna_medians=ones if rna_medians is None else np.float32(rna_medians),
            atac_medians=ones if atac_medians is None else np.float32(atac_medians),
            atac_unit=float(atac_unit),
            recipe=dict(recipe or {}),
        )

    def to_frame(self) -> pd.DataFrame:
        """Returns the gene table: columns `GENE_COLUMNS`, one row per gene."""
        arrays = (
            self.gene_ids,
            self.symbols,
            self.chroms,
            self.starts,
            self.ends,
            self.strands,
        )
        frame = pd.DataFrame(dict(zip(GENE_COLUMNS, arrays, strict=True)))
        return frame.astype({n: object for n in GENE_COLUMNS if n not in _COORDINATES})

    def digest(self) -> str:
        """Returns the sha256 of the content, the same on every machine."""
        text = json.dumps(self._to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, folder: str | os.PathLike) -> Path:
        """Writes `vocabulary.json` into a folder and returns its path."""
        path = Path(folder) / FILE_NAME
        content = {"schema_version": SCHEMA_VERSION, **self._to_json()}
        atomic.write_text(path, json.dumps(content, indent=1) + "\n")
        return path

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "GeneVocabulary":
        """Reads `vocabulary.json` from a folder.

        Raises:
            InputError: the file is missing, damaged or breaks a rule.
        """
        path = Path(folder) / FILE_NAME
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("schema_version") != SCHEMA_VERSION:
                raise ValueError("it has another schema version")
            return cls(**_from_json(content))
        except FileNotFoundError:
            raise InputError(path, "does not exist", _REMEDY) from None
        except InputError as error:
            raise InputError(path, error.problem, _REMEDY) from None
        except (
            AttributeError,
            KeyError,
            OverflowError,
            TypeError,
            ValueError,
        ) as error:
            problem = f"is not a gene vocabulary ({error})"
            raise InputError(path, problem, _REMEDY) from None

    def _to_json(self) -> dict[str, Any]:
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in (
                (f.name, getattr(self, f.name)) for f in dataclasses.fields(self)
            )
        }


_ARRAYS = {
    "gene_ids": np.str_,
    "symbols": np.str_,
    "chroms": np.str_,
    "starts": np.int64,
    "ends": np.int64,
    "strands": np.str_,
    "rna_medians": np.float32,
    "atac_medians": np.float32,
}
_COORDINATES = ("start", "end")
_REMEDY = "Copy the folder again, or prepare the data anew"


def _strings(values: pd.Series) -> Shaped[np.ndarray, " genes"]:
    return values.fillna("").astype(str).to_numpy(np.str_)


def _from_json(content: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields; raises what `load` reports where they are not as saved."""
    expected = {field.name for field in dataclasses.fields(GeneVocabulary)}
    if differing := expected ^ set(content):
        raise ValueError(f"it lacks or adds {min(differing)}")
    arrays = {name: np.asarray(content[name], kind) for name, kind in _ARRAYS.items()}
    for name, array in arrays.items():
        if array.shape != (len(content["gene_ids"]),):
            raise ValueError(f"{name} has another length than gene_ids")
    unit, recipe = float(content["atac_unit"]), dict(content["recipe"])
    return {**arrays, "atac_unit": unit, "recipe": recipe}


def _check(vocabulary: GeneVocabulary) -> None:
    """Raises InputError where the fields do not make a vocabulary."""
    gene_ids = vocabulary.gene_ids
    for name in _ARRAYS:
        shape = np.shape(getattr(vocabulary, name))
        if shape != (len(gene_ids),):
            raise _broken(f"{name} has shape {shape} for {len(gene_ids)} IDs")
    if not len(gene_ids):
        raise _broken("has no gene")
    ids, counts = np.unique(gene_ids, return_counts=True)
    if (counts > 1).any():
        raise _broken(f"gene {ids[counts > 1][0]} stands in it twice")
    for name in ("rna_medians", "atac_medians"):
        medians = getattr(vocabulary, name)
        bad = ~(np.isfinite(medians) & (medians > 0))
        if bad.any():
            raise _broken(f"{name} has {medians[bad][0]} at gene {gene_ids[bad][0]}")
    if not 0 < vocabulary.atac_unit < np.inf:
        raise _broken(f"atac_unit is {vocabulary.atac_unit}")


def _broken(problem: str) -> InputError:
    remedy = "Gene IDs are unique; medians and the unit are positive and finite"
    return InputError("gene vocabulary", problem, remedy)
