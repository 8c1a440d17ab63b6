"""Intervals, annotation and DNA, in numpy."""
