"""Files to MuData {"rna", "atac"}, checked on the way in."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import anndata
import h5py
import mudata
from anndata import AnnData
from mudata import MuData

from scmultimodal.genome.intervals import share_of_peak_names
from scmultimodal.schemas.errors import InputError
from scmultimodal.schemas.modality import MODALITIES, Modality
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
# gzip shrinks zeros by about 1,030: beyond this, a large dataset was never written.
_MAX_RATIO = 1_100
_LARGE_BYTES = 2**30


def read(
    path: str | Path, *, layer: str | None = None, modality: str | None = None
) -> MuData:
    """Reads raw counts from a .h5mu or .h5ad file.

    Args:
        path: the file. An .h5ad may hold one modality, or both told apart by
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
    if path.suffix not in (".h5mu", ".h5ad"):
        raise InputError(
            path, f"is a {path.suffix or 'nameless'} file", "Give .h5mu or .h5ad"
        )
    if not path.is_file():
        raise InputError(path, "does not exist", "Check the path")
    _check_file(path)
    data = _load(path)
    for adata in data.mod.values() if isinstance(data, MuData) else (data,):
        check_structure(adata, path)
    if modality is not None:
        data = _named(data, modality, path)
    parts = split_modalities(data, path)
    if layer is not None and not any(layer in a.layers for a in parts.values()):
        known = {key.value: list(a.layers) for key, a in parts.items()}
        raise InputError(path, f"has no layer {layer!r}", f"Layers: {known}")
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


def join_modalities(parts: Mapping[str, AnnData]) -> MuData:
    """A MuData that holds `parts` as they are; global tables stay without columns."""
    with mudata.set_options(pull_on_update=False):
        return MuData({str(key): adata for key, adata in parts.items()})


def infer_modality(adata: AnnData) -> Modality:
    """ATAC where most feature names read as intervals, else RNA."""
    is_atac = share_of_peak_names(adata.var_names) > 0.5
    return Modality.ATAC if is_atac else Modality.RNA


def _split_anndata(adata: AnnData) -> dict[Modality, AnnData]:
    if "feature_types" in adata.var:
        plain = adata.var["feature_types"].astype(str).str.lower()
        plain = plain.str.replace(r"[^a-z]", "", regex=True)
        masks = {m: plain.isin(_KEYS[m]).to_numpy() for m in MODALITIES}
        if any(mask.any() for mask in masks.values()):
            return {
                m: adata if mask.all() else adata[:, mask].copy()
                for m, mask in masks.items()
                if mask.any()
            }
    return {infer_modality(adata): adata}


def _named(data: MuData | AnnData, modality: str, path: Path) -> MuData | AnnData:
    if modality not in [m.value for m in MODALITIES]:
        raise InputError("modality", f"{modality!r} is unknown", "Use 'rna' or 'atac'")
    if isinstance(data, MuData):
        parts = split_modalities(data, path)
        if Modality(modality) not in parts:
            raise InputError(path, f"holds no {modality}", f"It has {list(data.mod)}")
        return join_modalities({Modality(modality): parts[Modality(modality)]})
    return join_modalities({Modality(modality): data})


def _load(path: Path) -> MuData | AnnData:
    try:
        if path.suffix == ".h5ad":
            return anndata.read_h5ad(path)
        with mudata.set_options(pull_on_update=False):
            return mudata.read_h5mu(path)
    except InputError:
        raise
    except Exception as error:  # h5py, anndata and scipy raise whatever they meet
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            path, f"cannot be read ({reason})", "Copy or write the file again"
        ) from error


def _check_file(path: Path) -> None:
    """Looks at the layout before anything is read (RELIABILITY.md, Inputs)."""
    try:
        with h5py.File(path, "r") as file:
            for name, link, node in _walk(file):
                if isinstance(link, h5py.ExternalLink):
                    problem = "is a link to another file"
                elif isinstance(node, h5py.Dataset) and node.external:
                    problem = "is stored in another file"
                elif isinstance(node, h5py.Dataset) and _is_oversized(node):
                    problem = f"declares {node.size} values that the file cannot hold"
                else:
                    continue
                raise InputError(path, f"{name} {problem}", "Write the file again")
    except InputError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise InputError(
            path,
            f"is no complete HDF5 file ({str(error).splitlines()[0]})",
            "Copy the file again",
        ) from error


def _walk(group: h5py.Group) -> Iterator[tuple[str, object, object]]:
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield f"{group.name}/{name}", link, None
            continue
        node = group[name]
        yield str(node.name), link, node
        if isinstance(node, h5py.Group):
            yield from _walk(node)


def _is_oversized(dataset: h5py.Dataset) -> bool:
    logical = int(dataset.size or 0) * dataset.dtype.itemsize
    return logical > max(_LARGE_BYTES, _MAX_RATIO * dataset.id.get_storage_size())


def _clean(adata: AnnData, modality: Modality, layer: str | None, source: str) -> None:
    """Puts checked CSR counts into X, and intervals beside the peaks."""
    if layer is not None and layer in adata.layers:
        adata.X = adata.layers[layer]
    adata.X = count_matrix(adata, source)
    if modality is Modality.ATAC:
        adata.var[["chrom", "start", "end"]] = peak_intervals(adata, source)
