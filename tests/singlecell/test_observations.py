"""Annotations of the cells."""

from scmultimodal.singlecell.observations import merge_obs
from scmultimodal.singlecell.readers import join_modalities, split_modalities
from tests.builders import annotated


def test_annotations_are_merged_cell_by_cell():
    rna = annotated([[1], [1], [1]], ["g"], ["r", "s", "t"])
    atac = annotated([[1], [1], [1]], ["chr1:5-9"], ["t", "u", "s"])
    rna.obs["type"], atac.obs["type"] = ["R", "S", "T"], ["T", "U", "S"]
    rna.obs["depth"], atac.obs["depth"] = [1, 2, 3], [4, 5, 6]
    mdata = join_modalities({"rna": rna, "atac": atac})
    mdata.obs["donor"] = "d"
    mdata.obs["rna:type"] = "stale"
    obs = merge_obs(mdata, split_modalities(mdata))
    assert obs.columns.tolist() == ["donor", "type", "depth", "atac:depth"]
    assert obs["type"].to_dict() == {"r": "R", "s": "S", "t": "T", "u": "U"}
