"""Studies of the genome model (SPEC 3)."""
