"""Array mathematics as pure functions."""
