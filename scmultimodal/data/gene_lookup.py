"""Genes that a person names, in a vocabulary."""

import difflib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int64

from scmultimodal.data.vocabulary import GeneVocabulary
from scmultimodal.genome.annotation import drop_version
from scmultimodal.schemas.errors import InputError

_NAMED = 5
"""Names that an error shows."""


def positions(
    vocabulary: GeneVocabulary, names: Sequence[str] | str, *, source: str = "genes"
) -> Int64[np.ndarray, " genes"]:
    """Finds genes by ID, with or without version, or by symbol.

    Args:
        vocabulary: the genes that there are.
        names: one name, or several; a gene that is named twice counts once.
        source: what to name in an error.

    Returns:
        Positions in the vocabulary, in the order of the names.

    Raises:
        InputError: no name, a name that is none of a gene (the names nearest to it are
            given), or a symbol of several genes.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    if not wanted:
        raise InputError(source, "no gene is named", "Name at least one")
    by_id = {gene: i for i, gene in enumerate(vocabulary.gene_ids.tolist())}
    by_symbol: dict[str, list[int]] = {}
    for i, symbol in enumerate(vocabulary.symbols.tolist()):
        by_symbol.setdefault(symbol, []).append(i)
    found: dict[int, None] = {}
    unknown = []
    plain = drop_version(pd.Series(wanted, dtype=object)).tolist()
    for name, unversioned in zip(wanted, plain, strict=True):
        place = by_id.get(name, by_id.get(unversioned))
        places = by_symbol.get(name, []) if place is None else [place]
        if len(places) > 1:
            ids = ", ".join(str(vocabulary.gene_ids[i]) for i in places)
            raise InputError(
                source, f"{name!r} is the symbol of several: {ids}", "Name one by ID"
            )
        found |= dict.fromkeys(places)
        if not places:
            unknown.append(name)
    if unknown:
        raise _unknown(unknown, len(wanted), [*by_symbol, *by_id], source)
    return np.array(list(found), np.int64)


def _unknown(
    unknown: list[str], wanted: int, known: list[str], source: str
) -> InputError:
    plain = {name.lower(): name for name in known}
    said = []
    for name in unknown[:_NAMED]:
        near = difflib.get_close_matches(name.lower(), plain, n=3, cutoff=0.7)
        shown = ", ".join(plain[word] for word in near)
        said.append(f"{name!r}" + (f" (near: {shown})" if near else ""))
    more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
    return InputError(
        source,
        f"{len(unknown)} of {wanted} are not in the model: {', '.join(said)}{more}",
        "Name them as in model.genes, by symbol or by ID",
    )
