"""Public data sets, and a generator of paired data with a known truth."""

from scmultimodal.datasets.dnase import AccessibleGenome, dnase_regions
from scmultimodal.datasets.files import DataUnavailableError
from scmultimodal.datasets.mouse_cortex import mouse_cortex, mouse_cortex_genes
from scmultimodal.singlecell.simulation import simulate_multiome, simulated_genes

__all__ = [
    "AccessibleGenome",
    "DataUnavailableError",
    "dnase_regions",
    "mouse_cortex",
    "mouse_cortex_genes",
    "simulate_multiome",
    "simulated_genes",
]
