"""One table of cell annotations out of several."""

import pandas as pd
from anndata import AnnData
from mudata import MuData

from scmultimodal.schemas.modality import Modality


def merge_obs(data: MuData | AnnData, parts: dict[Modality, AnnData]) -> pd.DataFrame:
    """One table of the cells: the columns of `data`, then RNA's, then ATAC's.

    A column of both modalities is merged cell by cell; where they contradict each
    other, ATAC's stands beside as "atac:NAME".
    """
    names = data.obs_names
    prefixes = tuple(f"{key}:" for key in getattr(data, "mod", {}))
    own = [c for c in data.obs if not str(c).startswith(prefixes or "\0")]
    merged = {str(column): data.obs[column] for column in own}
    added: set[str] = set()
    for modality, adata in parts.items():
        for column in adata.obs if isinstance(data, MuData) else ():
            values = adata.obs[column].reindex(names)
            if column not in merged:
                merged[column] = values
                added.add(column)
            elif column in added:
                before = merged[column].astype(object)
                both = before.notna() & values.notna()
                if (before[both] == values.astype(object)[both]).all():
                    merged[column] = before.where(before.notna(), values)
                else:
                    merged[f"{modality.value}:{column}"] = values
    return pd.DataFrame(merged, index=names)
