"""Where it runs: launching studies on pods."""
