"""How fast we are, measured against what others run."""
