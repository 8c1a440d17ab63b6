"""SNARE-seq of the adult mouse cortex, and the genes of mm10."""

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from mudata import MuData

from scmultimodal.datasets import files
from scmultimodal.genome import read_genes
from scmultimodal.singlecell.peaks import peak_intervals
from scmultimodal.singlecell.readers import join_modalities

_SCMOMAT = (
    "https://raw.githubusercontent.com/PeterZZQ/scMoMaT/"
    "dbd954de4b1be415cdea543baf2856df0fda6992/data/real/MOp_5batches/"
)
_SIMBA = (
    "https://raw.githubusercontent.com/pinellolab/simba/"
    "7b25fd089873aba9580f9923f2e412d375de9a46/simba/data/gene_anno/"
)
_MOUSE_CORTEX = {
    "GxC1.npz": (
        _SCMOMAT,
        "44e48e6243954feafe0541f33b6b116093ca1ed4a25fc2f3ca146d89d1ab1bab",
    ),
    "RxC1.npz": (
        _SCMOMAT,
        "59d6f46dc4e908194bfc859b7773bc666d96ab74d9386b0a8f92d6b29dfcacf7",
    ),
    "genes.txt": (
        _SCMOMAT,
        "9d722d1d281f5ff152dc8a1fb257fec883b8aa28ea3f4f79783d0595dd8b4833",
    ),
    "regions.txt": (
        _SCMOMAT,
        "d77319b1ad8a51af2c97ffa5d23d5458e95356b1926e9ae4e0ab821cc7e492a3",
    ),
    "meta_c1.csv": (
        _SCMOMAT,
        "05ea13be8042f66ee51516ccf9fd28ca43972498a69748a9e89b5b1ca280b037",
    ),
    "mm10_genes.bed": (
        _SIMBA,
        "f01737ede337420a2bca8bfab1dfaae029b7d1754512345f283aa7f2550113e8",
    ),
}
_OBS = {
    "Ident": "cell_type",
    "cluster (remapped)": "coarse_type",
    "Batch": "batch",
    "Barcode": "barcode",
}


def mouse_cortex() -> MuData:
    """SNARE-seq of the adult mouse cortex: paired RNA and ATAC of 10,309 cells.

    1,677 genes and 25,734 peaks (mm10), raw counts; ATAC counts are fragments. `obs`
    has cell_type (23), coarse_type (15), batch (12 libraries) and barcode, on the whole
    and on each modality. Downloaded once (5 MB), or taken from the folder
    `mouse_cortex` below SCMULTIMODAL_DATA where that variable is set.

    Source: doi:10.1038/s41587-019-0290-0 (GEO GSE126074), as shipped with scMoMaT.

    Raises:
        DataUnavailableError: without network and without SCMULTIMODAL_DATA.
        InputError: where a file is missing there or differs from the published one.
    """
    obs = pd.read_csv(_fetch("meta_c1.csv"), index_col=0, dtype=str)
    obs = obs.rename(columns=_OBS)[list(_OBS.values())].rename_axis(None)
    for column in ("cell_type", "coarse_type", "batch"):
        obs[column] = obs[column].astype("category")
    rna = _adata("GxC1.npz", "genes.txt", obs)
    atac = _adata("RxC1.npz", "regions.txt", obs)
    atac.var = peak_intervals(atac, "mouse_cortex")
    mdata = join_modalities({"rna": rna, "atac": atac})
    mdata.obs = obs.copy()
    return mdata


def mouse_cortex_genes() -> pd.DataFrame:
    """Genes of mm10 by symbol: gene_id, symbol, chrom, start, end, strand.

    Source: the annotation of SIMBA.

    Raises:
        DataUnavailableError, InputError: as `mouse_cortex`.
    """
    return read_genes(_fetch("mm10_genes.bed"))


def _adata(matrix: str, names: str, obs: pd.DataFrame) -> AnnData:
    """Counts [features, cells] on disk to cells by features."""
    with np.load(_fetch(matrix), allow_pickle=False) as parts:
        counts = sp.csr_matrix(
            (parts["data"], parts["indices"], parts["indptr"]), shape=parts["shape"]
        )
    features = _fetch(names).read_text().split()
    var = pd.DataFrame(index=pd.Index(features, dtype=str))
    return AnnData(X=sp.csr_matrix(counts.T, dtype=np.int32), obs=obs.copy(), var=var)


def _fetch(name: str) -> Path:
    """A file of the mouse cortex."""
    address, sha256 = _MOUSE_CORTEX[name]
    found = files.local("mouse_cortex", name, sha256)
    return found or files.download("mouse_cortex", name, address, sha256)
