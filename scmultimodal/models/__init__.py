"""Models as a user meets them: what a biologist has in, arrays out."""

from scmultimodal.models.cell import CellModel
from scmultimodal.models.forward import build_forward
from scmultimodal.models.genome import GenomeModel

__all__ = ["CellModel", "GenomeModel", "build_forward"]
