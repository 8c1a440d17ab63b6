"""The tables of the README: what `make evaluate` measures, job by job."""
