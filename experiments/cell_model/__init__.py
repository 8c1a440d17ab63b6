"""Studies of the cell model (SPEC 2)."""
