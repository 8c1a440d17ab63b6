"""Studies: which model, on which data, with which numbers."""
