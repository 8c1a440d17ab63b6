"""Intervals, annotation and DNA, in numpy."""

from scmultimodal.genome.annotation import read_genes

__all__ = ["read_genes"]
