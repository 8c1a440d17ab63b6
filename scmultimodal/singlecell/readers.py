"""Files to MuData {"rna", "atac"}, checked on the way in."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import anndata
import mudata
from anndata import AnnData
from mudata import MuData

from scmultimodal.genome.annotation import is_ensembl
from scmultimodal.genome.intervals import share_of_peak_names
from scmultimodal.schemas.errors import InputError, first_line
from scmultimodal.schemas.modality import MODALITIES, Modality
from scmultimodal.singlecell import hdf5, tables, tenx
from scmultimodal.singlecell.counts import check_counts, check_structure, count_matrix
from scmultimodal.singlecell.peaks import peak_intervals

__all__ = [
    "check_counts",
    "infer_modality",
    "join_modalities",
    "read",
    "split_modalities",
]

_KEYS = {
    Modality.RNA: ("rna", "gex", "geneexpression", "expression", "genes", "rnaseq"),
    Modality.ATAC: (
        "atac",
        "peaks",
        "chromatinaccessibility",
        "accessibility",
        "atacseq",
    ),
}
_FORMATS = (
    "Give .h5mu, .h5ad, a .csv or .tsv, an .h5 of Cell Ranger or a folder with its "
    "matrix.mtx"
)


def read(
    path: str | Path, *, layer: str | None = None, modality: str | None = None
) -> MuData:
    """Reads raw counts from .h5mu, .h5ad, a table, or what Cell Ranger wrote.

    Args:
        path: a .h5mu or .h5ad file, a .csv or .tsv, gzipped or not (`tables`), an .h5
            of Cell Ranger, or a folder with its matrix.mtx, barcodes and features
            (`tenx`). An .h5ad may hold one modality, or both told apart by
            `var["feature_types"]`.
        layer: name of the layer that holds the counts; None takes X.
        modality: "rna" or "atac", where an .h5ad leaves it open.

    Returns:
        MuData with "rna", "atac" or both; X is CSR int32, peaks have chrom, start and
        end in `var`.

    Raises:
        InputError: for a file that is missing, damaged or of another kind, and for
            counts that break a rule (`check_counts`).
    """
    path = Path(path)
    check_format(path)
    data = tenx.read_mtx(find_matrix(path)) if path.is_dir() else _read_file(path)
    for adata in data.mod.values() if isinstance(data, MuData) else (data,):
        check_structure(adata, path)
    if modality is not None:
        data = choose_modality(data, modality, path)
    parts = split_modalities(data, path)
    check_layer(layer, {m.value: list(a.layers) for m, a in parts.items()}, path)
    for key, adata in parts.items():
        _clean(adata, key, layer, f"{path} [{key.value}]")
    result = join_modalities(parts)
    if isinstance(data, MuData):
        for column in data.obs:
            if not str(column).startswith(tuple(f"{key}:" for key in data.mod)):
                result.obs[column] = data.obs[column].reindex(result.obs_names)
        result.uns.update(data.uns)
    return result


def split_modalities(
    data: MuData | AnnData, source: object = "data"
) -> dict[Modality, AnnData]:
    """The modalities of an object, RNA first.

    Args:
        data: a MuData under the usual spellings of its keys ("rna", "GEX", "peaks" …),
            or an AnnData, whose features tell (`infer_modality`).
        source: what to name in an error.

    Raises:
        InputError: where there is neither RNA nor ATAC, or two of a kind.
    """
    if isinstance(data, AnnData):
        return _split_anndata(data)
    found: dict[Modality, AnnData] = {}
    for key, adata in data.mod.items():
        plain = re.sub(r"[^a-z]", "", key.lower())
        for modality in MODALITIES:
            if plain in _KEYS[modality]:
                if modality in found:
                    raise InputError(
                        source, f"has {modality.value} twice ({list(data.mod)})",
                        "Keep one of them",
                    )  # fmt: skip
                found[modality] = adata
    if not found:
        raise InputError(
            source,
            f"holds neither RNA nor ATAC: its modalities are {list(data.mod)}",
            "Name them 'rna' and 'atac'",
        )
    return {modality: found[modality] for modality in MODALITIES if modality in found}


def have_pairs(parts: Mapping[Modality, AnnData]) -> bool:
    """Whether some cell has both modalities, by its name."""
    if len(parts) < len(MODALITIES):
        return False
    rna, atac = (parts[modality].obs_names for modality in MODALITIES)
    return not rna.intersection(atac).empty


def join_modalities(parts: Mapping[str, AnnData]) -> MuData:
    """A MuData that holds `parts` as they are; global tables stay without columns."""
    with mudata.set_options(pull_on_update=False):
        return MuData({str(key): adata for key, adata in parts.items()})


def infer_modality(adata: AnnData) -> Modality:
    """ATAC where most feature names read as intervals, else RNA."""
    is_atac = share_of_peak_names(adata.var_names) > 0.5
    return Modality.ATAC if is_atac else Modality.RNA


def choose_modality(
    data: MuData | AnnData, modality: str, path: Path
) -> MuData | AnnData:
    """One modality of several, or the name of the only one.

    Raises:
        InputError: there is no such modality, or names say that it is the other.
    """
    if modality not in [m.value for m in MODALITIES]:
        raise InputError("modality", f"{modality!r} is unknown", "Use 'rna' or 'atac'")
    chosen = Modality(modality)
    if isinstance(data, MuData):
        parts, held = split_modalities(data, path), list(data.mod)
    else:
        parts = _by_feature_types(data) or {chosen: data}
        held = [m.value for m in parts]
    if chosen not in parts:
        raise InputError(path, f"holds no {modality}", f"It has {held}")
    _check_names_of(parts[chosen], chosen, path)
    return join_modalities({chosen: parts[chosen]})


def check_layer(
    layer: str | None, known: Mapping[str, Sequence[str]], source: object
) -> None:
    """Raises InputError where no modality has the layer; others then have X read."""
    if layer is not None and not any(layer in layers for layers in known.values()):
        raise InputError(source, f"has no layer {layer!r}", f"Layers: {dict(known)}")


def check_format(path: Path) -> None:
    """Raises InputError where a path is none of what can be read."""
    if path.is_dir():
        find_matrix(path)
    elif not tables.is_table(path) and path.suffix not in (".h5mu", ".h5ad", ".h5"):
        raise InputError(path, f"is a {path.suffix or 'nameless'} file", _FORMATS)
    elif not path.is_file():
        raise InputError(path, "does not exist", "Check the path")


def find_matrix(folder: Path) -> tenx.MatrixFiles:
    """The files of Cell Ranger in a folder.

    Raises:
        InputError: there are none.
    """
    files = tenx.find_mtx(folder)
    if files is None:
        raise InputError(folder, "is a folder without a matrix.mtx", _FORMATS)
    return files


def _check_names_of(adata: AnnData, modality: Modality, source: object) -> None:
    """Raises where most features are named as those of the other modality are."""
    names = adata.var_names
    if modality is Modality.RNA:
        kind, share = "peaks", share_of_peak_names(names)
    else:
        kind, share = "genes", float(is_ensembl(names.to_series()).mean())
    if share > 0.5:
        problem = f"is to be {modality}, and its features are {kind} ({names[0]!r}, …)"
        raise InputError(source, problem, "Leave the modality out, or give the other")


def _split_anndata(adata: AnnData) -> dict[Modality, AnnData]:
    return _by_feature_types(adata) or {infer_modality(adata): adata}


def _by_feature_types(adata: AnnData) -> dict[Modality, AnnData]:
    """What `var["feature_types"]` says; nothing where it says nothing."""
    if "feature_types" not in adata.var:
        return {}
    plain = adata.var["feature_types"].astype(str).str.lower()
    plain = plain.str.replace(r"[^a-z]", "", regex=True)
    masks = {m: plain.isin(_KEYS[m]).to_numpy() for m in MODALITIES}
    return {
        m: adata if mask.all() else adata[:, mask].copy()
        for m, mask in masks.items()
        if mask.any()
    }


def _read_file(path: Path) -> MuData | AnnData:
    if tables.is_table(path):
        return tables.read_table(path)
    hdf5.check_file(path)
    return tenx.read_h5(path) if path.suffix == ".h5" else _load(path)


def _load(path: Path) -> MuData | AnnData:
    try:
        if path.suffix == ".h5ad":
            return anndata.read_h5ad(path)
        with mudata.set_options(pull_on_update=False):
            return mudata.read_h5mu(path)
    except InputError:
        raise
    except Exception as error:  # h5py, anndata and scipy raise whatever they meet
        raise InputError(
            path,
            f"cannot be read ({first_line(error)})",
            "Copy or write the file again",
        ) from error


def _clean(adata: AnnData, modality: Modality, layer: str | None, source: str) -> None:
    """Puts checked CSR counts into X, and intervals beside the peaks."""
    if layer is not None and layer in adata.layers:
        adata.X = adata.layers[layer]
    adata.X = count_matrix(adata, source)
    if modality is Modality.ATAC:
        adata.var[["chrom", "start", "end"]] = peak_intervals(adata, source)
