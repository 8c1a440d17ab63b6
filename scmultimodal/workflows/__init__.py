"""The wiring: configuration in, run folder out."""
