"""Public data sets, and a generator of paired data with a known truth."""

from scmultimodal.datasets.annotation import HumanAnnotation, human_annotation
from scmultimodal.datasets.dnase import AccessibleGenome, dnase_regions
from scmultimodal.datasets.files import DataUnavailableError
from scmultimodal.datasets.mouse_cortex import mouse_cortex, mouse_cortex_genes
from scmultimodal.genome.simulation import SimulatedGenome, simulate_genome
from scmultimodal.singlecell.simulation import simulate_multiome, simulated_genes

__all__ = [
    "AccessibleGenome",
    "DataUnavailableError",
    "HumanAnnotation",
    "SimulatedGenome",
    "dnase_regions",
    "human_annotation",
    "mouse_cortex",
    "mouse_cortex_genes",
    "simulate_genome",
    "simulate_multiome",
    "simulated_genes",
]
