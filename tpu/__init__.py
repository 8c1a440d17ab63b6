"""Where it runs: launching studies on several hosts."""
