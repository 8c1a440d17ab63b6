"""Reads to fragments as scvi-tools does it."""

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

from scmultimodal.singlecell.fragments import reads_to_fragments
from tests.parity import make_reads_to_fragments_golden as golden

FORMS = [sp.csr_matrix, sp.csc_matrix, np.array]


def _ours(form, dtype):
    result = reads_to_fragments(AnnData(X=form(golden.reads().astype(dtype)))).X
    return result.toarray() if sp.issparse(result) else result


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_equals_the_golden(form, dtype):
    with np.load(golden.GOLDEN, allow_pickle=False) as stored:
        message = f"regenerate as {golden.__name__} says"
        assert (stored["reads"] == golden.reads()).all(), message
        assert (_ours(form, dtype) == stored["fragments"]).all(), message


@pytest.mark.parity
@pytest.mark.parametrize("form", FORMS)
def test_equals_scvi_tools_itself(form):
    scvi_data = pytest.importorskip("scvi.data", reason="needs the parity extra")
    theirs = golden.fragments(scvi_data.reads_to_fragments, form)
    assert (_ours(form, np.int32) == theirs).all()
