"""Haiku networks."""
