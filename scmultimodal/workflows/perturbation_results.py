"""What perturbed genes came to: tables in memory, and files."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float32, Int64, Shaped

from scmultimodal.data import atomic
from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.schemas.errors import InputError, first_line
from scmultimodal.schemas.modality import Modality
from scmultimodal.workflows.cell_inference import VALUES

REPORT = "perturbation.json"
TOP = 5
"""Genes that a row of the table names."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Perturbations:
    """What became of cells, for each perturbed gene or set of genes.

    Attributes:
        table: a row for each, indexed by gene ID (those of a set joined by "+"):
            `symbol`; `cells`, that the change has changed; `cosine_shift`, 1 − the
            cosine of a cell's vectors before and after, and `euclidean_shift`, their
            distance, both means over these cells; and, of a model that tells something
            of genes, `top_rna` and `top_atac`, the symbols of which it changes most,
            but for what was itself changed. NaN where no cell was changed.
        effects: layers "rna" and "atac", float32 [perturbed, genes]: the natural
            logarithm of a gene's expected share of the cell's counts, after less
            before, mean over these cells; or, where open peaks were closed for a model
            that tells RNA from them, of the probability that the gene is expressed, or
            its expected bin. `uns["scmm_values"]` says which, `obs` is the table, `var`
            the vocabulary. None of a model that tells neither.
        cells: a row for each pair of a perturbed gene and a cell that it changed:
            gene_id, cell, cosine_shift, euclidean_shift.
        changed: the modality that was changed.
        members: positions in the vocabulary that were changed together, by row.
    """

    table: pd.DataFrame
    effects: AnnData | None
    cells: pd.DataFrame
    changed: Modality
    members: tuple[Int64[np.ndarray, " members"], ...]

    def top_genes(self, k: int = 10) -> pd.DataFrame:
        """The genes that change most: k for each perturbed gene and modality told.

        What was itself changed is left out.

        Returns:
            perturbed (its gene ID), modality, rank from 1, gene_id, symbol,
            log_fold_change; the largest first, up or down.
        """
        columns = ("perturbed", "modality", "rank", "gene_id", "symbol")
        rows = []
        for modality in () if self.effects is None else self.effects.layers:
            values = self.others(modality)
            for row, genes in self._ranked(values, k):
                var = self.effects.var.iloc[genes]
                rows += [
                    (self.table.index[row], modality, rank, *found)
                    for rank, found in enumerate(
                        zip(var.index, var["symbol"], values[row, genes], strict=True),
                        1,
                    )
                ]
        found = pd.DataFrame(rows, columns=[*columns, "log_fold_change"])
        order = found["perturbed"].map({n: i for i, n in enumerate(self.table.index)})
        return found.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)

    def others(self, modality: str) -> Float32[np.ndarray, "perturbed genes"]:
        """The effects of a modality, NaN at what was itself changed.

        Raises:
            KeyError: the model does not tell it.
        """
        if self.effects is None:
            raise KeyError(modality)
        values = self.effects.layers[modality].copy()
        if modality == self.changed:
            for row, genes in enumerate(self.members):
                values[row, genes] = np.nan
        return values

    def format_table(self) -> str:
        """To print: the perturbed genes that move cells most come first."""
        order = np.argsort(-self.table["euclidean_shift"].to_numpy(), kind="stable")
        shown = self.table.iloc[order].set_index("symbol").rename_axis("perturbed")
        return shown.to_string(
            float_format=lambda value: f"{value:.3g}", na_rep="", max_colwidth=60
        )

    def write(
        self, out: Path, facts: Mapping[str, Any], *, k: int = 10, note: str = ""
    ) -> list[Path]:
        """Writes tables, effects and pictures; all of them, or nothing.

        genes.csv           the table
        top_genes.csv       genes that change most
        effects.h5ad        of all genes
        perturbation.json   facts and the table
        shifts.png, rna.png, atac.png

        Args:
            out: folder; one that is there is replaced.
            facts: where the data come from; anything that JSON holds.
            k: genes of each perturbed gene and modality in top_genes.csv.
            note: line above the pictures.

        Returns:
            The pictures.
        """
        rows = self.table.reset_index().to_dict("records")
        known = [{n: None if v != v else v for n, v in row.items()} for row in rows]
        content = {
            "kind": "scmultimodal.perturbation",
            **facts,
            "changed": str(self.changed),
            "perturbed": known,
        }
        with atomic.folder(out) as folder:
            text = json.dumps(content, indent=1, allow_nan=False) + "\n"
            (folder / REPORT).write_text(text)
            self.table.to_csv(folder / "genes.csv")
            if self.effects is not None:
                self.top_genes(k).to_csv(folder / "top_genes.csv", index=False)
                self.effects.write_h5ad(folder / "effects.h5ad")
            drawn = self._draw(folder, str(facts.get("change", "change")), note)
        return [out / path.name for path in drawn]

    def _draw(self, folder: Path, change: str, note: str) -> list[Path]:
        from scmultimodal.evaluation.figures import perturbation

        names = self.table["symbol"].tolist()
        drawn = [
            perturbation.shift_bars(
                names,
                self.table["euclidean_shift"].to_numpy(),
                self.table["cells"].to_numpy(),
                folder / "shifts.png",
                title=f"How far cells move ({change})",
                note=note,
            )
        ]
        for modality in () if self.effects is None else self.effects.layers:
            drawn.append(
                perturbation.effect_map(
                    names,
                    self.effects.var["symbol"].tolist(),
                    self.others(modality),
                    folder / f"{modality}.png",
                    title=f"Expected {modality.upper()} ({change})",
                    note=note,
                )
            )
        return drawn

    def _ranked(
        self, values: Float32[np.ndarray, "perturbed genes"], k: int
    ) -> list[tuple[int, Int64[np.ndarray, " top"]]]:
        """Rows with a changed cell, and their genes by the size of the change."""
        found = []
        for row in np.flatnonzero(self.table["cells"].to_numpy()):
            size = np.abs(np.nan_to_num(values[row], nan=np.inf))
            size[np.isinf(size)] = -1
            order = np.argsort(-size, kind="stable")[:k]
            found.append((int(row), order[size[order] >= 0]))
        return found


def build(
    vocabulary: GeneVocabulary,
    members: Sequence[Int64[np.ndarray, " members"]],
    *,
    changed: Modality,
    group: Int64[np.ndarray, " pairs"],
    cell_names: Shaped[np.ndarray, " pairs"],
    shifts: Float32[np.ndarray, "pairs 2"],
    effects: Mapping[Modality, Float32[np.ndarray, "perturbed genes"]],
    values: str = "",
) -> Perturbations:
    """Lays out what was measured.

    Args:
        vocabulary: the genes.
        members: of each row, the genes that were changed.
        changed: where.
        group: of each pair of a row and a cell, the row.
        cell_names: of each pair, the cell.
        shifts: of each pair, by cosine and by distance.
        effects: mean log fold changes; empty where none are told.
        values: of what, for people.
    """
    names = ["+".join(vocabulary.gene_ids[genes]) for genes in members]
    counts = np.bincount(group, minlength=len(members))
    columns: dict[str, Any] = {
        "symbol": ["+".join(vocabulary.symbols[genes]) for genes in members],
        "cells": counts,
    }
    kinds = ("cosine_shift", "euclidean_shift")
    for number, kind in enumerate(kinds):
        total = np.bincount(group, shifts[:, number], len(members))
        with np.errstate(invalid="ignore"):
            columns[kind] = total / counts
    cells = pd.DataFrame(
        {
            "gene_id": pd.Categorical.from_codes(group, names),
            "cell": cell_names,
            **dict(zip(kinds, shifts.T, strict=True)),
        }
    )
    found = Perturbations(
        table=pd.DataFrame(columns, index=pd.Index(names, name="perturbed")),
        effects=_effects(vocabulary, names, effects, values),
        cells=cells,
        changed=changed,
        members=tuple(members),
    )
    return _with_top(found)


def _effects(
    vocabulary: GeneVocabulary,
    names: Sequence[str],
    effects: Mapping[Modality, Float32[np.ndarray, "perturbed genes"]],
    values: str,
) -> AnnData | None:
    if not effects:
        return None
    return AnnData(
        obs=pd.DataFrame(index=names),
        var=vocabulary.to_frame().set_index("gene_id"),
        layers={modality.value: found for modality, found in effects.items()},
        uns={VALUES: f"log fold change of {values}"},
    )


def _with_top(found: Perturbations) -> Perturbations:
    """Adds the columns of the genes that change most."""
    if found.effects is None:
        return found
    table = found.table
    for modality in found.effects.layers:
        top = [""] * len(table)
        for row, genes in found._ranked(found.others(modality), TOP):
            top[row] = ", ".join(found.effects.var["symbol"].iloc[genes])
        table = table.assign(**{f"top_{modality}": top})
    found.effects.obs = table
    return dataclasses.replace(found, table=table)


def check_figures() -> None:
    """Raises InputError where nothing can be drawn, before work is done for it."""
    from scmultimodal.evaluation.figures import perturbation  # noqa: F401


def read_names(path: Path) -> list[str]:
    """Names of genes in a text file: the first word of each line.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            path, f"cannot be read ({first_line(error)})", "Give a text file"
        ) from None
    return [line.split()[0] for line in lines if line.strip()]
