"""One page to explore a run in: its files, its data, and how they come together."""
