"""Checkpoints that leave or enter the library."""
